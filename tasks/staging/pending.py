"""What is pending: which events a destination is still to get, and how many it got.

`status`, `audit`, `load` and `replay` all ask here. Names of files tell where they can
(`tasks.staging.segments`); files are opened for what names leave open.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow.compute as pc

from tasks.retry_policy import FIRST_DEFERRAL, LATER_DEFERRAL, RUNS_BEFORE_DEFERRAL
from tasks.staging import file_names, normalized
from tasks.staging.ledger import Ledger
from tasks.staging.segments import surely_settled
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import date, datetime

    import numpy.typing as npt
    import pyarrow as pa

    from tasks.staging.file_names import NormalizedFile
    from tasks.staging.last_attempts import LastAttempts
    from tasks.staging.normalized import DayFiles
    from tasks.staging.segments import Segment
    from tasks.staging.store import Store

_COLUMNS = ["event_id", "created_at"]
_FIRST_DEFERRAL, _LATER_DEFERRAL = np.array([FIRST_DEFERRAL, LATER_DEFERRAL], "timedelta64[us]")

Only = Literal["failed", "undelivered", "all"]
"""Which events a replay delivers: those whose last attempt is `failed` or `unconfirmed`, those
that are not delivered, or all."""


@dataclass(frozen=True)
class Selection:
    """Which events are to be delivered.

    Attributes:
        only: Which of them by what the ledger last says.
        since: The destination takes nothing older.
        window: Only events created in it; None for all.
        now: Leave out what is put off at this time (datetime64[us]): an event that failed alone in
            three runs, others being delivered right before and after it, is tried again an hour
            later; one that did so in more runs, a day later. None leaves none out.
        tried_before: Only events that were last tried before this time (datetime64[us]), or
            never; None for all.
    """

    only: Only
    since: datetime | None
    window: Window | None
    now: np.datetime64 | None = None
    tried_before: np.datetime64 | None = None

    def files(self, segments: list[Segment], day: date) -> Iterator[tuple[Segment, NormalizedFile]]:
        """The normalized files that may hold some, by names."""
        for segment in segments:
            if self.only != "all" and segment.settled:
                continue
            if self.only == "failed" and segment.untouched:
                continue
            for file in segment.normalized:
                if file.rows and (self.window is None or file.window(day).overlaps(self.window)):
                    yield segment, file

    def select(self, events: pa.Table, last: LastAttempts) -> npt.NDArray[np.bool_]:
        """Which of some events."""
        chosen = inside(events, self.since, self.window)
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
        if self.since is not None and day < self.since.date():
            return False
        return self.window is None or self.window.overlaps(Window.of_day(day))

    def takes_all(self, segment: Segment, file: NormalizedFile, day: date) -> bool:
        """Whether file names alone show that it takes every event of a file."""
        every = self.only == "all" or (self.only == "undelivered" and segment.untouched)
        return every and whole(file.window(day), self.since, self.window)


@dataclass(frozen=True)
class DeliveryCounts:
    """Counts of events that a destination takes.

    Attributes:
        delivered: The last attempt is `confirmed` or `sent`.
        pending: Not delivered, tried or not.
        failed: The last attempt is `failed` or `unconfirmed`; part of `pending`.
        oldest_pending: When the oldest pending event was created.
    """

    delivered: int = 0
    pending: int = 0
    failed: int = 0
    oldest_pending: datetime | None = None

    def __add__(self, other: DeliveryCounts) -> DeliveryCounts:
        times = [time for time in (self.oldest_pending, other.oldest_pending) if time is not None]
        return DeliveryCounts(
            self.delivered + other.delivered,
            self.pending + other.pending,
            self.failed + other.failed,
            min(times, default=None),
        )


def count_account(
    store: Store,
    destination: str,
    since: datetime | None,
    account: str,
    days: Mapping[date, DayFiles],
) -> DeliveryCounts:
    """Count what a destination that takes nothing older than `since` got of an account's days.

    Raises:
        FileGone: A file was replaced since the names were listed.
        StagingError: A file cannot be read.
    """
    deliveries = store.tree("deliveries", account, destination)
    found = DeliveryCounts()
    for day, state in days.items():
        if since is not None and day < since.date():
            continue
        ledger = Ledger(store, destination, account, day)
        for segment in ledger.segments(state.current.values(), deliveries.get(day, ()), since):
            found += count_segment(ledger, segment, since, oldest=found.oldest_pending is None)
    return found


def count_segment(
    ledger: Ledger, segment: Segment, since: datetime | None, *, oldest: bool = True
) -> DeliveryCounts:
    """Count a segment; files are opened only where something is pending.

    With `oldest` off, `oldest_pending` may be None although something is pending: a caller that
    counts segments in order knows it from an earlier one, and opens fewer files.

    Raises:
        FileGone: A file was replaced since the names were listed.
        StagingError: A file cannot be read.
    """
    if segment.note is not None:
        return DeliveryCounts(segment.note.delivered)
    if segment.settled:
        return DeliveryCounts(segment.rows)
    if segment.untouched:
        return DeliveryCounts(0, segment.rows, 0, _oldest(ledger, segment) if oldest else None)
    counts = DeliveryCounts()
    for file in segment.normalized:
        for events, last in states(ledger, segment, file):
            counts += count_events(events, last, since)
    return counts


def count_events(
    events: pa.Table, last: LastAttempts, since: datetime | None, window: Window | None = None
) -> DeliveryCounts:
    """Count the events of a window by what the ledger last says; those before `since` never wait.

    Args:
        events: `event_id` and `created_at`.
        last: The last attempt of each.
        since: The destination takes nothing older.
        window: Only events created in it; None for all.
    """
    delivered = last.delivered & inside(events, None, window)
    pending = ~last.delivered & inside(events, since, window)
    created = _created(events)[pending]
    oldest = created.min().item().replace(tzinfo=UTC) if len(created) else None
    return DeliveryCounts(
        int(delivered.sum()), int(pending.sum()), int((last.failed & pending).sum()), oldest
    )


def settled_windows(
    ledger: Ledger,
    current: Collection[NormalizedFile],
    names: Sequence[str],
    since: datetime | None,
) -> list[Window]:
    """The parts of a day of which names say that nothing is left to deliver.

    Args:
        ledger: The destination's ledger of the account and day.
        current: The day's normalized files that count.
        names: Names of the ledger's files.
        since: The destination takes nothing older.

    Raises:
        StagingError: A name is not one of ours.
    """
    if surely_settled([file.name for file in current], names):
        return [Window.of_day(ledger.day)]
    return [
        Window(
            file_names.moment(segment.since, ledger.day),
            file_names.moment(segment.until, ledger.day),
        )
        for segment in ledger.segments(current, names, since)
        if segment.settled
    ]


def states(
    ledger: Ledger, segment: Segment, file: NormalizedFile
) -> Iterator[tuple[pa.Table, LastAttempts]]:
    """A normalized file's `event_id` and `created_at`, and what the ledger last says of them.

    Some rows at a time.

    Raises:
        FileGone: A file was replaced since the names were listed.
        StagingError: A file cannot be read.
    """
    if not file.rows:
        return
    path = f"{ledger.store.folder('normalized', ledger.account, ledger.day)}/{file.name}"
    for events in normalized.batches(ledger.store, path, _COLUMNS):
        yield events, ledger.last_attempts(segment.attempts, events)


def inside(
    events: pa.Table, since: datetime | None, window: Window | None
) -> npt.NDArray[np.bool_]:
    """Which events were created at `since` or later and in `window`."""
    created = _created(events)
    chosen = np.ones(len(created), np.bool_)
    if since is not None:
        chosen &= created >= _instant(since)
    if window is not None:
        chosen &= (created >= _instant(window.since)) & (created < _instant(window.until))
    return chosen


def whole(bounds: Window, since: datetime | None, window: Window | None) -> bool:
    """Whether all that lies within `bounds` lies at `since` or later and in `window`."""
    if since is not None and bounds.since < since:
        return False
    return window is None or (window.since <= bounds.since and bounds.until <= window.until)


def _created(events: pa.Table) -> npt.NDArray[np.datetime64]:
    times: npt.NDArray[np.datetime64] = events["created_at"].cast("timestamp[us]").to_numpy()
    return times


def _instant(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "us")


def _oldest(ledger: Ledger, segment: Segment) -> datetime | None:
    """When the first event was created; windows are in order, so few files are opened."""
    oldest: datetime | None = None
    folder = ledger.store.folder("normalized", ledger.account, ledger.day)
    for file in segment.normalized:
        if not file.rows:
            continue
        if oldest is not None and file.since > file_names.clock(oldest, ledger.day):
            break
        for events in normalized.batches(ledger.store, f"{folder}/{file.name}", ["created_at"]):
            first = pc.min(events["created_at"]).as_py()
            oldest = min((time for time in (oldest, first) if time is not None), default=None)
    return oldest
