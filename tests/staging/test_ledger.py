from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from tasks.event_filter import EventFilter
from tasks.staging.day_files import current_files
from tasks.staging.deliveries.last_attempts import FAILED_ALONE, FAILED_BETWEEN
from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.deliveries.pending import DeliveryCounts, count_segment
from tasks.staging.names import ledger_file_names
from tasks.staging.schemas import DELIVERIES_SCHEMA
from tests.staging.staged_data import DAY, at, normalized

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from tasks.staging.names.segments import Segment
    from tasks.staging.store import Store

TODAY = DAY.date()


@pytest.fixture
def ledger(store: Store) -> Ledger:
    """The ledger of a destination and day."""
    return Ledger(store, "sensor", "alpha", TODAY)


def attempts(
    events: list[tuple[str, datetime]],
    status: str,
    attempt: int,
    error: str | None = None,
    attempted_at: datetime | None = None,
) -> pa.Table:
    """Ledger rows of one batch."""
    return pa.Table.from_pylist(
        [
            {
                "event_id": event_id,
                "created_at": created,
                "status": status,
                "attempt": attempt,
                "attempted_at": attempted_at or at(30 + attempt),
                "transport": "tcp",
                "bytes": 100,
                "truncated": False,
                "line_sha256": "0" * 64,
                "error": error,
                "run_id": "run",
            }
            for event_id, created in events
        ],
        DELIVERIES_SCHEMA,
    )


def record(ledger: Ledger, rows: pa.Table, delta: int) -> None:
    """Write the record of one batch."""
    with ledger.attempt(rows) as attempt:
        attempt.write(rows, delta)


def segments(ledger: Ledger, since: datetime | None = None) -> list[Segment]:
    """The day's segments as the staging has them."""
    files = current_files(ledger.store, "alpha", TODAY)
    return ledger.segments(files, ledger.names(), EventFilter(since))


def test_last_attempt_decides(ledger: Ledger) -> None:
    """The last attempt of an event says whether it is delivered, whatever came before."""
    a, b, c = ("a", at(1)), ("b", at(2)), ("c", at(3))
    record(ledger, attempts([a, b, c], "unconfirmed", 1, "reset"), 0)
    record(ledger, attempts([a, b], "confirmed", 2), 2)
    record(ledger, attempts([b], "failed", 3, "refused"), -1)
    events = pa.table(
        {"event_id": ["a", "b", "c", "d"], "created_at": [at(n) for n in range(1, 5)]}
    )
    files, _ = ledger_file_names.deliveries_files(ledger.names())
    last = ledger.last_attempts(files, events)
    assert last.number.tolist() == [2, 3, 1, 0]
    assert last.delivered.tolist() == [True, False, False, False]
    assert last.failed.tolist() == [False, True, True, False]


def test_clock_that_went_back(ledger: Ledger) -> None:
    """Attempts are told apart by their number: a clock set back changes nothing."""
    a = [("a", at(1))]
    record(ledger, attempts(a, "failed", 1, "refused", at(40)), 0)
    record(ledger, attempts(a, "confirmed", 2, None, at(35)), 1)
    files, _ = ledger_file_names.deliveries_files(ledger.names())
    last = ledger.last_attempts(files, pa.table({"event_id": ["a"], "created_at": [at(1)]}))
    assert (last.number.tolist(), last.delivered.tolist()) == ([2], [True])


OLD_ALONE = "failed alone, tried again after a day: "


def test_events_that_failed_alone(ledger: Ledger) -> None:
    """What speaks against an event is counted since it was last delivered, older marks too."""
    a, b, c, d = ("a", at(1)), ("b", at(1)), ("c", at(1)), ("d", at(1))
    record(ledger, attempts([a, b, c], "unconfirmed", 1, FAILED_BETWEEN + "reset", at(40)), 0)
    record(ledger, attempts([a, b], "unconfirmed", 2, OLD_ALONE + "reset", at(41)), 0)
    record(ledger, attempts([d], "unconfirmed", 1, FAILED_ALONE + "reset", at(41)), 0)
    record(ledger, attempts([a, c, d], "unconfirmed", 3, "reset", at(42)), 0)
    record(ledger, attempts([b], "confirmed", 3, None, at(43)), 1)
    record(ledger, attempts([b], "unconfirmed", 4, FAILED_BETWEEN + "reset", at(44)), -1)
    record(ledger, attempts([c], "confirmed", 4, None, at(44)), 1)
    files, _ = ledger_file_names.deliveries_files(ledger.names())
    events = pa.table({"event_id": ["a", "b", "c", "d", "e"], "created_at": [at(1)] * 5})
    last = ledger.last_attempts(files, events)
    assert last.faults.tolist() == [2, 1, 0, 0, 0]
    assert last.failed_alone.tolist() == [True, True, False, True, False]
    times = [np.datetime64("2026-03-02T17:00", "us"), np.datetime64("2026-03-02T20:00", "us")]
    assert last.fault_at[:2].tolist() == [time.item() for time in times]
    assert np.isnat(last.fault_at[2:]).all()


