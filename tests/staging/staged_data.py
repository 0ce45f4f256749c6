"""What the tests of staging, transform, load, status and audit are made of."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sandbox.events import generate
from tasks.staging.raw import stage_window
from tasks.staging.schemas import RAW_SCHEMA
from tasks.time_window import Window
from tasks.transform.account import transform_account

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tasks.staging.store import Store

DAY = datetime(2026, 3, 1, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")
MALFORMED = pa.schema(
    [
        ("event_id", pa.string()),
        ("created_at", TIME),
        ("reason", pa.string()),
        ("event", pa.string()),
    ]
)


def at(hour: float, day: int = 0) -> datetime:
    """A time of the first day, or of one after it."""
    return DAY + timedelta(days=day, hours=hour)


def window(since: float, until: float, day: int = 0) -> Window:
    """A window by its hours."""
    return Window(at(since, day), at(until, day))


def raw(events: Iterable[tuple[str, datetime]]) -> pa.Table:
    """Raw events by id and time, without `extracted_at`."""
    rows = [
        {
            "event_id": event_id,
            "created_at": created,
            "type": "server_restarted",
            "name": "Server restarted",
            "critical": False,
            "event": json.dumps(
                {"id": event_id, "type": "server_restarted", "message": f"event {event_id}"}
            ),
        }
        for event_id, created in events
    ]
    return pa.Table.from_pylist(rows, RAW_SCHEMA.remove(6))


def broken(events: pa.Table, *event_ids: str) -> pa.Table:
    """The events, some of them with a text that the normalizer can't go on with."""
    texts = [
        "{" if event_id in event_ids else text
        for event_id, text in zip(
            events["event_id"].to_pylist(), events["event"].to_pylist(), strict=True
        )
    ]
    return events.set_column(5, "event", pa.array(texts))


def malformed(*rows: tuple[str | None, datetime | None, str]) -> pa.Table:
    """Malformed events by id, time and text."""
    return pa.Table.from_pylist(
        [
            {"event_id": event_id, "created_at": created, "reason": "no id or date", "event": text}
            for event_id, created, text in rows
        ],
        MALFORMED,
    )


def realistic(count: int, since: datetime, until: datetime, account: str = "alpha") -> pa.Table:
    """Raw events as the stand-in would serve them."""
    rows = [
        {
            "event_id": event["id"],
            "created_at": datetime.fromisoformat(event["created_at"]),
            "type": event["type"],
            "name": event.get("name"),
            "critical": event.get("critical") in {True, "true", "True"},
            "event": json.dumps(event),
        }
        for event in generate(count, since, until, account=account)
    ]
    return pa.Table.from_pylist(rows, RAW_SCHEMA.remove(6))


def some(rows: int) -> pa.Table:
    """Raw events in the file's schema."""
    table = raw([(f"e{n}", at(0)) for n in range(rows)])
    return table.append_column("extracted_at", table["created_at"]).cast(RAW_SCHEMA)


def stage(
    store: Store,
    where: Window,
    events: Sequence[tuple[str, datetime]] | pa.Table = (),
    account: str = "alpha",
) -> Any:
    """Stage events of a window."""
    table = events if isinstance(events, pa.Table) else raw(events)
    return stage_window(store, account, where, table, MALFORMED.empty_table(), "run")


def transform(store: Store, account: str = "alpha", anew: Window | None = None) -> Any:
    """Normalize an account."""
    return transform_account(store, account, device_address="192.0.2.1", run_id="run", window=anew)


def normalized(
    store: Store, count: int, *, day: int = 0, account: str = "alpha", first: int = 0
) -> list[str]:
    """Stage and normalize events a minute apart; their ids, in order of creation."""
    events = [(f"{account}-{day}-{n:05}", at(n / 60, day)) for n in range(first, first + count)]
    last = events[-1][1] + timedelta(minutes=1)
    for part in Window(events[0][1], last).days():
        stage(store, part, events, account)
    transform(store, account)
    return [event_id for event_id, _ in events]


def read(store: Store, stage: str, account: str = "alpha", destination: str = "") -> pa.Table:
    """Every row of an account's tree, and the file it lies in."""
    tables = []
    for day, names in store.names_by_day(stage, account, destination).items():
        folder = store.folder(stage, account, day, destination)
        for name in names:
            table = store.read(f"{folder}/{name}")
            tables.append(
                table.append_column("file", pa.array([name] * table.num_rows, pa.string()))
            )
    return pa.concat_tables(tables) if tables else pa.table({"event_id": pa.array([], pa.string())})


def ids(store: Store, stage: str, account: str = "alpha") -> list[str]:
    """The ids in an account's tree, sorted, repeats and all."""
    return sorted(read(store, stage, account)["event_id"].to_pylist())
