"""The events of a day, counted by their ids, and what does not add up.

Ids are held in memory to be compared. Of a large day a share of them is held at a time, chosen by a
hash, and its files are read once for each share. An id lies in one share, so the counts are exact.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.plurals import counted
from tasks.staging.day_files import DayFiles, days
from tasks.staging.deliveries.last_attempts import LastAttempts, last_of
from tasks.staging.deliveries.pending import DeliveryCounts, count_events, settled_windows
from tasks.staging.event_masks import FILTERED, IDS, inside
from tasks.staging.known_ids import id_hashes
from tasks.staging.normalized_rows import conform
from tasks.staging.schemas import schema_of
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    import numpy.typing as npt

    from tasks.event_filter import EventFilter
    from tasks.staging.deliveries.ledger import Ledger
    from tasks.staging.names.file_names import NormalizedFile, RawFile
    from tasks.staging.names.rejected_file_names import RejectedFile
    from tasks.staging.store import Store

EVENTS_AT_ONCE = 500_000
"""About how many events of a day are compared at a time: 200 bytes of memory each."""

_ATTEMPTS = [*IDS, "attempt", "status", "error", "attempted_at"]


@dataclass(frozen=True)
class Share:
    """The events of a day whose hashes of ids lie in one of `of` equal parts of all hashes."""

    number: int
    of: int

    def take(self, rows: pa.Table) -> pa.Table:
        """Those of some rows."""
        if self.of == 1 or not rows.num_rows:
            return rows
        hashes = id_hashes(rows["event_id"].fill_null("")) >> np.uint64(32)
        parts = hashes * np.uint64(self.of) >> np.uint64(32)
        return rows.filter(pa.array(parts == self.number))


@dataclass
class DayEvents:
    """An account's day in raw, normalized and rejected.

    Attributes:
        store: The staging.
        window: The range; events outside it are compared, and not counted.
        account: Whose events.
        day: The day.
        state: Its files.
        staged: Raw events of the range.
        normalized: Those that are normalized.
        rejected: Those that stage transform rejected.
        problems: Files whose rows are not as many as their names tell.
    """

    store: Store
    window: Window
    account: str
    day: date
    state: DayFiles
    staged: int = 0
    normalized: int = 0
    rejected: int = 0
    problems: list[str] = field(default_factory=list)
    _gone: dict[str, int] = field(default_factory=dict)
    _twice: Counter[str] = field(default_factory=Counter)
    _missing: int = 0
    _unknown: int = 0

    def listed_again(self) -> DayEvents:
        """The day with the files that there are now, nothing counted yet."""
        within = Window.of_day(self.day)
        state = days(self.store, self.account, within).get(self.day) or DayFiles(dropped=True)
        return DayEvents(self.store, self.window, self.account, self.day, state)

    def shares(self) -> Iterator[Share]:
        """The shares to be compared one after the other, of about equal size."""
        of = 1 + sum(file.rows for file in self.state.raw) // EVENTS_AT_ONCE
        return (Share(number, of) for number in range(of))

    def add(self, share: Share) -> tuple[pa.Table, pa.Table]:
        """Count a share, and return its raw events with `IDS`, its normalized with `FILTERED`.

        Raises:
            FileGone: A file was replaced since it was listed.
            StagingError: A file cannot be read.
        """
        raw = self._ids("raw", self.state.raw, share)
        rows = self._ids("normalized", self.state.current.values(), share, FILTERED)
        rejected = self._ids("rejected", self.state.rejected, share)
        malformed = self._ids("rejected", self.state.malformed, share)
        for file in self.state.orphans:
            # a compaction is publishing a file that has only events which count, or was
            if not (file.compacted and _among(self._ids("normalized", [file], share), rows).all()):
                self._gone[file.name] = file.rows
        # an id in both counts as normalized: a crash came between the two files
        rejected = rejected.filter(~_among(rejected, rows))
        self.staged += self._inside(raw)
        self.normalized += self._inside(rows)
        self.rejected += self._inside(rejected)
        for name, table in (
            ("raw", raw),
            ("normalized", rows),
            ("rejected", rejected),
            ("malformed", malformed),
        ):
            self._twice[name] += table.num_rows - len(table["event_id"].unique())
        done = pa.concat_tables([rows.select(IDS), rejected])
        self._missing += int((~_among(raw, done)).sum())
        self._unknown += int((~_among(done, raw)).sum())
        return raw, rows

    def all_problems(self) -> list[str]:
        """What does not add up, after all shares: where, what, how many."""
        where = f"account {self.account}, {self.day}"
        found = list(self.problems)
        if self._gone:
            orphans = sum(self._gone.values())
            found.append(
                f"{where}: the raw file of {orphans:,} normalized events is gone, so that they do "
                "not count; `halo-usm transform` drops them"
            )
        for name, twice in self._twice.items():
            tree = "rejected" if name == "malformed" else name
            if twice:
                found.append(
                    f"{where}: {counted(twice, 'event is', 'events are')} in {tree} more than once"
                )
        if self._missing:
            found.append(
                f"{where}: {counted(self._missing, 'event')} neither normalized nor rejected"
            )
        if self._unknown:
            found.append(
                f"{where}: {counted(self._unknown, 'event')} normalized or rejected, not raw"
            )
        return found

    def _inside(self, events: pa.Table) -> int:
        return int(inside(events, self.window).sum())

    def _ids(
        self,
        tree: str,
        files: Iterable[RawFile | NormalizedFile | RejectedFile],
        share: Share,
        columns: list[str] = IDS,
    ) -> pa.Table:
        """Columns of a share of some files' rows, which are all counted against their names."""
        folder = self.store.folder(tree, self.account, self.day)
        schema = schema_of(tree, columns)
        tables = [schema.empty_table()]
        for file in files:
            rows = 0
            if not file.rows:
                continue
            for part in self.store.batches(f"{folder}/{file.name}", columns):
                rows += part.num_rows
                tables.append(share.take(conform(part, schema)))
            if rows != file.rows and not share.number:
                self.problems.append(
                    f"{folder}/{file.name} has {rows} events, its name tells of {file.rows}"
                )
        return pa.concat_tables(tables)


