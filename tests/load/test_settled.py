"""What is delivered already, or not to be delivered, costs nothing and is not sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.load.result import LoadResult
from tests.load.helpers import load
from tests.staging.rejecting_receiver import ids_in
from tests.staging.staged_data import at, normalized, stage, transform, window

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.receiver import Receiver
    from tasks.staging.store import Store


def test_nothing_normalized(store: Store) -> None:
    """An empty staging has nothing to deliver, and no transport is opened for it."""
    assert load(store, "tls://sensor.example.com:6514") == LoadResult("tls-sensor_example_com-6514")


def test_settled_days_are_not_opened(store: Store, receiver: Receiver, tmp_path: Path) -> None:
    """A load opens no file of what is settled, even within a day that has something new."""
    normalized(store, 30)
    normalized(store, 30, day=1)
    url = receiver.url("tcp")
    load(store, url)
    for path in tmp_path.rglob("*.parquet"):
        path.write_bytes(b"cannot be opened")
    assert load(store, url).problems == []
    normalized(store, 5, day=1, first=60)
    done = load(store, url)
    assert (done.delivered, done.problems) == (5, [])


def test_late_event_of_a_settled_time(store: Store, receiver: Receiver) -> None:
    """A late event among delivered ones is delivered, and nothing else again."""
    normalized(store, 30)
    url = receiver.url("tcp")
    load(store, url)
    stage(store, window(0, 1), [("late", at(0.2))])
    transform(store)
    assert load(store, url).delivered == 1
    assert ids_in(b"\n".join(receiver.messages("tcp")))[-1] == "late"


def test_since(store: Store, receiver: Receiver, tmp_path: Path) -> None:
    """A destination with `since` takes nothing older; then it is settled, and opens nothing."""
    normalized(store, 30)
    normalized(store, 30, day=1)
    url = receiver.url("tcp", since="2026-03-02T00:20:00Z")
    done = load(store, url)
    assert (done.delivered, done.pending, done.problems) == (10, 0, [])
    for path in tmp_path.glob("normalized/*/*/*.parquet"):
        path.rename(path.with_suffix(".kept"))
        path.write_bytes(b"cannot be opened")
    assert load(store, url) == LoadResult(done.subject)
    for path in tmp_path.glob("normalized/*/*/*.kept"):
        path.rename(path.with_suffix(".parquet"))
    assert load(store, receiver.url("tcp")).delivered == 50, "a new destination gets it all"
