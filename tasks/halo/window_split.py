"""Splitting a window that is too deep, by what its listing has shown."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from tasks.halo.fetched_events import parse_created
from tasks.time_window import MICROSECOND, Window

if TYPE_CHECKING:
    from datetime import datetime

    from tasks.halo.client import Listing
    from tasks.halo.decode import Page

PAGES_PER_WINDOW = 45
"""How deep the new windows are meant to be: uneven ones still fit into the page limit."""
_MAX_WINDOWS = 64
"""A deeper window is split again, once the new windows show that they are too deep."""
BURST = timedelta(hours=1)
"""A window as short as this and still too deep holds a burst, whose times are looked up."""


def split_window(listing: Listing, depth: int, first: Page, opposite: Page | None) -> list[Window]:
    """The windows that a window is split into; none where it cannot be split.

    Args:
        listing: That of the whole window.
        depth: Its pages.
        first: Its first page.
        opposite: The first page of the same listing in the opposite order, where it is known.
    """
    window = Window(listing.since, listing.until)
    oldest, newest = (first, opposite) if listing.order == "asc" else (opposite, first)
    low = _clamp(window, _first_time(oldest)) or window.since
    high = _clamp(window, _first_time(newest)) or window.until - MICROSECOND
    if low > high:
        low, high = window.since, window.until - MICROSECOND
    if low == high:
        return []
    many = min(max(2, math.ceil(depth / PAGES_PER_WINDOW)), _MAX_WINDOWS)
    high += MICROSECOND
    if _first_time(first) != _last_time(first):
        pieces = _split(Window(low, high), many)
    elif listing.order == "asc":
        pieces = [Window(low, low + MICROSECOND), *_split(Window(low + MICROSECOND, high), many)]
    else:
        pieces = [*_split(Window(low, high - MICROSECOND), many), Window(high - MICROSECOND, high)]
    cuts = [window.since, *(piece.since for piece in pieces[1:]), window.until]
    return [Window(since, until) for since, until in pairwise(cuts)]


def _split(window: Window, many: int) -> list[Window]:
    """About equal windows, cut at whole seconds or milliseconds where these are short enough.

    Not every API that gives microseconds compares them.
    """
    pieces = window.split(many)
    cuts = [window.since, *(_round(piece) for piece in pieces[1:]), window.until]
    return [Window(since, until) for since, until in pairwise(cuts)]


def _round(piece: Window) -> datetime:
    for unit in (timedelta(seconds=1), timedelta(milliseconds=1)):
        if piece.duration >= 2 * unit:
            return piece.since - (piece.since - Window.of_day(piece.day).since) % unit
    return piece.since


def split_without_count(listing: Listing, pages: list[Page]) -> tuple[Window | None, list[Window]]:
    """What pages up to the page limit show of a window without a count, and what they do not.

    More events of the last time on the last page may follow, so this time remains to be read.

    Returns:
        The part that was read completely, None where all pages are of one time or in no order; and
        the windows that remain to be read.
    """
    window = Window(listing.since, listing.until)
    moments = [
        moment for page in pages for moment in (_first_time(page), _last_time(page)) if moment
    ]
    ascending = listing.order == "asc"
    if not moments or moments != sorted(moments, reverse=not ascending):
        return None, []
    # the part read completely ends before the last time in ascending order, after it in descending
    cut = moments[-1] if ascending else moments[-1] + MICROSECOND
    if (cut >= window.until) if ascending else (cut <= window.since):
        return window, []
    read, remaining = (window.since, cut), (cut, window.until)
    if not ascending:
        read, remaining = remaining, read
    if read[0] < read[1]:
        return Window(*read), [Window(*remaining)]
    moment = window.since + MICROSECOND if ascending else window.until - MICROSECOND
    return None, _nonempty((window.since, moment, window.until))


def _nonempty(cuts: tuple[datetime, ...]) -> list[Window]:
    return [Window(since, until) for since, until in pairwise(cuts) if since < until]


def _first_time(page: Page | None) -> datetime | None:
    return parse_created(page.dates[0]) if page and page.dates else None


def _last_time(page: Page) -> datetime | None:
    return parse_created(page.dates[-1]) if page.dates else None


def _clamp(window: Window, moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return min(max(moment, window.since), window.until - MICROSECOND)
