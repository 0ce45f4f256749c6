"""Time that retention has dropped: a mark among raw files says which.

The mark is a raw file without rows in the folder of the newest day of a run of dropped days; its
name says since when:

    {since}-{until}-{unique}-0-dropped-{from}      {from} as YYYYMMDDTHHMMSSffffff

All that was covered in `[from, until)` was dropped: it counts as read, and is never fetched anew.
Time of it that was marked as lost stays lost. An event that Halo lists later all the same is staged
as any other, delivered, and dropped with the next maintenance.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from tasks.plurals import counted
from tasks.staging.names import file_names
from tasks.time_window import MICROSECOND, Window, subtract, union

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import date

    from tasks.staging.store import Store

ALL_TIME = Window(*(datetime(year, 1, 1, tzinfo=UTC) for year in (1, 9999)))
_MARK = "dropped-"
_LOST = "-lost"
_STAMP = "%Y%m%dT%H%M%S%f"


class DroppedMark(NamedTuple):
    """A mark: the time it is about, and where it lies."""

    window: Window
    day: date
    name: str


def mark_for(window: Window) -> tuple[Window, str]:
    """The window and the mark of the raw file that records a dropped window of any length."""
    day = Window.of_day((window.until - MICROSECOND).date())
    here = Window(max(window.since, day.since), window.until)
    return here, f"{_MARK}{window.since:{_STAMP}}"


def run_of(mark: str, window: Window) -> Window | None:
    """The dropped time that a raw file's mark and window record; None for any other mark."""
    if not mark.startswith(_MARK):
        return None
    since = datetime.strptime(mark[len(_MARK) :], _STAMP).replace(tzinfo=UTC)
    return Window(since, window.until)


def marks(names_by_day: Mapping[date, Collection[str]]) -> Iterator[DroppedMark]:
    """The marks among the names of an account's raw files."""
    for day, names in names_by_day.items():
        for file in file_names.raw_files([name for name in names if _MARK in name]):
            if run := run_of(file.mark, file.window(day)):
                yield DroppedMark(run, day, file.name)


def runs_by_names(names_by_day: Mapping[date, Collection[str]]) -> list[Window]:
    """The runs of dropped time, by the names of an account's raw files."""
    return union(mark.window for mark in marks(names_by_day))


def dropped_time(store: Store, account: str, bounds: Window = ALL_TIME) -> list[Window]:
    """The time of an account that was dropped; what lies before the bounds may not be exact.

    Days before them are not listed: a mark lies on the newest day of its run, and that of lost time
    on its own day.

    Raises:
        StagingError: The names of raw files cannot be read.
    """
    first = bounds.since.date()
    names_by_day = store.names_by_day("raw", account, wanted=lambda day: day >= first)
    named = {day: [name for name in names if _LOST in name] for day, names in names_by_day.items()}
    lost = [
        file.window(day) for day, names in named.items() for file in file_names.raw_files(names)
    ]
    return subtract(runs_by_names(names_by_day), lost)


def days_within(windows: Iterable[Window], bounds: Window = ALL_TIME) -> set[date]:
    """The UTC days of some windows that have time within bounds."""
    return {
        part.day
        for window in windows
        if window.overlaps(bounds)
        for part in Window(max(window.since, bounds.since), min(window.until, bounds.until)).days()
    }


def dropped_days(store: Store, bounds: Window = ALL_TIME) -> set[date]:
    """The UTC days within bounds of which any account's events were dropped.

    Raises:
        StagingError: The names of raw files cannot be read.
    """
    return {
        day
        for account in store.accounts("raw")
        for day in days_within(dropped_time(store, account, bounds), bounds)
    }


def describe(days: Collection[date], of: str = "of the range") -> str:
    """A sentence that says that days are no longer staged."""
    many = counted(len(days), f"day {of} is", f"days {of} are")
    return f"{many} no longer staged ({span_of(days)}): retention dropped what was there"


def no_longer_staged(store: Store, bounds: Window) -> list[str]:
    """A sentence about the days within bounds that were dropped; none where there are none.

    Raises:
        StagingError: The names of raw files cannot be read.
    """
    days = dropped_days(store, bounds)
    return [describe(days)] if days else []


def span_of(days: Collection[date]) -> str:
    """The first and the last of some days, as text."""
    first, last = min(days), max(days)
    return f"{first}" if first == last else f"{first} to {last}"
