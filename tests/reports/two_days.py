"""A staging of two days with live events and backfill, failures and repeats."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.raw import stage_window
from tasks.staging.schemas import DELIVERIES_SCHEMA
from tasks.time_window import Window
from tests.staging.staged_data import MALFORMED, at, raw, stage, transform, window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tasks.staging.store import Store

RANGE = Window(at(0), at(12, day=1))
"""What is audited: all but one event."""


def attempt(
    ledger: Ledger,
    events: Sequence[tuple[str, datetime]],
    attempted_at: datetime,
    status: str = "confirmed",
    number: int = 1,
) -> None:
    """Record an attempt of some events of a day, all with the same outcome."""
    rows = [
        {
            "event_id": event_id,
            "created_at": created,
            "status": status,
            "attempt": number,
            "attempted_at": attempted_at,
        }
        for event_id, created in events
    ]
    delivered = len(rows) if status in {"confirmed", "sent"} and number == 1 else 0
    table = pa.Table.from_pylist(rows, DELIVERIES_SCHEMA)
    with ledger.attempt(table) as record:
        record.write(table, delivered)


def stage_two_days(store: Store) -> None:
    """Two days: live events and backfill, failures, repeats, and a day outside the range."""
    for day in (0, 1):
        usm, siem = (Ledger(store, name, "alpha", at(0, day).date()) for name in ("usm", "siem"))
        events = [(f"{day}-{n:03}", at(1 + n / 60, day)) for n in range(120)]
        # the first hour's events were extracted two hours later, the second's in three minutes
        for number, late in ((0, 2.0), (1, 0.05)):
            part = events[60 * number : 60 * number + 60]
            where = window(1 + number, 2 + number, day)
            extracted = where.until + timedelta(hours=late)
            stage_window(
                store, "alpha", where, raw(part), MALFORMED.empty_table(), "run", extracted
            )
            attempt(usm, part[:40], extracted + timedelta(seconds=5 + 60 * number))
            attempt(usm, part[40:], extracted + timedelta(seconds=9), "failed")
            attempt(siem, part, extracted + timedelta(seconds=1), "sent")
        attempt(usm, events[30:40], at(23.99, day), "confirmed", 2)
        attempt(usm, events[30:32], at(12, day + 1), "confirmed", 3)
    stage(store, window(13, 14, day=1), [("outside", at(13, day=1))])
    transform(store)
