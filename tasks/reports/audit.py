"""Audit: the whole life of one event, and whether a range of events adds up.

`tasks.reports.status` believes the names of files. An audit opens the files and counts ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from tasks.redaction import foreign_text
from tasks.reports.answer import Answer
from tasks.reports.reconciliation import Reconciliation
from tasks.reports.status import known_destinations
from tasks.staging import file_names, normalized
from tasks.staging.coverage import coverage_of
from tasks.staging.dropped import days_within, describe, dropped_days
from tasks.staging.files import read_stable, skip_unreadable
from tasks.staging.ledger import Ledger
from tasks.staging.pending import DeliveryCounts
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date, datetime

    from tasks.event_filter import EventFilter
    from tasks.reports.status import KnownDestination
    from tasks.staging.ledger_file_names import AttemptsFile
    from tasks.staging.normalized import DayFiles
    from tasks.staging.store import Store

    Row = dict[str, Any]
    """A row of a staged file by its columns, and the `file` it lies in."""

_DROPPED = normalized.read_day((), (), (), dropped=True)
"""A day that is there no more."""


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


@dataclass(frozen=True)
class RangeCounts:
    """What a destination got of a range; see `tasks.staging.pending.DeliveryCounts`."""

    delivered: int
    pending: int
    failed: int
    excluded: int = 0


@dataclass(kw_only=True)
class RangeAudit(Answer):
    """The events of a range, counted by their ids.

    Attributes:
        staged: Events in raw.
        normalized: Events in normalized.
        rejected: Events in rejected, of stage transform.
        dropped_days: UTC days of the range of which retention has dropped events of an account;
            what is still there, or came later, is counted and judged as any other.
        destinations: What each destination got.
        consistent: Whether every raw event is normalized or rejected, once; each ledger agrees with
            its own names and with raw; what names call delivered is delivered; and all of it could
            be read. What could not is among the problems, and not counted.
    """

    staged: int
    normalized: int
    rejected: int
    dropped_days: int
    destinations: dict[str, RangeCounts]
    consistent: bool


def audit_event(store: Store, event_id: str) -> EventHistory:
    """The whole life of one event.

    Its problems are the places that cannot be read, which may hide something; its notes name other
    accounts that have the event, too, as after an account was renamed.

    Raises:
        StagingError: The staging cannot be read at all.
    """
    history = read_stable(_Search(store, event_id).run)
    if history.account is None:
        history.problems.append(f"event {foreign_text(event_id)} is not in this staging")
    if history.staged is None and (gone := dropped_days(store)):
        history.notes.append(describe(gone, "of the staging"))
    return history


@dataclass
class _Search:
    """Searches one event. What cannot be read is a problem, and passed over."""

    store: Store
    event_id: str
    problems: list[str] = field(default_factory=list)

    def run(self) -> EventHistory:
        """Find the event; what cannot be read is among the problems of what is known of it."""
        self.problems.clear()
        history = self._find()
        history.problems += dict.fromkeys(self.problems)
        return history

    def _find(self) -> EventHistory:
        """Find the event in raw, else in rejected, else in the ledgers."""
        days = self.days_newest_first()
        for find in (self.staged, self.rejected, self.sent):
            for account, day, state in days:
                if history := find(account, day, state):
                    history.notes = [
                        f"event {self.event_id} is in account {other} too, staged and sent by "
                        f"itself; this is what became of it in account {account}"
                        for other, same, its_state in days
                        if same == day and other != account and find(other, same, its_state)
                    ]
                    return history
        return EventHistory(event_id=self.event_id)

    def days_newest_first(self) -> list[tuple[str, date, DayFiles]]:
        """Every account's days, those first where an event is most likely asked for."""
        found = []
        for account in self.store.known_accounts():
            days: dict[date, DayFiles] = {}
            with skip_unreadable(self.problems, f"account {account}"):
                days = normalized.days(self.store, account)
            known = {*days}
            for destination in self.store.destinations():
                with skip_unreadable(self.problems, f"destination {destination}"):
                    known.update(self.store.dates("deliveries", account, destination))
            found += [(account, day, days.get(day, _DROPPED)) for day in known]
        return sorted(found, key=lambda entry: (entry[1], entry[0]), reverse=True)

    def staged(self, account: str, day: date, state: DayFiles) -> EventHistory | None:
        """What raw has of the event, and what came of it."""
        folder = self.store.folder("raw", account, day)
        staged = self._first(folder, (file.name for file in state.raw if file.rows))
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

    def rejected(self, account: str, day: date, state: DayFiles) -> EventHistory | None:
        """What rejected has of the event, which raw does not have."""
        names = [file.name for file in (*state.malformed, *state.rejected)]
        row = self._first(self.store.folder("rejected", account, day), names)
        return EventHistory(event_id=self.event_id, account=account, rejected=row) if row else None

    def sent(self, account: str, day: date, state: DayFiles) -> EventHistory | None:  # noqa: ARG002
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
        """The event's row in the first of some files that has it, and the file's path."""
        for name in names:
            if rows := self._rows(f"{folder}/{name}"):
                return rows[0]
        return None

    def _rows(self, path: str) -> list[Row]:
        """The event's rows in a file."""
        with skip_unreadable(self.problems):
            ids = self.store.read(path, ["event_id"])["event_id"]
            if pc.index(ids, self.event_id).as_py() >= 0:
                rows = self.store.read(path).filter(pc.equal(ids, self.event_id))
                return [{**row, "file": path} for row in rows.to_pylist()]
        return []


