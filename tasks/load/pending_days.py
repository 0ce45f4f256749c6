"""The days that may hold something to deliver, and how much of each is left.

Names of files are asked first; files are opened only for what names leave open.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.event_filter import EVERYTHING, EventFilter
from tasks.staging import normalized_rows
from tasks.staging.day_cache import DayCache
from tasks.staging.day_files import current_files
from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.deliveries.pending import states
from tasks.staging.deliveries.settle import settle
from tasks.staging.event_masks import columns_of, inside, taken, whole
from tasks.staging.names.segments import surely_settled
from tasks.staging.storage.files import FileGone, read_stable
from tasks.time_window import isoformat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    import numpy.typing as npt

    from tasks.staging.deliveries.pending import Selection
    from tasks.staging.names.file_names import NormalizedFile
    from tasks.staging.names.segments import Segment
    from tasks.staging.store import Store
    from tasks.time_window import Window

T = TypeVar("T")


def now() -> np.datetime64:
    """The time in UTC, in microseconds."""
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")


@dataclass
class PendingDay:
    """An account's day that may hold something to deliver: what was there at the beginning.

    Attributes:
        ledger: The destination's ledger of it.
        normalized: Its normalized files that count.
        events: How many there may be to deliver, by names.
        begun: When its delivery began (datetime64[us]); None before.
        selected: How many of its events were selected so far.
        read: Whether it was read to its end, so that these are all.
        all_tried: Whether each of them was tried.
        reported: Whether there is a problem already that says that it cannot be delivered.
    """

    ledger: Ledger
    normalized: list[NormalizedFile]
    events: int
    begun: np.datetime64 | None = None
    selected: int = 0
    read: bool = False
    all_tried: bool = False
    reported: bool = False

    def __str__(self) -> str:
        return f"{self.ledger.account}, {self.ledger.day}"

    def list_files(self) -> None:
        """List its normalized files anew, where one of them was replaced.

        Raises:
            StagingError: A name is not one of ours.
        """
        ledger = self.ledger
        self.normalized = current_files(ledger.store, ledger.account, ledger.day)

    def with_current_files(self, work: Callable[[], T]) -> T:
        """Do something with the day's files, again where one was replaced meanwhile."""

        def with_new_names() -> T:
            self.list_files()
            return work()

        try:
            return work()
        except FileGone:
            return read_stable(with_new_names)

    def left(self, selection: Selection) -> int:
        """How many events a load has still to deliver; noted where sums don't show that none is.

        Raises:
            FileGone: A file was replaced meanwhile.
            StagingError: A file cannot be read, or the note cannot be written.
        """
        return settle(self.ledger, self._segments(selection))

    def _segments(self, selection: Selection) -> list[Segment]:
        return self.ledger.segments(self.normalized, self.ledger.names(), selection.takes)

    def files(self, selection: Selection) -> Iterator[tuple[Segment, NormalizedFile]]:
        """Its files that may hold events to deliver, as they are now."""
        return selection.files(self._segments(selection), self.ledger.day)

    def not_tried(self, selection: Selection) -> int:
        """How many events were to be delivered and were not tried.

        They are counted by file names where these suffice.

        Raises:
            FileGone: A file was replaced meanwhile.
            StagingError: A file cannot be read.
        """
        count = 0
        for segment, file in self.files(selection):
            if self.begun is None and selection.takes_all(segment, file, self.ledger.day):
                count += file.rows
            else:
                parts = self._not_tried(selection, segment, file)
                count += sum(int(mask.sum()) for _, mask in parts)
        return count

    def first_not_tried(self, selection: Selection) -> datetime | None:
        """When the first of these was created; None where there is none.

        Raises:
            FileGone: A file was replaced meanwhile.
            StagingError: A file cannot be read.
        """
        times = [
            pc.min(events.filter(pa.array(mask))["created_at"]).as_py()
            for segment, file in self.files(selection)
            for events, mask in self._not_tried(selection, segment, file)
        ]
        return min((time for time in times if time is not None), default=None)

    def _not_tried(
        self, selection: Selection, segment: Segment, file: NormalizedFile
    ) -> Iterator[tuple[pa.Table, npt.NDArray[np.bool_]]]:
        rest = selection if self.begun is None else replace(selection, tried_before=self.begun)
        for events, last in states(self.ledger, segment, file):
            yield events, rest.select(events, last)

    def delivered_since(self, first: datetime, selection: Selection) -> int:
        """How many of the events created at `first` or later were delivered since it was begun.

        Raises:
            FileGone: A file was replaced meanwhile.
            StagingError: A file cannot be read.
        """
        if self.begun is None:
            return 0
        count = 0
        for segment, file in self.files(selection):
            for events, last in states(self.ledger, segment, file):
                delivered = last.delivered & (last.at >= self.begun)
                count += int((delivered & inside(events, selection.window, first)).sum())
        return count


