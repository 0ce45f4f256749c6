"""What a load writes down of each attempt, and where."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tasks.staging.schemas import DELIVERIES_SCHEMA
from tests.load.helpers import load
from tests.staging.rejecting_receiver import RejectingReceiver, ids_in
from tests.staging.staged_data import at, normalized, read, realistic, stage, transform, window

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.receiver import Receiver
    from tasks.staging.store import Store


def test_ledger_rows(store: Store, receiver: Receiver) -> None:
    """The ledger proves which bytes went out: hash of the CEF text, length of the whole message."""
    stage(store, window(0, 24), realistic(200, at(0), at(24)))
    transform(store)
    load(store, receiver.url("tcp", name="sensor", batch=50), "this run")
    table = read(store, "deliveries", "alpha", "sensor").drop(["file"])
    assert table.schema.equals(DELIVERIES_SCHEMA)
    by_id = {row["event_id"]: row for row in table.to_pylist()}
    messages = receiver.messages("tcp")
    assert len(by_id) == len(messages) == 200
    for message in messages:
        cef = message[message.index(b"CEF:0|") :]
        [event_id] = ids_in(cef)
        row = by_id[event_id]
        assert row["line_sha256"] == hashlib.sha256(cef).hexdigest()
        assert row["bytes"] == len(message) + 1, "the newline is a part of the framed message"
        assert (row["status"], row["attempt"], row["error"]) == ("confirmed", 1, None)
        assert (row["transport"], row["truncated"], row["run_id"]) == ("tcp", False, "this run")
        assert abs(datetime.now(UTC) - row["attempted_at"]) < timedelta(minutes=1)


def test_folder_of_the_day(store: Store, receiver: Receiver, tmp_path: Path) -> None:
    """The ledger lies under destination, account and date, where the interface says."""
    normalized(store, 3, day=1)
    load(store, receiver.url("tcp", name="sensor"))
    folder = "deliveries/destination=sensor/account=alpha/date=2026-03-02"
    assert len(list(tmp_path.glob(f"{folder}/*.parquet"))) == 1


def test_ledger_that_cannot_be_written(store: Store, tmp_path: Path) -> None:
    """Where the ledger cannot be written nothing more is sent: what goes out must be on record."""
    normalized(store, 30)
    (tmp_path / "deliveries").touch()
    with RejectingReceiver(lambda _: True) as receiver:
        done = load(store, receiver.url(batch=10))
    assert receiver.batches == []
    assert "cannot be loaded" in done.problems[0]


def test_ledger_that_breaks_off(store: Store, tmp_path: Path, connections: int) -> None:
    """What was delivered before the ledger could not be written any more is counted."""
    normalized(store, 30)

    def accept(_: list[str]) -> bool:
        if len(receiver.offered) == 2:
            ledger = tmp_path / "deliveries"
            ledger.rename(tmp_path / "moved")
            ledger.touch()
        return True

    with RejectingReceiver(accept) as receiver:
        done = load(store, receiver.url(batch=10))
    assert 2 <= len(receiver.batches) <= 1 + connections
    assert (done.delivered, done.batches) == (10, 1)
    [problem] = done.problems
    assert "cannot be loaded" in problem
