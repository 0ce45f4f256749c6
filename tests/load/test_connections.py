"""Several batches under way at once: how many, how much is repeated, and what a failure stops."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from sandbox.receiver import Receiver
from tests.load.helpers import kill_load, load, rows
from tests.staging.rejecting_receiver import RejectingReceiver, ids_in
from tests.staging.staged_data import normalized
from tests.syslog.helpers import ScriptedReceiver, read_all

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store


MANY = 8
"""As many as have their turn at the same time."""


class Reader:
    """A behaviour of `ScriptedReceiver`: reads connections at the same time, and closes in order.

    Attributes:
        received: The ids that were read, by connection that carried any, in order of their ends.
        most: How many connections carried something at the same time.
        before_slow: How many had ended before the slow one.
    """

    def __init__(self, slow: int | None = None) -> None:
        self.received: list[list[str]] = []
        self.most = self.before_slow = 0
        self._slow = slow
        self._begun = self._reading = 0
        self._lock = threading.Lock()
        self._many_ended = threading.Event()

    def __call__(self, connection: socket.socket) -> None:
        """Read to the end; one connection is slow."""
        data = connection.recv(1)
        if data:
            with self._lock:
                number, self._begun = self._begun, self._begun + 1
                self._reading += 1
                self.most = max(self.most, self._reading)
            if number == self._slow:
                self._many_ended.wait(5.0)
            else:
                time.sleep(0.02)
            data += read_all(connection)
            with self._lock:
                self._reading -= 1
                if number == self._slow:
                    self.before_slow = len(self.received)
                self.received.append(ids_in(data))
                if len(self.received) > MANY:
                    self._many_ended.set()
        connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("count", [1, 8])
def test_as_many_at_once_as_there_are_connections(store: Store, count: int) -> None:
    """So many batches are under way, no more; with one connection events are in order."""
    events = [*normalized(store, 150), *normalized(store, 150, account="beta")]
    reader = Reader()
    with ScriptedReceiver(reader) as receiver:
        done = load(store, receiver.url(batch=10, connections=count))
    assert (done.delivered, done.batches, done.problems) == (300, 30, [])
    received = [event_id for batch in reader.received for event_id in batch]
    assert sorted(received) == sorted(events)
    assert received == events or count > 1
    assert reader.most == count


def test_one_slow_connection_of_eight(store: Store) -> None:
    """While one takes its time the others go on."""
    normalized(store, 200)
    reader = Reader(slow=3)
    with ScriptedReceiver(reader) as receiver:
        done = load(store, receiver.url(batch=10, connections=8))
    assert (done.delivered, done.batches) == (200, 20)
    assert reader.before_slow > MANY


def test_receiver_that_takes_one_connection_at_a_time(store: Store) -> None:
    """Where a second connection is hung up on, each batch makes its own in its turn."""
    normalized(store, 100)
    open_now: list[socket.socket] = []
    refused: list[socket.socket] = []
    received: list[str] = []

    def take_one(connection: socket.socket) -> None:
        if open_now:
            refused.append(connection)
        else:
            open_now.append(connection)
            received.extend(ids_in(read_all(connection)))
            open_now.clear()
        connection.shutdown(socket.SHUT_RDWR)

    with ScriptedReceiver(take_one) as receiver:
        done = load(store, receiver.url(batch=10, name="rejecting"))
    assert (done.delivered, done.batches, done.problems) == (100, 10, [])
    assert {row["status"] for row in rows(store)} == {"confirmed"}
    assert len(refused) <= 5, "it is asked for ever fewer ahead"


@pytest.mark.parametrize(("count", "at_once"), [(1, 1), (8, 1), (8, 3), (8, 20)])
def test_receiver_that_half_closes_later(store: Store, count: int, at_once: int) -> None:
    """A receiver that ends its side at accept is not believed, be it after many honest ends.

    Neither is one that serves fewer connections at once than there are, and so accepts them late.
    """
    normalized(store, 200)
    honest: list[str] = []

    def serve(connection: socket.socket, read: list[str]) -> None:
        with connection, contextlib.suppress(OSError):
            read.extend(ids_in(read_all(connection)))

    def accept(server: socket.socket) -> None:
        free = threading.Semaphore(at_once)
        with contextlib.suppress(OSError), ThreadPoolExecutor(at_once) as threads:
            while free.acquire():
                connection, _ = server.accept()
                read = honest
                if len(honest) >= 80:
                    connection.shutdown(socket.SHUT_WR)
                    read = []
                threads.submit(serve, connection, read).add_done_callback(lambda _: free.release())

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, args=(server,))
        thread.start()
        port = server.getsockname()[1]
        url = f"tcp://127.0.0.1:{port}?name=rejecting&batch=10&timeout=1&connections={count}"
        done = load(store, url)
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    confirmed = [row["event_id"] for row in rows(store) if row["status"] == "confirmed"]
    assert not {*confirmed} - {*honest}
    assert done.delivered == len(confirmed) < 200
    assert bool(done.notes) == (count > at_once)


@pytest.mark.parametrize("count", [1, 8])
def test_first_failure_ends_what_is_under_way(store: Store, count: int) -> None:
    """After a failure nothing is begun; it is sent again alone, and then others beside it."""
    events = normalized(store, 300)
    failures = iter([True, True, True, False])

    def accept(_: list[str]) -> bool:
        return len(receiver.offered) < 6 or next(failures, True)

    with RejectingReceiver(accept) as receiver:
        done = load(store, receiver.url(batch=10, connections=count))
    assert (done.delivered, done.problems) == (300, [])
    assert sorted(receiver.received) == sorted(events)
    assert (receiver.received == events) or count > 1
    assert done.batches == 31


@pytest.mark.parametrize("count", [1, 8])
def test_killed_in_the_middle(store: Store, tmp_path: Path, count: int) -> None:
    """A load that is killed repeats at most a batch a connection, and loses nothing."""
    events = normalized(store, 1200)
    with Receiver("tcp") as receiver:
        url = receiver.url("tcp", batch=20, connections=count, name="sensor")
        kill_load(store, url, lambda: receiver.counts()["tcp"] >= 400)
        assert 400 <= receiver.counts()["tcp"] < 1200
        done = load(store, url)
        came = Counter(ids_in(b"\n".join(receiver.messages("tcp"))))
    assert done.pending == 0
    assert came.keys() == {*events}
    assert came.total() - len(came) <= 20 * count
    assert list((tmp_path / ".tmp").iterdir()) == []


def test_rate_is_of_all_connections(store: Store, receiver: Receiver) -> None:
    """Eight connections together send as many events a second as one would."""
    normalized(store, 200)
    start = time.monotonic()
    done = load(store, receiver.url("tcp", batch=10, connections=8, rate=200))
    assert done.delivered == 200
    assert time.monotonic() - start >= 0.9
