"""The whole life of one event: staged when, normalized to what, each attempt to deliver it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.redaction import foreign_text
from tasks.reports.answer import Answer
from tasks.staging import day_files
from tasks.staging.day_files import DayFiles
from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.dropped import describe, dropped_days
from tasks.staging.event_masks import IDS, span_of
from tasks.staging.known_ids import Candidates
from tasks.staging.names import file_names
from tasks.staging.storage.files import read_stable, skip_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import date, datetime

    from tasks.staging.names.ledger_file_names import AttemptsFile
    from tasks.staging.store import Store

    Row = dict[str, Any]
    """A row of a staged file by its columns, and the `file` it lies in."""


@dataclass(kw_only=True)
class EventHistory(Answer):
    """The whole life of one event.

    Attributes:
        event_id: Halo's id; for an event without one, the SHA-256 of its text.
        account: None where the event is unknown.
        staged: Its row in raw.
        normalized: Its row in normalized.
        rejected: Its row in rejected.
        deliveries: Its rows in the ledgers in the order of the attempts, each with its
            `destination`.
    """

    event_id: str
    account: str | None = None
    staged: Row | None = None
    normalized: Row | None = None
    rejected: Row | None = None
    deliveries: list[Row] = field(default_factory=list)


def audit_event(store: Store, event_id: str) -> EventHistory:
    """The whole life of one event.

    Its problems are the places that cannot be read, which may hide something; its notes name other
    accounts that have the event, too, as after an account was renamed.

    Raises:
        StagingError: The staging cannot be read at all.
    """
    history = read_stable(lambda: _Search(store, event_id).run())
    if history.account is None:
        history.problems.append(f"event {foreign_text(event_id)} is not in this staging")
    if history.staged is None and (gone := dropped_days(store)):
        history.notes.append(describe(gone, "of the staging"))
    return history


class _Search:
    """Searches one event. What cannot be read is a problem, and passed over.

    The hashes that extraction keeps tell which raw files may have the event. The others are opened
    only where it is not found as it should be.
    """

    def __init__(self, store: Store, event_id: str) -> None:
        self.store = store
        self.event_id = event_id
        self.problems: list[str] = []
        self.candidates = {
            account: Candidates(store, account, event_id) for account in store.accounts("raw")
        }
        self.days = self._days_newest_first()

    def run(self) -> EventHistory:
        """Find the event in raw, else in rejected, else in the ledgers."""
        likely = {(name, day) for name, its in self.candidates.items() for day in its.days}
        found = (
            self._first_day(self.staged, sorted(self.days, key=lambda one: one not in likely))
            or self._first_day(self.rejected, self.days)
            or self._first_day(self.sent, self.days)
        )
        if found is None or not (found.staged or _never_raw(found.rejected)):
            self.candidates = {}
            found = self._first_day(self.staged, self.days) or found
        found = found or EventHistory(event_id=self.event_id)
        found.problems += dict.fromkeys(self.problems)
        return found

    def _first_day(
        self, find: Callable[[str, date], EventHistory | None], days: list[tuple[str, date]]
    ) -> EventHistory | None:
        """What the first of some days that has the event has of it."""
        for account, day in days:
            if history := find(account, day):
                history.notes = [
                    f"event {self.event_id} is in account {other} too, staged and sent by "
                    f"itself; this is what became of it in account {account}"
                    for other, same in self.days
                    if same == day and other != account and find(other, same)
                ]
                return history
        return None

    def _days_newest_first(self) -> list[tuple[str, date]]:
        """Every account's days, those first where an event is most likely asked for."""
        trees = [(tree, "") for tree in ("raw", "normalized", "rejected")]
        trees += [("deliveries", destination) for destination in self.store.destinations()]
        found: set[tuple[str, date]] = set()
        for account in self.store.known_accounts():
            for tree, destination in trees:
                where = f"destination {destination}" if destination else f"account {account}"
                with skip_unreadable(self.problems, where):
                    days = self.store.dates(tree, account, destination)
                    found.update((account, day) for day in days)
        return sorted(found, key=lambda entry: (entry[1], entry[0]), reverse=True)

    def _state(self, account: str, day: date) -> DayFiles:
        """What the names of a day say; nothing where one is foreign."""
        with skip_unreadable(self.problems, f"account {account}"):
            return day_files.day_of(self.store, account, day)
        return DayFiles()

    def staged(self, account: str, day: date) -> EventHistory | None:
        """What raw has of the event, and what came of it."""
        names: list[str] = []
        with skip_unreadable(self.problems, f"account {account}"):
            names = self.store.files("raw", account, day)
        if its := self.candidates.get(account):
            names = [name for name in names if its.may_have(day, name)]
        if not names:
            return None
        state = self._state(account, day)
        chosen = {*names}
        files = (file.name for file in state.raw if file.rows and file.name in chosen)
        staged = self._first(self.store.folder("raw", account, day), files)
        if staged is None:
            return None
        key = staged["file"].rpartition("/")[2].removesuffix(file_names.SUFFIX)
        current = [state.current[key].name] if key in state.current else []
        row = self._first(self.store.folder("normalized", account, day), current)
        refused = [] if row else [file.name for file in state.rejected if file.key == key]
        return EventHistory(
            event_id=self.event_id,
            account=account,
            staged=staged,
            normalized=row,
            rejected=self._first(self.store.folder("rejected", account, day), refused),
            deliveries=self._deliveries(account, day, staged["created_at"]),
        )

    def rejected(self, account: str, day: date) -> EventHistory | None:
        """What rejected has of the event, which raw does not have."""
        state = self._state(account, day)
        names = [file.name for file in (*state.malformed, *state.rejected)]
        row = self._first(self.store.folder("rejected", account, day), names)
        return EventHistory(event_id=self.event_id, account=account, rejected=row) if row else None

    def sent(self, account: str, day: date) -> EventHistory | None:
        """What the ledgers have of the event, which is staged no longer."""
        rows = self._deliveries(account, day, None)
        return (
            EventHistory(event_id=self.event_id, account=account, deliveries=rows) if rows else None
        )

    def _deliveries(self, account: str, day: date, created_at: datetime | None) -> list[Row]:
        """The ledger rows of the event, for every destination."""
        found: list[Row] = []
        moment = file_names.clock(created_at, day) if created_at else None
        for destination in self.store.destinations():
            ledger = Ledger(self.store, destination, account, day)
            attempts: list[AttemptsFile] = []
            with skip_unreadable(self.problems, f"destination {destination}"):
                attempts, _ = ledger.files()
            for file in attempts:
                if moment is None or file.since <= moment < file.until:
                    rows = self._rows(f"{ledger.folder}/{file.name}")
                    found += [{"destination": destination, **row} for row in rows]
        return sorted(found, key=lambda row: (row["attempted_at"], row["attempt"]))

    def _first(self, folder: str, names: Iterable[str]) -> Row | None:
        """The event's row in the first of some files that has it."""
        for name in names:
            if rows := self._rows(f"{folder}/{name}"):
                return rows[0]
        return None

    def _rows(self, path: str) -> list[Row]:
        """The event's rows in a file, and the file's path; only their row groups are read whole."""
        with skip_unreadable(self.problems):
            for ids in self.store.batches(path, IDS):
                ours = ids.filter(pc.equal(ids["event_id"], self.event_id))
                if ours.num_rows:
                    return [*self._whole_rows(path, ours["created_at"])]
        return []

    def _whole_rows(self, path: str, created_at: pa.ChunkedArray) -> Iterator[Row]:
        within = span_of(created_at) if created_at.null_count < len(created_at) else None
        rows = self.store.read(path, within=within)
        for row in rows.filter(pc.equal(rows["event_id"], self.event_id)).to_pylist():
            yield {**row, "file": path}


def _never_raw(rejected: Row | None) -> bool:
    """Whether an event was refused before it could be raw."""
    return rejected is not None and rejected["stage"] == "extract"
