"""Which events a load or a replay delivers, by names where they tell, else by the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tasks.staging.survey import inside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime

    import pyarrow as pa

    from tasks.staging.layout import NormalizedFile
    from tasks.staging.ledger import LastAttempts
    from tasks.staging.segments import Segment
    from tasks.windows import Window

Only = Literal["failed", "undelivered", "all"]
"""Which events a replay delivers: those whose last attempt is `failed` or `unconfirmed`, those
that are not delivered, or all."""


@dataclass(frozen=True)
class Choice:
    """Which events are to be delivered.

    Attributes:
        only: Which of them by what the ledger last says.
        since: The destination takes nothing older.
        window: Only events created in it; None for all.
        at_fault_since: An event that was shown to be at fault at this time (datetime64[us]) or
            later is left out; None leaves none out.
        tried_before: Only events that were last tried before this time (datetime64[us]), or
            never; None for all.
    """

    only: Only
    since: datetime | None
    window: Window | None
    at_fault_since: Any = None
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
        if self.at_fault_since is not None:
            chosen &= np.isnat(last.alone) | (last.alone < self.at_fault_since)
        if self.tried_before is not None:
            chosen &= np.isnat(last.at) | (last.at < self.tried_before)
        return chosen

    def left(self, events: pa.Table, last: LastAttempts) -> int:
        """How many of some events are still to be delivered after all was tried."""
        undelivered = last.failed if self.only == "failed" else ~last.delivered
        return int((inside(events, self.since, self.window) & undelivered).sum())
