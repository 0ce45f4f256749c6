from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from queue import Queue

import pytest

from tasks.errors import SensorError
from tasks.syslog.end_delay import UNPROVEN_SECONDS
from tasks.syslog.transport import check
from tests.syslog import link_with_delay
from tests.syslog.helpers import (
    BIG,
    SIZE,
    ScriptedReceiver,
    batch,
    deliver,
    destination,
    read_all,
    reset,
    statuses,
    took,
)


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """So many bytes, or fewer at the end."""
    data = b""
    while len(data) < count and (part := connection.recv(count - len(data))):
        data += part
    return data


def test_reset_after_every_number_of_bytes() -> None:
    """Wherever in a delivery a reset comes, nothing is confirmed; what was read is a prefix."""
    to = destination("tcp://h:1")
    stream = b"".join(batch(to).to_pylist())
    cut = 0
    read: list[bytes] = []

    def behaviour(connection: socket.socket) -> None:
        read.append(read_exactly(connection, cut))
        reset(connection)

    with ScriptedReceiver(behaviour) as rude:
        transport = destination(rude.url()).open_transport()
        for cut in range(len(stream) + 1):  # noqa: B007 - the receiver's threads read it
            outcome = transport.deliver(batch(to))
            assert len(outcome.statuses) == 3
            assert statuses(outcome) <= {"unconfirmed", "failed"}
            assert outcome.error
            assert stream.startswith(read[-1])
    assert len(read) == len(stream) + 1


def test_what_was_begun_is_unconfirmed_and_the_rest_failed() -> None:
    """After a break, messages that never left are failed, those before them unconfirmed."""

    def behaviour(connection: socket.socket) -> None:
        read_exactly(connection, 100_000)
        reset(connection)

    with ScriptedReceiver(behaviour, receive_buffer=4096) as rude:
        outcome = deliver(rude.url(), BIG, SIZE)
    found = outcome.statuses.to_pylist()
    begun = found.count("unconfirmed")
    assert found == ["unconfirmed"] * begun + ["failed"] * (BIG - begun)
    assert 100_000 / (SIZE + 40) < begun < BIG


@pytest.mark.parametrize("count", [1, 50])
def test_accept_and_close_is_not_believed(count: int) -> None:
    """A receiver that closes as soon as it has accepted confirms nothing, ever."""
    with ScriptedReceiver(socket.socket.close) as rude:
        transport = destination(rude.url()).open_transport()
        for _ in range(20):
            outcome = transport.deliver(batch(destination(rude.url()), count))
            assert statuses(outcome) <= {"unconfirmed", "failed"}


@pytest.mark.parametrize("count", [1, 50])
def test_half_close_at_accept_is_not_believed(count: int) -> None:
    """A receiver that ends its side as soon as it has accepted confirms nothing, ever."""

    def behaviour(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)

    with ScriptedReceiver(behaviour) as rude:
        transport = destination(rude.url()).open_transport()
        for _ in range(20):
            outcome = transport.deliver(batch(destination(rude.url()), count))
            assert statuses(outcome) == {"unconfirmed"}
            assert "ended its side before" in (outcome.error or "")


@pytest.mark.full_close_grace
def test_half_close_at_a_late_accept_is_not_believed() -> None:
    """Nor does a busy receiver, which does so up to half a second after the connection is made."""

    def behaviour(connection: socket.socket) -> None:
        time.sleep(0.3)  # as if it had not been accepted before
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)

    with ScriptedReceiver(behaviour) as rude:
        transport = destination(rude.url()).open_transport()
        for _ in range(3):
            assert statuses(transport.deliver(batch(destination(rude.url())))) == {"unconfirmed"}


@pytest.mark.full_close_grace
def test_the_long_grace_is_paid_once() -> None:
    """After its first confirmation a receiver costs no half second again, nor after a failure."""
    fail = False

    def behaviour(connection: socket.socket) -> None:
        if fail:
            reset(connection)
            return
        read_all(connection)
        connection.close()

    with ScriptedReceiver(behaviour) as receiver:
        to = destination(receiver.url())
        transport = to.open_transport()

        def seconds() -> float:
            start = time.monotonic()
            assert statuses(transport.deliver(batch(to))) == {"confirmed"}
            return took(start)

        assert seconds() >= UNPROVEN_SECONDS
        # the quickest of some: this machine may be busy
        assert min(seconds() for _ in range(5)) < UNPROVEN_SECONDS
        fail = True
        assert statuses(transport.deliver(batch(to))) <= {"unconfirmed", "failed"}
        fail = False
        assert min(seconds() for _ in range(5)) < UNPROVEN_SECONDS


def test_half_close_at_accept_still_gets_everything() -> None:
    """Such a receiver may read all the same: what was sent is left to arrive."""
    read: Queue[bytes] = Queue()

    def behaviour(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)
        read.put(read_all(connection))

    with ScriptedReceiver(behaviour) as rude:
        to = destination(rude.url())
        assert statuses(to.open_transport().deliver(batch(to, BIG, size=SIZE))) == {"unconfirmed"}
        assert read.get(timeout=10) == b"".join(batch(to, BIG, size=SIZE).to_pylist())