def test_only_ledger_files_of_the_time_are_opened(ledger: Ledger, tmp_path: Path) -> None:
    """The state of some events is read from files that reach into their time, no others."""
    record(ledger, attempts([("a", at(1))], "confirmed", 1), 1)
    [path] = tmp_path.rglob("*-1-+1.parquet")
    path.write_bytes(b"cannot be opened")
    record(ledger, attempts([("b", at(2))], "confirmed", 1), 1)
    files, _ = ledger_file_names.deliveries_files(ledger.names())
    events = pa.table({"event_id": ["b"], "created_at": [at(2)]})
    assert ledger.last_attempts(files, events).delivered.tolist() == [True]


def test_segments(store: Store, ledger: Ledger) -> None:
    """What touches is apart; what a batch reaches across is one segment."""
    normalized(store, 10)
    normalized(store, 10, first=10)
    normalized(store, 10, first=600)
    assert [(part.rows, part.settled) for part in segments(ledger)] == [(10, False)] * 3
    record(ledger, attempts([(f"alpha-0-{n:05}", at(n / 60)) for n in range(20)], "sent", 1), 20)
    found = [(part.rows, part.delivered, part.settled) for part in segments(ledger)]
    assert found == [(20, 20, True), (10, 0, False)]


def test_untouched_segment(store: Store, ledger: Ledger) -> None:
    """Where nothing was ever tried, everything is pending and only the oldest time is read."""
    normalized(store, 10, first=5)
    [part] = segments(ledger)
    assert count_segment(ledger, part) == DeliveryCounts(0, 10, 0, 0, at(5 / 60))


def test_survey(store: Store, ledger: Ledger) -> None:
    """Counts of a segment where something failed come from its files."""
    events = [(event_id, at(n / 60)) for n, event_id in enumerate(normalized(store, 10))]
    record(ledger, attempts(events[:4], "confirmed", 1), 4)
    record(ledger, attempts(events[4:6], "failed", 1, "refused"), 0)
    [part] = segments(ledger)
    assert count_segment(ledger, part) == DeliveryCounts(4, 6, 2, 0, at(4 / 60))
    [part] = segments(ledger, at(5 / 60))
    assert count_segment(ledger, part) == DeliveryCounts(4, 5, 1, 1, at(5 / 60))


def test_note(store: Store, ledger: Ledger) -> None:
    """A note settles a segment for one `since` until anything new appears, and replaces older."""
    events = [(event_id, at(n / 60)) for n, event_id in enumerate(normalized(store, 10))]
    record(ledger, attempts(events[6:], "confirmed", 1), 4)
    since = at(6 / 60)
    [part] = segments(ledger, since)
    assert (part.settled, part.takes_all) == (False, False)
    ledger.note_settled(part, 4)
    [part] = segments(ledger, since)
    ledger.note_settled(part, 4)
    assert len(ledger.names()) == 2
    [part] = segments(ledger, since)
    assert part.settled
    assert count_segment(ledger, part) == DeliveryCounts(delivered=4, excluded=6)
    [for_all] = segments(ledger)
    assert not for_all.settled, "without `since` six events are pending"
    record(ledger, attempts(events[9:], "failed", 2, "refused"), -1)
    [part] = segments(ledger, since)
    assert not part.settled


def test_before_since(store: Store, ledger: Ledger) -> None:
    """What ends before a destination's `since` is none of its business."""
    normalized(store, 10)
    [part] = segments(ledger, at(1))
    assert (part.left_out, part.settled) == (True, True)
    assert count_segment(ledger, part) == DeliveryCounts(excluded=10)
