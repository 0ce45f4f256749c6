"""Parting a window that is too deep, by what its listing has shown."""

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

PAGES_OF_A_PART = 45
"""How deep parts are meant to be: uneven ones still fit into the page limit."""
_MOST_PARTS = 64
"""What is deeper is parted again, where its parts show that they are."""
SUSPICIOUS = timedelta(hours=1)
"""A window as short as this and still too deep holds a burst: it is worth looking where."""


def split_window(listing: Listing, depth: int, near: Page, far: Page | None) -> list[Window]:
    """The window in parts, each to be read by itself; none where it cannot be parted.

    Args:
        listing: That of the whole window.
        depth: Its pages.
        near: Its first page.
        far: The first page of the same listing in the other order, where it is known.
    """
    window = Window(listing.since, listing.until)
    oldest, newest = (near, far) if listing.order == "asc" else (far, near)
    low = _inside(window, _first(oldest)) or window.since
    high = _inside(window, _first(newest)) or window.until - MICROSECOND
    if low > high:
        low, high = window.since, window.until - MICROSECOND
    if low == high:
        return []
    many = min(max(2, math.ceil(depth / PAGES_OF_A_PART)), _MOST_PARTS)
    high += MICROSECOND
    if _first(near) != _last(near):
        pieces = _split(Window(low, high), many)
    elif listing.order == "asc":
        pieces = [Window(low, low + MICROSECOND), *_split(Window(low + MICROSECOND, high), many)]
    else:
        pieces = [*_split(Window(low, high - MICROSECOND), many), Window(high - MICROSECOND, high)]
    cuts = [window.since, *(piece.since for piece in pieces[1:]), window.until]
    return [Window(since, until) for since, until in pairwise(cuts)]


def _split(window: Window, many: int) -> list[Window]:
    """About equal parts, cut at whole seconds or milliseconds where those are short enough.

    Not every API that gives microseconds compares them.
    """
    pieces = window.split(many)
    cuts = [window.since, *(_plain(piece) for piece in pieces[1:]), window.until]
    return [Window(since, until) for since, until in pairwise(cuts)]


def _plain(piece: Window) -> datetime:
    for unit in (timedelta(seconds=1), timedelta(milliseconds=1)):
        if piece.duration >= 2 * unit:
            return piece.since - (piece.since - Window.of_day(piece.day).since) % unit
    return piece.since


def read_and_rest(listing: Listing, pages: list[Page]) -> tuple[Window | None, list[Window]]:
    """What pages up to the page limit show of a window without a count, and what they don't.

    The last time on the last page may go on beyond it, and is left to the rest.

    Returns:
        The part that was read whole, None where all pages are of one time or in no order; and
        the parts that are still to be read.
    """
    window = Window(listing.since, listing.until)
    moments = [moment for page in pages for moment in (_first(page), _last(page)) if moment]
    rising = listing.order == "asc"
    if not moments or moments != sorted(moments, reverse=not rising):
        return None, []
    # where what was read whole ends: before the last time in rising order, after it in falling
    cut = moments[-1] if rising else moments[-1] + MICROSECOND
    if (cut >= window.until) if rising else (cut <= window.since):
        return window, []
    read, rest = (window.since, cut), (cut, window.until)
    if not rising:
        read, rest = rest, read
    if read[0] < read[1]:
        return Window(*read), [Window(*rest)]
    edge = window.since + MICROSECOND if rising else window.until - MICROSECOND
    return None, _nonempty((window.since, edge, window.until))


def _nonempty(cuts: tuple[datetime, ...]) -> list[Window]:
    return [Window(since, until) for since, until in pairwise(cuts) if since < until]


def _first(page: Page | None) -> datetime | None:
    return parse_created(page.dates[0]) if page and page.dates else None


def _last(page: Page) -> datetime | None:
    return parse_created(page.dates[-1]) if page.dates else None


def _inside(window: Window, moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return min(max(moment, window.since), window.until - MICROSECOND)