def test_close_once_everything_was_read_but_before_our_end() -> None:
    """A receiver that knows how much to expect proves nothing by closing before our end."""
    size = len(b"".join(batch(destination("tcp://h:1")).to_pylist()))

    def behaviour(connection: socket.socket) -> None:
        read_exactly(connection, size)
        connection.close()

    with ScriptedReceiver(behaviour) as rude:
        assert statuses(deliver(rude.url())) == {"unconfirmed"}


def test_close_with_half_unread() -> None:
    """Closing with something unread resets, at whatever time, and confirms nothing."""

    def behaviour(connection: socket.socket) -> None:
        read_exactly(connection, 100)
        time.sleep(0.04)  # our end is there by now
        connection.close()

    with ScriptedReceiver(behaviour) as rude:
        outcome = deliver(rude.url())
    assert statuses(outcome) == {"unconfirmed"}
    assert "reset" in (outcome.error or "")


@pytest.mark.parametrize("count", [3, BIG])
def test_never_read(count: int) -> None:
    """A receiver that never reads costs the time limit, whether it stops the sending or the end."""
    with ScriptedReceiver(lambda _: None, receive_buffer=4096) as rude:
        start = time.monotonic()
        outcome = deliver(rude.url(timeout=0.4), count, SIZE)
        assert took(start) < 2.5
    assert statuses(outcome) <= {"unconfirmed", "failed"}
    assert outcome.statuses[0].as_py() == "unconfirmed"
    assert ("failed" in statuses(outcome)) == (count == BIG)
    assert "raise timeout= or lower batch=" in (outcome.error or "")


def test_never_closed() -> None:
    """A receiver that reads and never closes costs a bounded time and confirms nothing."""

    def behaviour(connection: socket.socket) -> None:
        read_all(connection)
        held.wait(10)

    held = threading.Event()
    with ScriptedReceiver(behaviour) as rude:
        start = time.monotonic()
        outcome = deliver(rude.url(timeout=0.4), BIG, SIZE)
        assert took(start) < 2.5
        held.set()
    assert statuses(outcome) == {"unconfirmed"}


def test_slow_reading_is_progress() -> None:
    """A slow receiver may take longer than the time limit as long as it goes on."""

    def behaviour(connection: socket.socket) -> None:
        while connection.recv(64 * 1024):
            time.sleep(0.03)
        connection.close()

    with ScriptedReceiver(behaviour, receive_buffer=32 * 1024) as rude:
        start = time.monotonic()
        outcome = deliver(rude.url(timeout=0.3), BIG, SIZE)
        assert took(start) > 0.6
    assert statuses(outcome) == {"confirmed"}, outcome.error


def test_a_trickle_is_no_progress() -> None:
    """A receiver that takes next to nothing is given up in a bounded time."""

    def behaviour(connection: socket.socket) -> None:
        while connection.recv(100):
            time.sleep(0.02)

    with ScriptedReceiver(behaviour, receive_buffer=4096) as rude:
        start = time.monotonic()
        outcome = deliver(rude.url(timeout=0.3), BIG, SIZE)
        assert took(start) < 5
    assert statuses(outcome) == {"unconfirmed", "failed"}


def test_what_a_receiver_says_is_read() -> None:
    """A receiver that talks back, more than buffers hold, is neither blocked nor misunderstood."""

    def behaviour(connection: socket.socket) -> None:
        while part := connection.recv(65536):
            connection.sendall(part * 2)
        connection.sendall(b"bye")
        connection.close()

    with ScriptedReceiver(behaviour) as rude:
        assert statuses(deliver(rude.url(timeout=5), BIG, SIZE)) == {"confirmed"}


@pytest.mark.full_close_grace
def test_check_of_a_receiver_that_confirms_nothing() -> None:
    """A check finds out a receiver under which every batch would stay unconfirmed."""
    with (
        ScriptedReceiver(lambda connection: connection.shutdown(socket.SHUT_WR)) as rude,
        pytest.raises(SensorError, match="batches would stay unconfirmed"),
    ):
        check(destination(url := rude.url()))
    with pytest.raises(SensorError, match="refused"):
        check(destination(url))


def over_a_long_path(runs: int) -> None:
    """Over 20 ms, where an end sent at accept comes after ours, only an honest one confirms."""
    command = [sys.executable, "-m", "tests.syslog.link_with_delay", str(runs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode == link_with_delay.CANNOT:
        pytest.skip("needs root and a TUN device")
    assert done.returncode == 0
    for name, found in json.loads(done.stdout).items():
        confirmed = runs if name.startswith("honest") else 0
        assert found.get("confirmed", 0) == confirmed, name


def test_ends_that_cross_on_a_long_path() -> None:
    """Over a path of 20 ms receivers that end their side at accept are not believed."""
    over_a_long_path(3)


@pytest.mark.soak
def test_ends_that_cross_a_hundred_times() -> None:
    """A hundred times the same, for each of them."""
    over_a_long_path(100)