def pending_days(
    store: Store, destination: str, account: str, selection: Selection, *, cached: bool = False
) -> Iterator[PendingDay]:
    """An account's days that may have something to deliver to a destination, by names.

    With `cached` days are not listed that did not change since all was delivered that the
    destination takes; who asks so holds the destination's lock, and does not select `all`.

    Raises:
        StagingError: A name is not one of ours.
    """
    ours, trees = f"account={account}", (("deliveries", destination), ("normalized", ""))
    parents = [store.folder(stage, account, destination=name) for stage, name in trees]
    asked = f"{selection.takes.since} {selection.takes.by_content}"
    cache = DayCache(store, f"destination={destination}", ours, parents, asked, use=cached)

    def wanted(day: date) -> bool:
        return selection.takes_day(day) and cache.must_list(day)

    deliveries = store.names_by_day("deliveries", account, destination, wanted=wanted)
    normalized_days = store.names_by_day("normalized", account, wanted=wanted)
    for day in deliveries.keys() - normalized_days.keys():  # ledgers are kept for longer
        cache.keep(day, answer=True)
    for day, names in normalized_days.items():
        in_ledger = deliveries.get(day, ())
        if selection.only != "all" and surely_settled(day, names, in_ledger, selection.takes):
            cache.keep(day, answer=True)
            continue
        ledger = Ledger(store, destination, account, day)
        normalized = current_files(store, account, day, names)
        segments = ledger.segments(normalized, in_ledger, selection.takes)
        if files := list(selection.files(segments, day)):
            rows = sum(file.rows for _, file in files)
            sent = sum(part.delivered for part in {part.since: part for part, _ in files}.values())
            yield PendingDay(
                ledger, normalized, rows if selection.only == "all" else max(rows - sent, 0)
            )
    cache.save()


def why_nothing(store: Store, destination: str, selection: Selection) -> str:
    """Why a destination was to get nothing: a sentence.

    Raises:
        FileGone: A file was replaced meanwhile.
        StagingError: A file cannot be read, or a name is not one of ours.
    """
    takes, window = selection.takes, selection.window
    here = f"destination {destination}: nothing to do: "
    where = " in the range" if window is not None else ""
    if not _any_event(store, EVERYTHING, window):
        return f"{here}no event{where} is normalized; `halo-usm status` tells what is staged"
    if takes.since is not None and not _any_event(store, EventFilter(takes.since), window):
        return f"{here}every event{where} is older than its since={isoformat(takes.since)}"
    if takes.by_content and not _any_event(store, takes, window):
        return f"{here}no event{where} is one that it takes: {takes}"
    if selection.only == "failed":
        return (
            f"{here}no event{where} failed at its last attempt; "
            "--only undelivered sends those never tried, too, and --only all every one"
        )
    which = f"that it takes ({takes}) " if takes.by_content else ""
    return f"{here}every event{where} {which}is delivered"


def _any_event(store: Store, takes: EventFilter, window: Window | None) -> bool:
    """Whether an event of the window is normalized that a destination takes."""
    for account in store.accounts("normalized"):
        for day in store.dates("normalized", account):
            if window is not None and not window.reaches(day):
                continue
            for file in current_files(store, account, day):
                bounds = file.window(day)
                if not file.rows or (window is not None and not window.overlaps(bounds)):
                    continue
                if not takes.by_content and whole(bounds, takes.since, window):
                    return True
                path = f"{store.folder('normalized', account, day)}/{file.name}"
                batches = normalized_rows.batches(store, path, columns_of(takes))
                if any(taken(events, takes, window).any() for events in batches):
                    return True
    return False
