"""What raw knows of an account's time: what is covered, what is lost, where it begins.

All of it is in the names of files: coverage is the union of the windows of raw files, and marks are
files without rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tasks.staging import dropped
from tasks.staging.day_cache import DayCache
from tasks.staging.names import file_names
from tasks.staging.names.clock_spans import merge_spans
from tasks.staging.raw import publish
from tasks.staging.schemas import RAW_SCHEMA
from tasks.time_window import Window, subtract, union

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

    from tasks.staging.names.file_names import RawParts
    from tasks.staging.store import Store

_BEGINNINGS = ("begin", "range")


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is known of an account's time. Windows are sorted, none overlaps or touches another.

    Attributes:
        covered: The time that raw covers.
        lost: The time that Halo had dropped before it was read.
        dropped: The time that was covered once, and that retention has dropped; it counts as read,
            and never as covered.
        begin: Where the account begins, which may be covered or a gap; None before its first
            event.
        synced: Whether a sync began there; if not, only single ranges were extracted, or nothing.
    """

    covered: list[Window]
    lost: list[Window]
    dropped: list[Window]
    begin: datetime | None
    synced: bool

    @property
    def end(self) -> datetime | None:
        """The latest time that was read or begun; None before its first event."""
        return max((part.until for part in (*self.covered, *self.dropped)), default=self.begin)


class DayCoverage(NamedTuple):
    """What the names of a day's raw files tell of time.

    Attributes:
        covered: The time that they cover, merged.
        marked: The mark and the window of each file that says something else about time.
    """

    covered: list[Window]
    marked: list[tuple[str, Window]]

    @property
    def read(self) -> list[Window]:
        """The windows that were read, whether they are covered or not, and where it begins."""
        return [*self.covered, *(window for _, window in self.marked)]


def read_coverage(store: Store, account: str, *, cached: bool = False) -> Coverage:
    """What raw knows of an account's time, from one listing. No file is opened.

    With `cached`, days that did not change are not listed; the caller holds the account's lock.

    Raises:
        StagingError: A name is not one of ours.
    """
    parent = store.folder("raw", account)
    cache = DayCache(store, f"account={account}", "coverage", [parent], use=cached)
    days = []
    for day, names in store.names_by_day("raw", account, wanted=cache.must_list).items():
        parts = file_names.raw_parts(names, file_names.partition(account, day))
        days.append(known := day_coverage(parts, day))
        if not known.marked:
            spans = [(window.since, window.until) for window in known.covered]
            cache.keep(day, [[file_names.clock(time, day) for time in span] for span in spans])
    cache.save()
    days += [DayCoverage(merge_spans(spans, day), []) for day, spans in cache.unchanged.items()]
    return coverage_of(days)


def coverage_by_names(account: str, days: Mapping[date, Sequence[str]]) -> Coverage:
    """What is known of an account's time, by the names of each day's raw files."""
    return coverage_of(
        day_coverage(file_names.raw_parts(names, file_names.partition(account, day)), day)
        for day, names in days.items()
    )


def day_coverage(parts: Sequence[RawParts], day: date) -> DayCoverage:
    """What a day's raw files say about time, replaced ones included."""
    covered = merge_spans(
        [(since, until) for since, until, _, _, mark, _ in parts if not mark], day
    )
    marked = [
        (mark, Window(file_names.moment(since, day), file_names.moment(until, day)))
        for since, until, _, _, mark, _ in parts
        if mark and mark != "beside"
    ]
    return DayCoverage(covered, marked)


def coverage_of(days: Iterable[DayCoverage]) -> Coverage:
    """What is known of an account's time, from what is known of each of its days."""
    days = list(days)
    marked = [one for day in days for one in day.marked]
    lost = union(window for mark, window in marked if mark == "lost")
    runs = union(run for one in marked if (run := dropped.run_of(*one)))
    covered = subtract(union(window for day in days for window in day.covered), runs)
    gone = subtract(runs, lost)
    starts = [window.since for window in (*covered[:1], *runs[:1])]
    starts += [window.since for mark, window in marked if mark in _BEGINNINGS]
    synced = bool(starts) and not any(mark == "range" for mark, _ in marked)
    return Coverage(covered, lost, gone, min(starts, default=None), synced)


def mark_lost(store: Store, account: str, window: Window) -> None:
    """Remember a window, within one UTC day, as one that Halo had dropped before it was read.

    Raises:
        StagingError: The staging cannot be written.
    """
    publish(store, account, window, RAW_SCHEMA.empty_table(), "lost")


def mark_beginning(store: Store, account: str, moment: datetime, *, synced: bool) -> None:
    """Remember where an account begins, before anything later is staged.

    Args:
        store: The staging.
        account: Whose beginning it is.
        moment: Where it begins.
        synced: Whether the account is synced from there on; if not, a range was extracted by
            itself, and its first sync is still to come.

    Raises:
        StagingError: The staging cannot be written.
    """
    window = Window.around(moment, moment)
    publish(store, account, window, RAW_SCHEMA.empty_table(), "begin" if synced else "range")
    if not synced:
        return
    for day, names in store.names_by_day("raw", account).items():
        for file in file_names.raw_files(names, file_names.partition(account, day)):
            if file.mark == "range":
                store.remove(f"{store.folder('raw', account, day)}/{file.name}")
