"""Windows: the arithmetic that decides what is fetched and what is missing."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import SettingsError
from tasks.time_window import Window, difference, isoformat, parse_time, union

START = datetime(2026, 3, 1, tzinfo=UTC)
moments = st.integers(0, 5 * 86_400).map(lambda s: START + timedelta(seconds=s))
windows = (
    st.tuples(moments, moments)
    .filter(lambda pair: pair[0] != pair[1])
    .map(lambda pair: Window(min(pair), max(pair)))
)


@given(windows, st.lists(windows, max_size=6), moments)
def test_difference_is_what_is_wanted_and_not_covered(
    wanted: Window, covered: list[Window], moment: datetime
) -> None:
    """A moment is missing exactly where it is wanted and in no covered window."""
    missing = any(moment in window for window in difference(wanted, covered))
    assert missing == (moment in wanted and not any(moment in window for window in covered))


@given(st.lists(windows, max_size=6), moments)
def test_union_holds_the_same_moments_in_windows_that_do_not_touch(
    given_windows: list[Window], moment: datetime
) -> None:
    """A union holds what its windows hold, sorted, with a gap between any two."""
    merged = union(given_windows)
    assert any(moment in w for w in merged) == any(moment in w for w in given_windows)
    assert all(first.until < second.since for first, second in itertools.pairwise(merged))


@given(windows, st.integers(1, 9))
def test_days_and_split_tile_the_window(window: Window, parts: int) -> None:
    """Pieces follow each other without gap or overlap, and days stay within a UTC date."""
    for pieces in (list(window.days()), window.split(parts)):
        assert pieces[0].since == window.since
        assert pieces[-1].until == window.until
        assert all(a.until == b.since for a, b in itertools.pairwise(pieces))
    assert all(
        piece.since.date() == (piece.until - timedelta(microseconds=1)).date()
        for piece in window.days()
    )
    assert window.count_days() == len(list(window.days()))


def test_the_days_of_all_time_are_made_one_by_one() -> None:
    """The first days of a range of any length are there at once; its last one is no exception."""
    always = Window(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    first, second = itertools.islice(always.days(), 2)
    assert (first.since, first.until) == (always.since, second.since)
    assert always.count_days() == 9999 * 365 + 2424
    last = Window(always.until - timedelta(hours=1), always.until)
    assert list(last.days()) == [last]


def test_a_microsecond_is_not_split() -> None:
    """The smallest window stays whole, however many parts are asked for."""
    window = Window(START, START + timedelta(microseconds=1))
    assert window.split(8) == [window]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01", "2026-03-01T00:00:00Z"),
        ("2026-03-01T12:30:00", "2026-03-01T12:30:00Z"),
        ("2026-03-01T12:30:00.5+02:00", "2026-03-01T10:30:00.500000Z"),
        (" 2026-03-01T12:30:00Z ", "2026-03-01T12:30:00Z"),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, expected: str) -> None:
    """A time without an offset is UTC, a bare date its 00:00."""
    assert isoformat(parse_time(text)) == expected


def test_a_time_that_is_none_is_refused_with_an_example() -> None:
    """The message names the setting and the value, and shows a time that works."""
    with pytest.raises(SettingsError, match=r"--since: 'yesterday' is no ISO 8601 time; write"):
        parse_time("yesterday", "--since")


@pytest.mark.parametrize("text", ["0001-01-01T00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_a_time_that_utc_cannot_tell_is_refused(text: str) -> None:
    """What lies before year 1 or after year 9999 in UTC is no time that can be used."""
    with pytest.raises(SettingsError, match="is no ISO 8601 time"):
        parse_time(text)


def test_an_empty_or_backward_window_is_refused() -> None:
    """No code can hold a window that holds nothing."""
    with pytest.raises(ValueError, match="empty or backward"):
        Window(START, START)
