"""Audit: the whole life of one event, and whether a range of events adds up.

Where `tasks.reports.status` believes names, this opens files: what it counts are ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from tasks.reports.reconciliation import Reconciliation
from tasks.reports.status import known_destinations
from tasks.staging import file_names, normalized
from tasks.staging.files import passing_over
from tasks.staging.ledger import Ledger
from tasks.time_window import Window, isoformat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date

    from tasks.reports.status import KnownDestination
    from tasks.staging.ledger_file_names import AttemptsFile
    from tasks.staging.normalized import DayFiles
    from tasks.staging.store import Store


def audit_event(
    store: Store,
    event_id: str,
    complain: Callable[[str], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """The whole life of one event.

    Args:
        store: The staging.
        event_id: Halo's id; for an event without one, the SHA-256 of its text.
        complain: Told each place that cannot be read, which may hide something: where, what to do.
        note: Told which other accounts have the event too, as after an account was renamed.

    Returns:
        `event_id`; `account`, None where the event is unknown; `staged`, `normalized` and
        `rejected`, each a row and the `file` it lies in, or None; `deliveries`, the ledger's rows
        in the order of the attempts, each with its `destination`. Times are ISO 8601 text.

    Raises:
        StagingError: The staging cannot be read at all.
    """
    answer: dict[str, Any] = {
        "event_id": event_id,
        "account": None,
        "staged": None,
        "normalized": None,
        "rejected": None,
        "deliveries": [],
    }
    search = _Search(store, event_id, complain)
    days = search.days_newest_first()
    for look in (search.staged, search.rejected, search.sent):
        for account, day, state in days:
            if found := look(account, day, state):
                for other, same, its_state in days:
                    if same == day and other != account and look(other, same, its_state):
                        note(
                            f"event {event_id} is in account {other} too, staged and sent by "
                            f"itself; this is what became of it in account {account}"
                        )
                return answer | {"account": account} | found
    return answer


@dataclass
class _Search:
    """Looks for one event. What cannot be read is complained of, once, and passed over."""

    store: Store
    event_id: str
    complain: Callable[[str], None]
    _said: set[str] = field(default_factory=set)

    def _complain_once(self, complaint: str) -> None:
        if complaint not in self._said:
            self._said.add(complaint)
            self.complain(complaint)

    def days_newest_first(self) -> list[tuple[str, date, DayFiles]]:
        """Every account's days, those first where an event is most likely asked for."""
        nothing = normalized.read_day((), (), ())
        found = []
        for account in _accounts(self.store):
            days: dict[date, DayFiles] = {}
            with passing_over(self._complain_once, f"account {account}"):
                days = normalized.days(self.store, account)
            known = {*days}
            for destination in self.store.destinations():
                with passing_over(self._complain_once, f"destination {destination}"):
                    known.update(self.store.dates("deliveries", account, destination))
            found += [(account, day, days.get(day, nothing)) for day in known]
        return sorted(found, key=lambda entry: (entry[1], entry[0]), reverse=True)

    def staged(self, account: str, day: date, state: DayFiles) -> dict[str, Any] | None:
        """What there is of the event in raw, and what came of it."""
        folder = self.store.folder("raw", account, day)
        staged = self._first(folder, (file.name for file in state.raw if file.rows))
        if staged is None:
            return None
        key = staged["file"].rpartition("/")[2].removesuffix(file_names.SUFFIX)
        current = [state.current[key].name] if key in state.current else []
        row = self._first(self.store.folder("normalized", account, day), current)
        refused = [] if row else [file.name for file in state.rejected if file.key == key]
        return {
            "staged": staged,
            "normalized": row,
            "rejected": self._first(self.store.folder("rejected", account, day), refused),
            "deliveries": self._deliveries(account, day, staged["created_at"]),
        }

    def rejected(self, account: str, day: date, state: DayFiles) -> dict[str, Any] | None:
        """What there is of the event, which raw does not have, in rejected."""
        names = [file.name for file in (*state.malformed, *state.rejected)]
        row = self._first(self.store.folder("rejected", account, day), names)
        return {"rejected": row} if row else None

    def sent(self, account: str, day: date, state: DayFiles) -> dict[str, Any] | None:  # noqa: ARG002
        """What the ledgers remember of the event, which is kept no longer."""
        rows = self._deliveries(account, day, None)
        return {"deliveries": rows} if rows else None

    def _deliveries(self, account: str, day: date, created_at: str | None) -> list[dict[str, Any]]:
        """The ledger rows of the event, for every destination."""
        found: list[dict[str, Any]] = []
        moment = file_names.clock(datetime.fromisoformat(created_at), day) if created_at else None
        for destination in self.store.destinations():
            ledger = Ledger(self.store, destination, account, day)
            attempts: list[AttemptsFile] = []
            with passing_over(self._complain_once, f"destination {destination}"):
                attempts, _ = ledger.files()
            for file in attempts:
                if moment is None or file.since <= moment < file.until:
                    row = self._first(ledger.folder, [file.name])
                    found += [{"destination": destination, **row}] if row else []
        return sorted(found, key=lambda row: (row["attempted_at"], row["attempt"]))

    def _first(self, folder: str, names: Iterable[str]) -> dict[str, Any] | None:
        """The event's row in the first of some files that has it, and the file's path."""
        for name in names:
            path = f"{folder}/{name}"
            with passing_over(self._complain_once):
                ids = self.store.read(path, ["event_id"])["event_id"]
                position = pc.index(ids, self.event_id).as_py()
                if position >= 0:
                    [row] = self.store.read(path).slice(position, 1).to_pylist()
                    return {**_plain(row), "file": path}
        return None


