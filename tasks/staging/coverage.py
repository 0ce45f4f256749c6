"""What raw knows of an account's time: what is covered, what is lost, where it begins.

All of it is in the names of files: coverage is the union of the windows of raw files, and marks are
files without rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.staging import file_names
from tasks.staging.clock_spans import merge_spans
from tasks.staging.raw import publish
from tasks.staging.schemas import RAW_SCHEMA
from tasks.time_window import MICROSECOND, Window, union

if TYPE_CHECKING:
    from datetime import date, datetime

    from tasks.staging.store import Store

_BEGINNINGS = ("begin", "range")


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is known of an account's time. Windows are sorted, none overlaps or touches another.

    Attributes:
        covered: The time that raw covers.
        lost: The time that Halo had dropped before it was read.
        begin: Where the account begins, which may be covered or a gap; None before its first
            event.
        synced: Whether a sync began there; if not, only ranges were extracted by themselves, or
            nothing.
        days: The names of each day's raw files.
    """

    covered: list[Window]
    lost: list[Window]
    begin: datetime | None
    synced: bool
    days: dict[date, list[str]] = field(default_factory=dict)

    @property
    def end(self) -> datetime | None:
        """The latest time that is covered or begun; None before its first event."""
        return max((part.until for part in self.covered), default=self.begin)


def read_coverage(store: Store, account: str) -> Coverage:
    """What raw knows of an account's time, from one listing. No file is opened.

    Raises:
        StagingError: A name is not one of ours.
    """
    days = store.tree("raw", account)
    covered: list[Window] = []
    lost: list[Window] = []
    starts: list[datetime] = []
    ranges = False
    for day, names in days.items():
        files = file_names.raw_parts(names, file_names.partition(account, day))
        covered += merge_spans([file[:2] for file in files if not file[4]], day)
        lost += merge_spans([file[:2] for file in files if file[4] == "lost"], day)
        for since, _, _, _, mark, _ in files:
            if mark in _BEGINNINGS:
                starts.append(file_names.moment(since, day))
                ranges = ranges or mark == "range"
    covered, lost = union(covered), union(lost)
    starts += [window.since for window in covered[:1]]
    synced = bool(starts) and not ranges
    return Coverage(covered, lost, min(starts, default=None), synced, days)


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