def audit_range(
    store: Store,
    window: Window,
    destinations: Sequence[KnownDestination] = (),
    on_day: Callable[[date, str, DeliveryCounts], None] | None = None,
) -> RangeAudit:
    """Count the events of a range by their ids, and check that nothing is missing or twice.

    Args:
        store: The staging.
        window: Events created in it.
        destinations: Those that are set up; where there are none, those that have a ledger.
        on_day: Is told what each destination got of each account's day.

    Returns:
        The counts; each thing that is not consistent is a problem: what, where, how many.

    Raises:
        StagingError: The staging cannot be read at all.
    """
    audit = Reconciliation(store, window, problems=store.unexpected_entries())
    names = known_destinations(store, destinations)
    dropped: set[date] = set()
    counts = {name: DeliveryCounts() for name, _ in names}
    for account in store.known_accounts():
        days: dict[date, DayFiles] = {}
        with skip_unreadable(audit.problems, f"account {account}"):
            days = normalized.days(store, account)
        known = coverage_of({day: state.raw for day, state in days.items()})
        dropped |= days_within(known.dropped, window)
        for day, state in days.items():
            if not window.overlaps(Window.of_day(day)):
                continue
            for name, found in _day(audit, account, day, state, names).items():
                counts[name] += found
                if on_day is not None:
                    on_day(day, name, found)
    return RangeAudit(
        staged=audit.staged,
        normalized=audit.normalized,
        rejected=audit.rejected,
        dropped_days=len(dropped),
        destinations={
            name: RangeCounts(found.delivered, found.pending, found.failed, found.excluded)
            for name, found in counts.items()
        },
        consistent=not audit.problems,
        problems=audit.problems,
    )


def _day(
    audit: Reconciliation,
    account: str,
    day: date,
    state: DayFiles,
    destinations: list[tuple[str, EventFilter]],
) -> dict[str, DeliveryCounts]:
    """Audit a day, again where its files were replaced meanwhile; what each destination got."""
    listed: DayFiles | None = state

    def reconcile() -> tuple[Reconciliation, dict[str, DeliveryCounts]]:
        nonlocal listed
        state = listed or normalized.days(audit.store, account).get(day, _DROPPED)
        listed = None
        part = Reconciliation(audit.store, audit.window)
        found: dict[str, DeliveryCounts] = {}
        with skip_unreadable(part.problems, f"account {account}, {day}"):
            raw, rows = part.events(account, day, state)
            for name, takes in destinations:
                with skip_unreadable(part.problems, f"destination {name}, {account}, {day}"):
                    ledger = Ledger(audit.store, name, account, day)
                    found[name] = part.ledger(ledger, state, raw, rows, takes)
        return part, found

    part, found = read_stable(reconcile)
    audit.add(part)
    return found
