"""The rejected events of a range, by reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.redaction import foreign_text
from tasks.staging.event_masks import inside

if TYPE_CHECKING:
    from datetime import date

    from tasks.staging.day_files import DayFiles
    from tasks.staging.store import Store
    from tasks.time_window import Window

OTHER = "other reasons"
_MOST_REASONS = 1000
"""How many different ones are counted by themselves; a reason may quote what was wrong."""


@dataclass
class Rejections:
    """The rejected events of a range.

    Attributes:
        window: The range.
        reasons: Events by the stage that rejected them, and the reason.
    """

    window: Window
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, store: Store, account: str, day: date, state: DayFiles) -> None:
        """Count those of an account's day.

        An event without a date lies in the day of its extraction, and is counted there.

        Raises:
            FileGone: A file was replaced since the names were listed.
            StagingError: A file cannot be read.
        """
        files = [*state.rejected, *state.malformed]
        if not files:
            return
        folder = store.folder("normalized", account, day)
        understood = [
            store.read(f"{folder}/{file.name}", ["event_id"])["event_id"]
            for file in state.current.values()
            if file.rows
        ]
        ids = pa.chunked_array(understood, pa.string()).combine_chunks()
        folder = store.folder("rejected", account, day)
        for file in files:
            rows = store.read(
                f"{folder}/{file.name}", ["event_id", "created_at", "stage", "reason"]
            )
            dated = pa.array(inside(rows, self.window))
            ours = pc.or_(dated, pc.is_null(rows["created_at"]))
            # an id in both counts as normalized: a crash came between the two files
            both = pc.and_(
                pc.is_in(rows["event_id"], value_set=ids), pc.equal(rows["stage"], "transform")
            )
            counted = rows.filter(pc.and_not(ours, both)).group_by(["stage", "reason"])
            for row in counted.aggregate([([], "count_all")]).to_pylist():
                reason = (row["stage"], foreign_text(row["reason"]))
                if reason not in self.reasons and len(self.reasons) >= _MOST_REASONS:
                    reason = (row["stage"], OTHER)
                self.reasons[reason] += row["count_all"]
