"""What goes out together and in which order, and that it goes out once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc

from tasks.load.result import LoadResult
from tests.load.helpers import load
from tests.staging.rejecting_receiver import RejectingReceiver, ids_in
from tests.staging.staged_data import at, normalized, read, stage, transform, window

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.receiver import Receiver
    from tasks.staging.store import Store


def test_delivers_once(store: Store, receiver: Receiver) -> None:
    """Everything normalized is delivered once, oldest first; a second load sends nothing."""
    expected = [
        *normalized(store, 30, account="beta"),
        *normalized(store, 25, day=1),
        *normalized(store, 20, day=1, account="beta"),
    ]
    url = receiver.url("tcp", batch=10)
    done = load(store, url)
    assert (done.delivered, done.failed, done.pending, done.problems) == (75, 0, 0, [])
    assert ids_in(b"\n".join(receiver.messages("tcp"))) == expected
    assert load(store, url) == LoadResult(done.subject)
    assert receiver.counts()["tcp"] == 75


def test_batches(store: Store, tmp_path: Path) -> None:
    """A batch is in order of creation by day and account; each of these has a ledger file of it."""
    normalized(store, 25)
    normalized(store, 5, account="beta")
    stage(store, window(0, 1), [("late", at(0.1))])
    transform(store)
    with RejectingReceiver(lambda _: True) as receiver:
        load(store, receiver.url(batch=10))
    assert [len(batch) for batch in receiver.batches] == [10, 10, 10, 1]
    assert receiver.batches[0][7] == "late"
    assert len(list(tmp_path.glob("deliveries/*/account=alpha/*/*.parquet"))) == 3
    assert len(list(tmp_path.glob("deliveries/*/account=beta/*/*.parquet"))) == 2


def test_batch_beyond_what_is_rendered_at_once(store: Store) -> None:
    """A batch may be larger than what is rendered at a time, and is still one batch."""
    normalized(store, 1)
    events = [(f"e{n:06}", at(12 + n / 10_000)) for n in range(40_000)]
    stage(store, window(12, 18), events)
    transform(store)
    with RejectingReceiver(lambda _: True) as receiver:
        done = load(store, receiver.url(batch=30_000))
    assert [len(batch) for batch in receiver.batches] == [30_000, 10_001]
    assert (done.delivered, done.batches) == (40_001, 2)
    assert receiver.received[1:] == [event_id for event_id, _ in events]


def test_order_of_creation_within_overlapping_windows(store: Store) -> None:
    """Late files do not upset the order of creation within a batch."""
    normalized(store, 60)
    stage(store, window(0, 1), [(f"late{n:02}", at(n / 60 + 0.001)) for n in range(60)])
    transform(store)
    with RejectingReceiver(lambda _: True) as receiver:
        load(store, receiver.url(batch=1000))
    table = read(store, "normalized")
    order = table.take(pc.sort_indices(table, [("created_at", "ascending")]))
    assert receiver.received == order["event_id"].to_pylist()
