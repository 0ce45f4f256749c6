"""The events of a range counted by their ids, and what of it does not add up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.staging import file_names
from tasks.staging.delivery_counts import inside
from tasks.staging.segments import surely_settled
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date, datetime

    from tasks.staging.ledger import Ledger
    from tasks.staging.normalized import DayFiles
    from tasks.staging.store import Store

_IDS = ["event_id", "created_at"]


class Reconciliation:
    """The counts of a range, and what was found not to be consistent."""

    def __init__(self, store: Store, window: Window, complain: Callable[[str], None]) -> None:
        self.store = store
        self.window = window
        self.staged = self.normalized = self.rejected = 0
        self.consistent = True
        self._complain = complain

    def events(self, account: str, day: date, state: DayFiles) -> tuple[pa.Table, pa.Table]:
        """Count a day's events; its raw and normalized ids and times, of the whole day."""
        where = f"account {account}, {day}"
        raw = self._ids(
            "raw", account, day, [(file.name, file.rows) for file in state.raw if file.rows]
        )
        orphans = sum(file.rows for file in state.orphans)
        self._require(
            not state.orphans,
            f"{where}: the raw file of {orphans:,} normalized events is gone, so that they do not "
            "count; `halo-usm transform` drops them",
        )
        current = [(file.name, file.rows) for file in state.current.values() if file.rows]
        rows = self._ids("normalized", account, day, current)
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
            self._require(not twice, f"{where}: {twice} events are in {name} more than once")
        done = pa.concat_tables([rows, rejected])
        missing = int((~_among(raw, done)).sum())
        self._require(not missing, f"{where}: {missing} events are neither normalized nor rejected")
        unknown = int((~_among(done, raw)).sum())
        self._require(not unknown, f"{where}: {unknown} events are normalized or rejected, not raw")
        return raw, rows

    def ledger(
        self, ledger: Ledger, state: DayFiles, raw: pa.Table, rows: pa.Table, since: datetime | None
    ) -> dict[str, int]:
        """Count what a destination has got of a day's normalized events."""
        where = f"destination {ledger.destination}, account {ledger.account}, {ledger.day}"
        names = ledger.names()
        attempts, _ = ledger.files(names)
        tables = [self.store.read(f"{ledger.folder}/{file.name}", _IDS) for file in attempts]
        if tables:
            tried = pa.concat_tables(tables).group_by("event_id").aggregate([("created_at", "min")])
            tried = tried.rename_columns(_IDS)
            delivered = int(ledger.last_attempts(attempts, tried).delivered.sum())
            named = sum(file.delta for file in attempts)
            self._require(
                named == delivered,
                f"{where}: names tell of {named} delivered events, the rows of {delivered}",
            )
            unknown = int((~_among(tried, raw)).sum())
            self._require(not unknown, f"{where}: {unknown} events were sent that are not in raw")
        last = ledger.last_attempts(attempts, rows)
        ours = inside(rows, None, self.window)
        pending = ~last.delivered & inside(rows, since, None)
        for settled in _settled(ledger, state, names, since):
            unsent = int((pending & inside(rows, None, settled)).sum())
            self._require(
                not unsent,
                f"{where}: names tell that nothing is left to deliver of {settled}, so that no "
                f"load sends its {unsent} pending events; `halo-usm replay --only all` does",
            )
        waiting = ours & pending
        return {
            "delivered": int((ours & last.delivered).sum()),
            "pending": int(waiting.sum()),
            "failed": int((waiting & last.failed).sum()),
        }

    def _ids(
        self, stage: str, account: str, day: date, files: Iterable[tuple[str, int]]
    ) -> pa.Table:
        """Ids and times of some files, whose rows are counted against their names."""
        folder = self.store.folder(stage, account, day)
        tables = [
            pa.schema(
                [("event_id", pa.string()), ("created_at", pa.timestamp("us", "UTC"))]
            ).empty_table()
        ]
        for name, rows in files:
            table = self.store.read(f"{folder}/{name}", _IDS)
            self._require(
                table.num_rows == rows,
                f"{folder}/{name} has {table.num_rows} events, its name tells of {rows}",
            )
            tables.append(table)
        return pa.concat_tables(tables)

    def complain(self, complaint: str) -> None:
        """Say what is not consistent."""
        self.consistent = False
        self._complain(complaint)

    def _require(self, consistent: bool, complaint: str) -> None:  # noqa: FBT001
        if not consistent:
            self.complain(complaint)


def _settled(
    ledger: Ledger, state: DayFiles, names: Sequence[str], since: datetime | None
) -> list[Window]:
    """The stretches of a day of which a load believes names that nothing is left to deliver."""
    day, current = ledger.day, state.current.values()
    if surely_settled([file.name for file in current], names):
        return [Window.of_day(day)]
    return [
        Window(file_names.moment(part.since, day), file_names.moment(part.until, day))
        for part in ledger.segments(current, names, since)
        if part.settled
    ]


def _among(events: pa.Table, others: pa.Table) -> Any:
    """Which events are among others, by id."""
    found = pc.is_in(events["event_id"], value_set=others["event_id"].combine_chunks())
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)