def _accounts(store: Store) -> list[str]:
    """Every account that any of the trees knows."""
    names = {name for stage in ("raw", "normalized", "rejected") for name in store.accounts(stage)}
    for destination in store.destinations():
        names.update(store.accounts("deliveries", destination))
    return sorted(names)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON takes it."""
    return {
        name: isoformat(value) if isinstance(value, datetime) else value
        for name, value in row.items()
    }


def audit_range(
    store: Store,
    window: Window,
    destinations: Sequence[KnownDestination] = (),
    complain: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Count the events of a range by their ids, and check that nothing is missing or twice.

    Args:
        store: The staging.
        window: Events created in it.
        destinations: Those that are set up; where there are none, those that have a ledger.
        complain: Told each thing that is not consistent: what, where, how many.

    Returns:
        `staged`, `normalized` and `rejected` (of stage transform); for each of `destinations`
        `delivered`, `pending` and `failed`; `consistent` where raw is normalized and rejected,
        each event once, and each ledger agrees with its own names and with raw, and what its names
        call delivered is, and all of it can be read; what cannot is complained of and not counted.

    Raises:
        StagingError: The staging cannot be read at all.
    """
    audit = Reconciliation(store, window, complain)
    names = known_destinations(store, destinations)
    counts = {name: {"delivered": 0, "pending": 0, "failed": 0} for name, _ in names}
    for unexpected in store.unexpected_entries():
        audit.complain(unexpected)
    for account in _accounts(store):
        days: dict[date, DayFiles] = {}
        with passing_over(audit.complain, f"account {account}"):
            days = normalized.days(store, account)
        for day, state in days.items():
            if not window.overlaps(Window.of_day(day)):
                continue
            with passing_over(audit.complain, f"account {account}, {day}"):
                raw, rows = audit.events(account, day, state)
                for name, since in names:
                    with passing_over(audit.complain, f"destination {name}, {account}, {day}"):
                        ledger = Ledger(store, name, account, day)
                        for status, count in audit.ledger(ledger, state, raw, rows, since).items():
                            counts[name][status] += count
    return {
        "staged": audit.staged,
        "normalized": audit.normalized,
        "rejected": audit.rejected,
        "destinations": counts,
        "consistent": audit.consistent,
    }
