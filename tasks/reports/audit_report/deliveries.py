"""What a destination's ledger tells of a range: attempts, delays, repeats."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.reports.audit_report.delays import Delays
from tasks.staging.deliveries.last_attempts import DELIVERED
from tasks.staging.event_masks import created_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from tasks.staging.deliveries.ledger import Ledger
    from tasks.staging.names.ledger_file_names import AttemptsFile
    from tasks.time_window import Window

LIVE = timedelta(hours=1)
"""An event is live if it was staged within this time after it was created; else it is backfill."""

_COLUMNS = ["event_id", "created_at", "status", "attempted_at"]
_ROWS = 262_144  # to look up at a time: each look-up indexes the ids of the day


@dataclass
class Deliveries:
    """What a ledger tells of the events of a range.

    Attributes:
        attempts: Attempts by status and the UTC day they were made.
        live: Delays of the live events (`LIVE`) that were delivered at least once.
        backfill: Those of the others.
        times: Events that were delivered at least once, by how many times.
        not_staged: Attempts of events that are no longer staged, of which no more is known.
    """

    attempts: dict[str, Counter[date]] = field(default_factory=dict)
    live: Delays = field(default_factory=Delays)
    backfill: Delays = field(default_factory=Delays)
    times: Counter[int] = field(default_factory=Counter)
    not_staged: int = 0

    @property
    def repeated(self) -> int:
        """Events that were delivered more than once."""
        return sum(events for times, events in self.times.items() if times > 1)

    @property
    def repeats(self) -> int:
        """How many deliveries there were beyond the first of each event."""
        return sum((times - 1) * events for times, events in self.times.items())

    def add(
        self, ledger: Ledger, files: Iterable[AttemptsFile], events: pa.Table, window: Window
    ) -> None:
        """Count the ledger of an account and day.

        Args:
            ledger: The ledger.
            files: Its files.
            events: The account's raw events of the day and window: `event_id`, `created_at` and
                `extracted_at`.
            window: Attempts of events created in it are counted.

        Raises:
            FileGone: The ledger was compacted since it was listed.
            StagingError: It cannot be read.
        """
        never = np.datetime64("9999-01-01", "us")
        first = np.full(events.num_rows, never)
        times = np.zeros(events.num_rows, np.int64)
        ids = events["event_id"].combine_chunks()
        for rows in _batches(ledger, files):
            ours = created_in(window, rows)
            self._count(ours)
            positions = pc.index_in(ours["event_id"], value_set=ids)
            self.not_staged += positions.null_count
            known = pc.is_valid(positions)
            known = pc.and_(known, pc.is_in(ours["status"], value_set=pa.array(DELIVERED)))
            where = positions.filter(known).to_numpy()
            np.add.at(times, where, 1)
            np.minimum.at(first, where, _times(ours.filter(known)["attempted_at"]))
        created, extracted = _times(events["created_at"]), _times(events["extracted_at"])
        live = extracted - created <= np.timedelta64(LIVE)
        delivered = times > 0
        delays = first - created
        self.live.add(delays[delivered & live])
        self.backfill.add(delays[delivered & ~live])
        counted = zip(*np.unique(times[delivered], return_counts=True), strict=True)
        self.times.update({int(time): int(events) for time, events in counted})

    def _count(self, rows: pa.Table) -> None:
        days = rows["attempted_at"].cast(pa.timestamp("us")).cast(pa.date32())
        counted = (
            pa.table({"status": rows["status"], "day": days})
            .group_by(["status", "day"])
            .aggregate([([], "count_all")])
        )
        for row in counted.to_pylist():
            self.attempts.setdefault(row["status"], Counter())[row["day"]] += row["count_all"]


def _batches(ledger: Ledger, files: Iterable[AttemptsFile]) -> Iterator[pa.Table]:
    """The rows of some files, those of small files together."""
    tables: list[pa.Table] = []
    for file in files:
        for rows in ledger.store.batches(f"{ledger.folder}/{file.name}", _COLUMNS):
            tables.append(rows)
            if sum(table.num_rows for table in tables) >= _ROWS:
                yield pa.concat_tables(tables)
                tables = []
    if tables:
        yield pa.concat_tables(tables)


def _times(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    times: np.ndarray[tuple[int], np.dtype[np.datetime64]]
    times = column.cast(pa.timestamp("us")).to_numpy()
    return times
