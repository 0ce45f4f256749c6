"""What is pending: which events a destination is still to get, and how many it got.

`status`, `audit`, `load` and `replay` all ask here. Names of files tell where they can
(`tasks.staging.names.segments`); files are opened for what names leave open.

For a destination, a normalized event is delivered if its last attempt delivered it, even if the
destination would not take it now; else pending, if the destination takes it; else excluded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow.compute as pc

from tasks.retry_policy import FIRST_DEFERRAL, LATER_DEFERRAL, RUNS_BEFORE_DEFERRAL
from tasks.staging import normalized_rows
from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.event_masks import columns_of, created_at, inside, taken, whole
from tasks.staging.names import file_names
from tasks.staging.names.segments import surely_settled
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import date, datetime

    import numpy.typing as npt
    import pyarrow as pa

    from tasks.event_filter import EventFilter
    from tasks.staging.days_by_names import DayByNames
    from tasks.staging.deliveries.last_attempts import LastAttempts
    from tasks.staging.names.file_names import NormalizedFile
    from tasks.staging.names.segments import Segment
    from tasks.staging.store import Store

_FIRST_DEFERRAL, _LATER_DEFERRAL = np.array([FIRST_DEFERRAL, LATER_DEFERRAL], "timedelta64[us]")

Only = Literal["failed", "undelivered", "all"]
"""Which events a replay delivers: those whose last attempt is `failed` or `unconfirmed`, those
that are not delivered, or all."""


@dataclass(frozen=True)
class Selection:
    """Which events are to be delivered.

    Attributes:
        only: Which of them by what the ledger last says.
        takes: What the destination takes.
        window: Only events created in it; None for all.
        now: Leave out what is put off at this time (datetime64[us]): an event that failed alone in
            three runs, others being delivered right before and after it, is tried again an hour
            later; one that did so in more runs, a day later. None leaves none out.
        tried_before: Only events that were last tried before this time (datetime64[us]), or
            never; None for all.
    """

    only: Only
    takes: EventFilter
    window: Window | None
    now: np.datetime64 | None = None
    tried_before: np.datetime64 | None = None

    def files(self, segments: list[Segment], day: date) -> Iterator[tuple[Segment, NormalizedFile]]:
        """The normalized files that may hold some, by names."""
        for segment in segments:
            if segment.left_out or (self.only != "all" and segment.settled):
                continue
            if self.only == "failed" and not segment.attempts:
                continue
            for file in segment.normalized:
                if file.rows and (self.window is None or file.window(day).overlaps(self.window)):
                    yield segment, file

    def select(self, events: pa.Table, last: LastAttempts) -> npt.NDArray[np.bool_]:
        """Which of some events, given with the columns of `columns_of(takes)`."""
        chosen = taken(events, self.takes, self.window)
        if self.only == "failed":
            chosen &= last.failed
        elif self.only == "undelivered":
            chosen &= ~last.delivered
        if self.now is not None:
            pause = np.where(last.faults > RUNS_BEFORE_DEFERRAL, _LATER_DEFERRAL, _FIRST_DEFERRAL)
            # a time still to come was written by a wrong clock
            put_off = (last.fault_at <= self.now) & (self.now < last.fault_at + pause)
            chosen &= ~(put_off & (last.faults >= RUNS_BEFORE_DEFERRAL))
        if self.tried_before is not None:
            chosen &= np.isnat(last.at) | (last.at < self.tried_before)
        return chosen

    def takes_day(self, day: date) -> bool:
        """Whether it may take an event created on a day."""
        if self.takes.since is not None and day < self.takes.since.date():
            return False
        return self.window is None or self.window.reaches(day)

    def takes_all(self, segment: Segment, file: NormalizedFile, day: date) -> bool:
        """Whether file names alone show that it takes every event of a file."""
        every = self.only == "all" or (self.only == "undelivered" and not segment.attempts)
        every = every and not self.takes.by_content
        return every and whole(file.window(day), self.takes.since, self.window)


@dataclass(frozen=True)
class DeliveryCounts:
    """Counts of normalized events for a destination; all are delivered, pending or excluded.

    Attributes:
        delivered: The last attempt is `confirmed` or `sent`.
        pending: Not delivered, tried or not, and taken by the destination.
        failed: The last attempt is `failed` or `unconfirmed`; part of `pending`.
        excluded: Not delivered, and left out by the destination's `since=`, `types=` or
            `critical=`.
        oldest_pending: When the oldest pending event was created.
    """

    delivered: int = 0
    pending: int = 0
    failed: int = 0
    excluded: int = 0
    oldest_pending: datetime | None = None

    def __add__(self, other: DeliveryCounts) -> DeliveryCounts:
        times = [time for time in (self.oldest_pending, other.oldest_pending) if time is not None]
        return DeliveryCounts(
            self.delivered + other.delivered,
            self.pending + other.pending,
            self.failed + other.failed,
            self.excluded + other.excluded,
            min(times, default=None),
        )


def count_account(
    store: Store,
    destination: str,
    takes: EventFilter,
    account: str,
    days: Mapping[date, DayByNames],
) -> DeliveryCounts:
    """Count what a destination got of an account's days.

    Raises:
        FileGone: A file was replaced since the names were listed.
        StagingError: A file cannot be read.
    """
    deliveries = store.names_by_day("deliveries", account, destination)
    found = DeliveryCounts()
    for day, named in days.items():
        names = deliveries.get(day, ())
        if (delivered := named.delivered(day, names, takes)) is not None:
            found += DeliveryCounts(delivered, excluded=named.normalized - delivered)
            continue
        ledger = Ledger(store, destination, account, day)
        for segment in ledger.segments(named.current_files(account, day), names, takes):
            found += count_segment(ledger, segment, oldest=found.oldest_pending is None)
    return found


def count_segment(ledger: Ledger, segment: Segment, *, oldest: bool = True) -> DeliveryCounts:
    """Count a segment; files are opened only where names don't tell.

    With `oldest` off, `oldest_pending` may be None although something is pending: a caller that
    counts segments in order knows it from an earlier one, and opens fewer files.

    Raises:
        FileGone: A file was replaced since the names were listed.
        StagingError: A file cannot be read.
    """
    rows = segment.rows
    if segment.note is not None:
        return DeliveryCounts(segment.note.delivered, excluded=rows - segment.note.delivered)
    if segment.total == segment.delivered:
        return DeliveryCounts(rows)
    if segment.left_out and segment.sums_tell:
        return DeliveryCounts(segment.delivered, excluded=rows - segment.delivered)
    if segment.takes_all and not segment.attempts:
        first = _oldest(ledger, segment) if oldest else None
        return DeliveryCounts(pending=rows, oldest_pending=first)
    counts = DeliveryCounts()
    for file in segment.normalized:
        for events, last in states(ledger, segment, file):
            counts += count_events(events, last, segment.takes)
    return counts


def count_events(
    events: pa.Table, last: LastAttempts, takes: EventFilter, window: Window | None = None
) -> DeliveryCounts:
    """Count the events of a window by what the ledger last says, and by what is taken.

    Args:
        events: The columns of `columns_of(takes)`.
        last: The last attempt of each.
        takes: What the destination takes.
        window: Only events created in it; None for all.
    """
    here = inside(events, window)
    pending = ~last.delivered & taken(events, takes, window)
    created = created_at(events)[pending]
    oldest = created.min().item().replace(tzinfo=UTC) if len(created) else None
    delivered = int((last.delivered & here).sum())
    waiting = int(pending.sum())
    return DeliveryCounts(
        delivered,
        waiting,
        failed=int((last.failed & pending).sum()),
        excluded=int(here.sum()) - delivered - waiting,
        oldest_pending=oldest,
    )


def settled_windows(
    ledger: Ledger,
    current: Collection[NormalizedFile],
    names: Sequence[str],
    takes: EventFilter,
) -> list[Window]:
    """The parts of a day of which names say that nothing is left to deliver.

    Args:
        ledger: The destination's ledger of the account and day.
        current: The day's normalized files that count.
        names: Names of the ledger's files.
        takes: What the destination takes.

    Raises:
        StagingError: A name is not one of ours.
    """
    if surely_settled(ledger.day, [file.name for file in current], names, takes):
        return [Window.of_day(ledger.day)]
    return [
        Window(
            file_names.moment(segment.since, ledger.day),
            file_names.moment(segment.until, ledger.day),
        )
        for segment in ledger.segments(current, names, takes)
        if segment.settled
    ]


def states(
    ledger: Ledger, segment: Segment, file: NormalizedFile
) -> Iterator[tuple[pa.Table, LastAttempts]]:
    """A normalized file's columns that tell what is taken, and what the ledger last says of each.

    Some rows at a time.

    Raises:
        FileGone: A file was replaced since the names were listed.
        StagingError: A file cannot be read.
    """
    if not file.rows:
        return
    path = f"{ledger.store.folder('normalized', ledger.account, ledger.day)}/{file.name}"
    for events in normalized_rows.batches(ledger.store, path, columns_of(segment.takes)):
        yield events, ledger.last_attempts(segment.attempts, events)


def _oldest(ledger: Ledger, segment: Segment) -> datetime | None:
    """When the first event was created; windows are in order, so few files are opened."""
    oldest: datetime | None = None
    folder = ledger.store.folder("normalized", ledger.account, ledger.day)
    for file in segment.normalized:
        if not file.rows:
            continue
        if oldest is not None and file.since > file_names.clock(oldest, ledger.day):
            break
        path = f"{folder}/{file.name}"
        for events in normalized_rows.batches(ledger.store, path, ["created_at"]):
            first = pc.min(events["created_at"]).as_py()
            oldest = min((time for time in (oldest, first) if time is not None), default=None)
    return oldest
