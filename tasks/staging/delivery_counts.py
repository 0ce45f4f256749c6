"""How many events of a segment are delivered, pending and failed: by names where they tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from tasks.staging import file_names, normalized

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import pyarrow as pa

    from tasks.staging.file_names import NormalizedFile
    from tasks.staging.last_attempts import LastAttempts
    from tasks.staging.ledger import Ledger
    from tasks.staging.segments import Segment
    from tasks.time_window import Window

_COLUMNS = ["event_id", "created_at"]


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


def count_deliveries(
    ledger: Ledger, segment: Segment, since: datetime | None, *, oldest: bool = True
) -> DeliveryCounts:
    """Count a segment; files are opened only where something is pending.

    With `oldest` off, `oldest_pending` may be None where something is: who surveys segments in
    order knows it from an earlier one, and is spared a file for each that was never tried.

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
            counts += _count(events, last, since)
    return counts


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


def inside(events: pa.Table, since: datetime | None, window: Window | None) -> Any:
    """Which events were created at `since` or later and in `window`, an array of booleans."""
    created = _created(events)
    chosen = np.ones(len(created), np.bool_)
    if since is not None:
        chosen &= created >= _instant(since)
    if window is not None:
        chosen &= (created >= _instant(window.since)) & (created < _instant(window.until))
    return chosen


def _created(events: pa.Table) -> Any:
    return events["created_at"].cast("timestamp[us]").to_numpy()


def _instant(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "us")


def _count(events: pa.Table, last: LastAttempts, since: datetime | None) -> DeliveryCounts:
    waiting = ~last.delivered & inside(events, since, None)
    created = _created(events)[waiting]
    oldest = created.min().item().replace(tzinfo=UTC) if len(created) else None
    return DeliveryCounts(
        int(last.delivered.sum()), int(waiting.sum()), int((last.failed & waiting).sum()), oldest
    )


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
