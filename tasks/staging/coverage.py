"""What raw knows of an account's time: what is covered, what is lost, where it begins.

All of it is in the names of files: coverage is the union of the windows of raw files, and marks are
files without rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.staging import dropped, file_names
from tasks.staging.raw import covered_by, publish
from tasks.staging.schemas import RAW_SCHEMA
from tasks.time_window import MICROSECOND, Window, difference, union

if TYPE_CHECKING:
    from datetime import date, datetime

    from tasks.staging.file_names import RawFile
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
        synced: Whether a sync began there; if not, only ranges were extracted by themselves, or
            nothing.
        days: The raw files of each day.
    """

    covered: list[Window]
    lost: list[Window]
    dropped: list[Window]
    begin: datetime | None
    synced: bool
    days: dict[date, list[RawFile]] = field(default_factory=dict)

    @property
    def end(self) -> datetime | None:
        """The latest time that was read or begun; None before its first event."""
        return max((part.until for part in (*self.covered, *self.dropped)), default=self.begin)


def read_coverage(store: Store, account: str) -> Coverage:
    """What raw knows of an account's time, from one listing. No file is opened.

    Raises:
        StagingError: A name is not one of ours.
    """
    days = {
        day: file_names.raw_files(names, file_names.partition(account, day))
        for day, names in store.tree("raw", account).items()
    }
    return coverage_of(days)


def coverage_of(days: dict[date, list[RawFile]]) -> Coverage:
    """What an account's raw files that count tell of its time."""
    covered, lost = (
        union(window for day, files in days.items() for window in covered_by(files, day, mark))
        for mark in ("", "lost")
    )
    runs = union(mark.window for mark in dropped.marks(days))
    covered = [piece for window in covered for piece in difference(window, runs)]
    gone = [piece for run in runs for piece in difference(run, lost)]
    starts = [window.since for window in (*covered[:1], *runs[:1])]
    ranges = False
    for day, files in days.items():
        for file in files:
            if file.mark in _BEGINNINGS:
                starts.append(file.window(day).since)
                ranges = ranges or file.mark == "range"
    synced = bool(starts) and not ranges
    return Coverage(covered, lost, gone, min(starts, default=None), synced, days)


def covered_windows(store: Store, account: str) -> list[Window]:
    """The time that raw covers, sorted, nothing overlapping or touching. No file is opened."""
    return read_coverage(store, account).covered


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
    window = Window(moment, moment + MICROSECOND)
    publish(store, account, window, RAW_SCHEMA.empty_table(), "begin" if synced else "range")
    if not synced:
        return
    for day, names in store.tree("raw", account).items():
        for file in file_names.raw_files(names, file_names.partition(account, day)):
            if file.mark == "range":
                store.remove(f"{store.folder('raw', account, day)}/{file.name}")
