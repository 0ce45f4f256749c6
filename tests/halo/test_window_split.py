"""Splitting a window that is too deep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.halo.client import Listing, Order
from tasks.halo.decode import Event, Page
from tasks.halo.window_split import split_window, split_without_count
from tasks.time_window import MICROSECOND, Window, isoformat

DAY = datetime(2026, 3, 4, tzinfo=UTC)
SECOND = timedelta(seconds=1)
orders: st.SearchStrategy[Order] = st.sampled_from(["asc", "desc"])
micros = st.integers(0, 86_400_000_000) | st.integers(0, 20)


def page(*moments: datetime) -> Page:
    """A page of events created then."""
    found = [Event(str(at), isoformat(moment)) for at, moment in enumerate(moments)]
    return Page(None, [event.id for event in found], found, [], [])


@given(micros, micros, st.lists(micros, max_size=4), st.lists(micros, max_size=2), orders)
def test_split_windows_make_up_the_window_and_are_shorter(
    one: int, other: int, first: list[int], opposite: list[int], order: Order
) -> None:
    """Whatever the listing shows, the new windows make up the old one, and each is shorter."""
    since, until = sorted((one, other + 1))
    window = Window(DAY + since * MICROSECOND, DAY + max(until, since + 1) * MICROSECOND)
    listing = Listing(window.since, window.until, order)
    pages = [
        page(*(DAY + at * MICROSECOND for at in sorted(moments, reverse=falling)))
        for moments, falling in ((first, order == "desc"), (opposite, order == "asc"))
    ]
    for opposite_page in (None, pages[1]):
        found = split_window(listing, 200, pages[0], opposite_page)
        if not found:
            continue
        assert len(found) >= 2
        assert (found[0].since, found[-1].until) == (window.since, window.until)
        assert all(before.until == after.since for before, after in pairwise(found))


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_events_of_one_time_cannot_be_split(order: Order) -> None:
    """A listing whose first and last event are of the same time is not split."""
    noon = DAY + 12 * 3600 * SECOND
    listing = Listing(DAY, DAY + 24 * 3600 * SECOND, order)
    assert split_window(listing, 200, page(noon, noon), page(noon, noon)) == []
    assert split_window(Listing(noon, noon + MICROSECOND, order), 200, page(), None) == []


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_burst_at_an_end_gets_a_window_of_its_own(order: Order) -> None:
    """Where a whole page is of one time, that time is cut off exactly."""
    noon = DAY + 12 * 3600 * SECOND
    listing = Listing(DAY, DAY + 24 * 3600 * SECOND, order)
    found = split_window(listing, 200, page(noon, noon), None)
    if order == "asc":
        assert found[0] == Window(DAY, noon + MICROSECOND)
    else:
        assert found[-1] == Window(noon, listing.until)


def test_windows_are_split_at_whole_seconds_where_possible() -> None:
    """An API that compares whole seconds only still gives every event."""
    listing = Listing(DAY + 7 * MICROSECOND, DAY + 86_399 * SECOND)
    found = split_window(listing, 500, page(DAY + SECOND / 3, DAY + SECOND), None)
    assert len(found) == 12
    assert all(window.since.microsecond == 0 for window in found[1:])
    short = split_window(Listing(DAY, DAY + SECOND), 500, page(DAY, DAY + MICROSECOND), None)
    assert all(window.since.microsecond % 1000 == 0 for window in short)


@given(st.lists(micros, min_size=2, max_size=6), micros, micros, orders)
def test_without_a_count_what_was_read_ends_before_the_last_time(
    listed: list[int], one: int, other: int, order: Order
) -> None:
    """The last time that was seen may go on, so it remains to be read; nothing is left out."""
    since, until = min(one, other), max(one, other) + 1
    moments = [DAY + at * MICROSECOND for at in sorted(listed, reverse=order == "desc")]
    listing = Listing(DAY + since * MICROSECOND, DAY + until * MICROSECOND, order)
    window = Window(listing.since, listing.until)
    read, rest = split_without_count(listing, [page(*moments)])
    pieces = sorted([*([read] if read else []), *rest])
    assert (pieces[0].since, pieces[-1].until) == (window.since, window.until)
    assert all(before.until == after.since for before, after in pairwise(pieces))
    if read and rest:
        assert moments[-1] not in read


def test_pages_in_no_order_show_no_complete_window() -> None:
    """Without order and count, nothing can be told of a window that is too deep."""
    listing = Listing(DAY, DAY + SECOND)
    assert split_without_count(listing, [page(DAY + MICROSECOND, DAY)]) == (None, [])
    assert split_without_count(listing, [page()]) == (None, [])