@dataclass
class DayDeliveries:
    """What a destination got of an account's day.

    Attributes:
        ledger: The destination's ledger of it.
        takes: What the destination takes.
        counts: The events of the range.
    """

    ledger: Ledger
    takes: EventFilter
    events: DayEvents
    counts: DeliveryCounts = field(default_factory=DeliveryCounts)

    def __post_init__(self) -> None:
        names = self.ledger.names()
        self._attempts, _ = self.ledger.files(names)
        current = self.events.state.current.values()
        settled = settled_windows(self.ledger, current, names, self.takes)
        self._unsent = dict.fromkeys(settled, 0)
        self._delivered = self._unknown = 0

    def add(self, share: Share, raw: pa.Table, rows: pa.Table) -> None:
        """Count a share of the day's events, given as `DayEvents.add` returns them.

        Raises:
            FileGone: A file was replaced since it was listed.
            StagingError: A file cannot be read.
        """
        attempts = pa.concat_tables(self._rows(share))
        last = LastAttempts.never(rows.num_rows)
        if attempts.num_rows:
            tried = attempts.group_by("event_id").aggregate([("created_at", "min")])
            tried = tried.rename_columns(IDS)
            self._delivered += int(last_of(attempts, tried).delivered.sum())
            if not self.events.state.dropped:
                self._unknown += int((~_among(tried, raw)).sum())
            last = last_of(attempts, rows)
        for settled in self._unsent:
            self._unsent[settled] += count_events(rows, last, self.takes, settled).pending
        self.counts += count_events(rows, last, self.takes, self.events.window)

    def all_problems(self) -> list[str]:
        """What does not add up, after all shares: where, what, how many."""
        ledger, found = self.ledger, []
        where = f"destination {ledger.destination}, account {ledger.account}, {ledger.day}"
        named = sum(file.delta for file in self._attempts)
        if self._attempts and named != self._delivered:
            found.append(
                f"{where}: names tell of {named} delivered events, the rows of {self._delivered}"
            )
        if self._unknown:
            found.append(f"{where}: {counted(self._unknown, 'event')} sent that are not in raw")
        found += [
            f"{where}: names tell that nothing is left to deliver of {settled}, so that no "
            f"load sends its {unsent} pending events; `halo-usm replay --only all` does"
            for settled, unsent in self._unsent.items()
            if unsent
        ]
        return found

    def _rows(self, share: Share) -> Iterator[pa.Table]:
        """The attempts of a share of the events."""
        yield schema_of("deliveries", _ATTEMPTS).empty_table()
        for file in self._attempts:
            path = f"{self.ledger.folder}/{file.name}"
            for part in self.ledger.store.batches(path, _ATTEMPTS):
                yield share.take(part)


def _among(events: pa.Table, others: pa.Table) -> npt.NDArray[np.bool_]:
    """Which events are among others, by id."""
    found = pc.is_in(events["event_id"], value_set=others["event_id"].combine_chunks())
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)
