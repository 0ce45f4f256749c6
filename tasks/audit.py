"""Audit: the whole life of one event, and whether a range of events adds up.

Where `tasks.status` believes names, this opens files: what it counts are ids.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from tasks.staging import layout, normalized
from tasks.staging.ledger import Ledger
from tasks.status import receivers
from tasks.tally import Tally
from tasks.windows import Window, isoformat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date

    from tasks.staging.normalized import Day
    from tasks.staging.store import Store
    from tasks.status import Receiver


def audit_event(store: Store, event_id: str) -> dict[str, Any]:
    """The whole life of one event.

    Args:
        store: The staging.
        event_id: Halo's id; for an event without one, the SHA-256 of its text.

    Returns:
        `event_id`; `account`, None where the event is unknown; `staged`, `normalized` and
        `rejected`, each a row and the `file` it lies in, or None; `deliveries`, the ledger's rows
        in the order of the attempts, each with its `destination`. Times are ISO 8601 text.

    Raises:
        StagingError: The staging cannot be read.
    """
    answer: dict[str, Any] = {
        "event_id": event_id,
        "account": None,
        "staged": None,
        "normalized": None,
        "rejected": None,
        "deliveries": [],
    }
    days = _days_newest_first(store)
    for look in (_staged, _rejected, _sent):
        for account, day, state in days:
            if found := look(store, account, day, state, event_id):
                return answer | {"account": account} | found
    return answer


def _days_newest_first(store: Store) -> list[tuple[str, date, Day]]:
    """Every account's days, those first where an event is most likely asked for."""
    nothing = normalized.read_day((), (), ())
    found = []
    for account in _accounts(store):
        days = normalized.days(store, account)
        known = {*days}
        for destination in store.destinations():
            known.update(store.dates("deliveries", account, destination))
        found += [(account, day, days.get(day, nothing)) for day in known]
    return sorted(found, key=lambda entry: (entry[1], entry[0]), reverse=True)


def _accounts(store: Store) -> list[str]:
    """Every account that any of the trees knows."""
    names = {name for stage in ("raw", "normalized", "rejected") for name in store.accounts(stage)}
    for destination in store.destinations():
        names.update(store.accounts("deliveries", destination))
    return sorted(names)


def _staged(
    store: Store, account: str, day: date, state: Day, event_id: str
) -> dict[str, Any] | None:
    """What there is of an event in raw, and what came of it."""
    folder = store.folder("raw", account, day)
    staged = _first(store, folder, (file.name for file in state.raw if file.rows), event_id)
    if staged is None:
        return None
    key = staged["file"].rpartition("/")[2].removesuffix(layout.SUFFIX)
    current = [state.current[key].name] if key in state.current else []
    row = _first(store, store.folder("normalized", account, day), current, event_id)
    refused = [] if row else [file.name for file in state.rejected if file.key == key]
    return {
        "staged": staged,
        "normalized": row,
        "rejected": _first(store, store.folder("rejected", account, day), refused, event_id),
        "deliveries": _deliveries(store, account, day, event_id, staged["created_at"]),
    }


def _rejected(
    store: Store, account: str, day: date, state: Day, event_id: str
) -> dict[str, Any] | None:
    """What there is of an event that raw does not have, in rejected."""
    names = [file.name for file in (*state.malformed, *state.rejected)]
    row = _first(store, store.folder("rejected", account, day), names, event_id)
    return {"rejected": row} if row else None


def _sent(
    store: Store,
    account: str,
    day: date,
    state: Day,  # noqa: ARG001
    event_id: str,
) -> dict[str, Any] | None:
    """What the ledgers remember of an event that is kept no longer."""
    rows = _deliveries(store, account, day, event_id, None)
    return {"deliveries": rows} if rows else None


def _deliveries(
    store: Store, account: str, day: date, event_id: str, created_at: str | None
) -> list[dict[str, Any]]:
    """The ledger rows of an event, for every destination."""
    found: list[dict[str, Any]] = []
    moment = layout.clock(datetime.fromisoformat(created_at), day) if created_at else None
    for destination in store.destinations():
        ledger = Ledger(store, destination, account, day)
        attempts, _ = ledger.files()
        for file in attempts:
            if moment is None or file.since <= moment < file.until:
                row = _first(store, ledger.folder, [file.name], event_id)
                found += [{"destination": destination, **row}] if row else []
    return sorted(found, key=lambda row: (row["attempted_at"], row["attempt"]))


def _first(store: Store, folder: str, names: Iterable[str], event_id: str) -> dict[str, Any] | None:
    """The row of an event in the first of some files that has it, and the file's path."""
    for name in names:
        path = f"{folder}/{name}"
        ids = store.read(path, ["event_id"])["event_id"]
        position = pc.index(ids, event_id).as_py()
        if position >= 0:
            [row] = store.read(path).slice(position, 1).to_pylist()
            return {**_plain(row), "file": path}
    return None


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON takes it."""
    return {
        name: isoformat(value) if isinstance(value, datetime) else value
        for name, value in row.items()
    }


def audit_range(
    store: Store,
    window: Window,
    destinations: Sequence[Receiver] = (),
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
        call delivered is.

    Raises:
        StagingError: The staging cannot be read.
    """
    audit = Tally(store, window, complain)
    names = receivers(store, destinations)
    counts = {name: {"delivered": 0, "pending": 0, "failed": 0} for name, _ in names}
    for account in _accounts(store):
        for day, state in normalized.days(store, account).items():
            if not window.overlaps(Window.of_day(day)):
                continue
            raw, rows = audit.events(account, day, state)
            for name, since in names:
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
