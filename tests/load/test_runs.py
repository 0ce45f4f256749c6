"""Several runs at once, and runs that are asked to end."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tasks.staging.locks import hold
from tests.load.helpers import closed_port, load, rows
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import normalized

if TYPE_CHECKING:
    from tasks.staging.store import Store


def test_two_loads_at_once(store: Store) -> None:
    """A destination held by another run is left to it, with a note and no problem."""
    normalized(store, 30)
    with hold(store, "destination", "rejecting"), RejectingReceiver(lambda _: True) as receiver:
        done = load(store, receiver.url())
        assert done.held
        assert (done.batches, done.problems) == (0, [])
        assert "destination rejecting is held by another run" in done.notes[0]
        assert load(store, receiver.url(name="other")).delivered == 30


def test_loads_in_threads_send_nothing_twice(store: Store, connections: int) -> None:
    """However many loads of a destination run at once, each event is sent once."""
    events = normalized(store, 200)
    with RejectingReceiver(lambda _: True) as receiver:
        threads = [
            threading.Thread(target=load, args=(store, receiver.url(batch=10))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        load(store, receiver.url())
    received = receiver.received if connections == 1 else sorted(receiver.received)
    assert received == events


def _stops(stop: threading.Event, _: list[str]) -> bool:
    """Ask a run to stop while a batch is being delivered, which is confirmed."""
    stop.set()
    return True


def test_stop(store: Store) -> None:
    """Asked to stop, a load finishes the batch in hand, writes it down, and says it is not done."""
    normalized(store, 100)
    stop = threading.Event()
    with RejectingReceiver(partial(_stops, stop)) as receiver:
        done = load(store, receiver.url(batch=10), stop=stop)
        assert (done.delivered, done.pending, done.interrupted) == (10, 90, True)
        assert len(receiver.received) == 10
        assert load(store, receiver.url(batch=10)).delivered == 90


def test_stop_ends_a_pause(store: Store) -> None:
    """A run that is asked to stop does not wait for a sick destination."""
    normalized(store, 5)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    done = load(store, f"tcp://127.0.0.1:{closed_port()}", stop=stop, pauses=(60.0, 60.0))
    assert done.interrupted
    assert time.monotonic() - started < 30


def test_interrupt_within_a_batch(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch given up in the middle is `unconfirmed` in the ledger before the run ends."""
    normalized(store, 5)

    class Interrupted:
        keeps_connections = False
        certificate_until = None

        def deliver(self, _messages: Any, _connection: Any = None) -> Any:
            raise KeyboardInterrupt

        def connect(self) -> Interrupted:
            """Nothing is opened."""
            return self

        def is_open(self) -> bool:
            """Nothing is, nor was it ended."""
            return True

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr("tasks.syslog.tcp.TcpDestination.open_transport", lambda _: Interrupted())
    with pytest.raises(KeyboardInterrupt):
        load(store, "tcp://127.0.0.1:1?name=rejecting")
    assert [row["status"] for row in rows(store)] == ["unconfirmed"] * 5
    assert rows(store)[0]["error"] == "the run was interrupted"


def test_what_an_interrupted_load_leaves(store: Store) -> None:
    """What stays pending because the run was asked to end is not put down to the events."""
    normalized(store, 30)
    stop = threading.Event()
    with RejectingReceiver(partial(_stops, stop)) as receiver:
        done = load(store, receiver.url(batch=10), stop=stop)
    [problem] = done.problems
    assert problem.startswith("destination rejecting: the run was asked to end; 20 events stay")
