"""Which events a load or a replay delivers, by names where they tell, else by the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tasks.retry_policy import FIRST_DEFERRAL, LATER_DEFERRAL, RUNS_BEFORE_DEFERRAL
from tasks.staging.delivery_counts import inside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime

    import pyarrow as pa

    from tasks.staging.file_names import NormalizedFile
    from tasks.staging.last_attempts import LastAttempts
    from tasks.staging.segments import Segment
    from tasks.time_window import Window

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
    now: Any = None
    tried_before: Any = None

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

    def select(self, events: pa.Table, last: LastAttempts) -> Any:
        """Which of some events, as an array of booleans."""
        chosen = inside(events, self.since, self.window)
        if self.only == "failed":
            chosen &= last.failed
        elif self.only == "undelivered":
            chosen &= ~last.delivered
        if self.now is not None:
            pause = np.where(last.faults > RUNS_BEFORE_DEFERRAL, _LATER_DEFERRAL, _FIRST_DEFERRAL)
            # a time still to come is a wrong clock's
            since = (last.fault_at <= self.now) & (self.now < last.fault_at + pause)
            chosen &= ~(since & (last.faults >= RUNS_BEFORE_DEFERRAL))
        if self.tried_before is not None:
            chosen &= np.isnat(last.at) | (last.at < self.tried_before)
        return chosen

    def takes_all(self, segment: Segment, file: NormalizedFile, day: date) -> bool:
        """Whether names tell that it takes every event of a file."""
        every = self.only == "all" or (self.only == "undelivered" and segment.untouched)
        return every and whole(file.window(day), self.since, self.window)


def whole(bounds: Window, since: datetime | None, window: Window | None) -> bool:
    """Whether all that lies within `bounds` lies at `since` or later and in `window`."""
    if since is not None and bounds.since < since:
        return False
    return window is None or (window.since <= bounds.since and bounds.until <= window.until)
