"""The events of a range counted by their ids, and what of it does not add up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.plurals import counted
from tasks.staging.event_masks import FILTERED, IDS, inside
from tasks.staging.normalized_rows import conform
from tasks.staging.pending import DeliveryCounts, count_events, settled_windows
from tasks.staging.schemas import schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    import numpy.typing as npt

    from tasks.event_filter import EventFilter
    from tasks.staging.file_names import NormalizedFile
    from tasks.staging.ledger import Ledger
    from tasks.staging.normalized import DayFiles
    from tasks.staging.store import Store
    from tasks.time_window import Window


@dataclass
class Reconciliation:
    """The counts of a range, and what is not consistent.

    Attributes:
        store: The staging.
        window: The range.
        staged: Raw events of the range.
        normalized: Those that are normalized.
        rejected: Those that stage transform rejected.
        problems: What does not add up: where, what, how many.
    """

    store: Store
    window: Window
    staged: int = 0
    normalized: int = 0
    rejected: int = 0
    problems: list[str] = field(default_factory=list)

    def events(self, account: str, day: date, state: DayFiles) -> tuple[pa.Table, pa.Table]:
        """Count a day's events; its raw and normalized ones of the whole day.

        Raw has the columns `IDS`, normalized `FILTERED`.
        """
        where = f"account {account}, {day}"
        raw = self._ids(
            "raw", account, day, [(file.name, file.rows) for file in state.raw if file.rows]
        )
        current = [(file.name, file.rows) for file in state.current.values() if file.rows]
        rows = self._ids("normalized", account, day, current, FILTERED)
        orphans = [
            file
            for file in state.orphans
            if not (file.compacted and self._is_copy(account, day, file, rows))
        ]
        self._require(
            not orphans,
            f"{where}: the raw file of {sum(file.rows for file in orphans):,} normalized events is "
            "gone, so that they do not count; `halo-usm transform` drops them",
        )
        rejected, malformed = (
            self._ids("rejected", account, day, [(file.name, file.rows) for file in files])
            for files in (state.rejected, state.malformed)
        )
        # an id in both counts as normalized: a crash came between the two files
        rejected = rejected.filter(~_among(rejected, rows))
        ours = [
            table.filter(pa.array(inside(table, None, self.window)))
            for table in (raw, rows, rejected)
        ]
        self.staged += ours[0].num_rows
        self.normalized += ours[1].num_rows
        self.rejected += ours[2].num_rows
        for name, table in (
            ("raw", raw),
            ("normalized", rows),
            ("rejected", rejected),
            ("rejected", malformed),
        ):
            twice = table.num_rows - len(table["event_id"].unique())
            self._require(
                not twice,
                f"{where}: {counted(twice, 'event is', 'events are')} in {name} more than once",
            )
        done = pa.concat_tables([rows.select(IDS), rejected])
        missing = int((~_among(raw, done)).sum())
        self._require(
            not missing,
            f"{where}: {counted(missing, 'event')} neither normalized nor rejected",
        )
        unknown = int((~_among(done, raw)).sum())
        self._require(
            not unknown,
            f"{where}: {counted(unknown, 'event')} normalized or rejected, not raw",
        )
        return raw, rows

    def add(self, part: Reconciliation) -> None:
        """Add the counts of a part of the range."""
        self.staged += part.staged
        self.normalized += part.normalized
        self.rejected += part.rejected
        self.problems += part.problems

    def _is_copy(self, account: str, day: date, file: NormalizedFile, rows: pa.Table) -> bool:
        """Whether a file has only events that count: a compaction is publishing it, or was."""
        path = f"{self.store.folder('normalized', account, day)}/{file.name}"
        return bool(_among(self.store.read(path, IDS), rows).all())

    def ledger(
        self, ledger: Ledger, state: DayFiles, raw: pa.Table, rows: pa.Table, takes: EventFilter
    ) -> DeliveryCounts:
        """Count what a destination that takes some events has got of a day's normalized ones."""
        where = f"destination {ledger.destination}, account {ledger.account}, {ledger.day}"
        names = ledger.names()
        attempts, _ = ledger.files(names)
        tables = [self.store.read(f"{ledger.folder}/{file.name}", IDS) for file in attempts]
        if tables:
            tried = pa.concat_tables(tables).group_by("event_id").aggregate([("created_at", "min")])
            tried = tried.rename_columns(IDS)
            delivered = int(ledger.last_attempts(attempts, tried).delivered.sum())
            named = sum(file.delta for file in attempts)
            self._require(
                named == delivered,
                f"{where}: names tell of {named} delivered events, the rows of {delivered}",
            )
            unknown = 0 if state.dropped else int((~_among(tried, raw)).sum())
            self._require(
                not unknown,
                f"{where}: {counted(unknown, 'event was', 'events were')} sent that are not in raw",
            )
        last = ledger.last_attempts(attempts, rows)
        for settled in settled_windows(ledger, state.current.values(), names, takes):
            unsent = count_events(rows, last, takes, settled).pending
            self._require(
                not unsent,
                f"{where}: names tell that nothing is left to deliver of {settled}, so that no "
                f"load sends its {unsent} pending events; `halo-usm replay --only all` does",
            )
        return count_events(rows, last, takes, self.window)

    def _ids(
        self,
        stage: str,
        account: str,
        day: date,
        files: Iterable[tuple[str, int]],
        columns: list[str] = IDS,
    ) -> pa.Table:
        """Columns of some files, whose rows are counted against their names."""
        folder = self.store.folder(stage, account, day)
        schema = pa.schema([schema_of(stage).field(name) for name in columns])
        tables = [schema.empty_table()]
        for name, rows in files:
            table = conform(self.store.read(f"{folder}/{name}", columns), schema)
            self._require(
                table.num_rows == rows,
                f"{folder}/{name} has {table.num_rows} events, its name tells of {rows}",
            )
            tables.append(table)
        return pa.concat_tables(tables)

    def _require(self, consistent: bool, problem: str) -> None:  # noqa: FBT001
        if not consistent:
            self.problems.append(problem)


def _among(events: pa.Table, others: pa.Table) -> npt.NDArray[np.bool_]:
    """Which events are among others, by id."""
    found = pc.is_in(events["event_id"], value_set=others["event_id"].combine_chunks())
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)
