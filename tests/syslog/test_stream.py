from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from queue import Queue
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from sandbox.receiver import Receiver
from tasks.errors import SensorError
from tasks.syslog.transport import Outcome, check, open_transport
from tests.syslog import far
from tests.syslog.helpers import (
    RudeReceiver,
    batch,
    deliver,
    destination,
    lines,
    read_all,
    require_ipv6,
    reset,
    statuses,
    took,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

BIG = 3000  # messages of 700 bytes: more than both kernels' buffers take
SIZE = 700


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An honest receiver."""
    with Receiver("tcp") as running:
        yield running


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """So many bytes, or fewer at the end."""
    data = b""
    while len(data) < count and (part := connection.recv(count - len(data))):
        data += part
    return data


@pytest.mark.parametrize("form", ["rfc3164", "rfc5424"])
def test_an_honest_receiver_confirms(receiver: Receiver, form: str) -> None:
    """Each batch is confirmed and read whole, once and in order, over a connection of its own."""
    to = destination(receiver.url("tcp", format=form))
    transport = open_transport(to)
    for first in (0, 5000):
        outcome = transport.deliver(batch(to, 5000, first, SIZE))
        assert outcome.statuses == pa.array(["confirmed"] * 5000)
        assert outcome.error is None
    texts = [message.decode().partition("CEF:")[2] for message in receiver.messages("tcp")]
    assert texts == [line.partition("CEF:")[2] for line in lines(10_000, 0, SIZE).to_pylist()]
    assert receiver.connections == 2
    assert receiver.torn == 0


def test_every_shape_of_column(receiver: Receiver) -> None:
    """Slices, chunks, large offsets and strings go out as the same bytes."""
    to = destination(receiver.url("tcp"))
    whole = batch(to, 6)
    shapes = [
        whole[2:5],
        pa.chunked_array([whole[2:3], whole[:0], whole[3:5]]),
        whole[2:5].cast(pa.large_binary()),
        whole[2:5].cast(pa.string()),
    ]
    for number, shape in enumerate(shapes, start=1):
        assert statuses(open_transport(to).deliver(shape)) == {"confirmed"}
        assert receiver.messages("tcp")[-3:] == [m.strip() for m in whole[2:5].to_pylist()]
        assert len(receiver.messages("tcp")) == 3 * number


def test_nothing_to_deliver_connects_to_nobody(receiver: Receiver) -> None:
    """An empty batch has an empty outcome."""
    to = destination(receiver.url("tcp"))
    assert open_transport(to).deliver(batch(to, 0)) == Outcome.of()
    assert receiver.connections == 0


def test_a_rate_paces_a_stream(receiver: Receiver) -> None:
    """With rate= a stream takes no more messages a second than that."""
    start = time.monotonic()
    assert statuses(deliver(receiver.url("tcp", rate=200), 100)) == {"confirmed"}
    assert took(start) > 0.4


def test_nobody_listens() -> None:
    """A refused connection fails the batch, names the address and says what to look at."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    outcome = deliver(f"tcp://127.0.0.1:{port}")
    assert statuses(outcome) == {"failed"}
    assert outcome.error is not None
    assert f"tcp://127.0.0.1:{port}: 127.0.0.1 port {port}: the connection was refused" in (
        outcome.error
    )


def test_never_connected_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP's connection of a port to itself counts as refused: it would confirm anything."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        here = unused.getsockname()
    connect = socket.socket.connect

    def bound_connect(self: socket.socket, where: tuple[str, int]) -> None:
        self.bind(here)
        connect(self, where)

    monkeypatch.setattr(socket.socket, "connect", bound_connect)
    outcome = deliver(f"tcp://127.0.0.1:{here[1]}")
    assert statuses(outcome) == {"failed"}
    assert "refused" in (outcome.error or "")


def test_no_answer_to_connecting() -> None:
    """A host that does not answer costs the time limit, and the message says how to go on."""
    with contextlib.ExitStack() as exits:
        listener = exits.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # Linux drops what does not fit into the backlog
            waiting = exits.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003
            waiting.connect_ex(listener.getsockname())
        start = time.monotonic()
        outcome = deliver(f"tcp://127.0.0.1:{listener.getsockname()[1]}?timeout=0.3")
    assert statuses(outcome) == {"failed"}
    assert "no answer within 0.3 s" in (outcome.error or "")
    assert took(start) < 1.5


def test_unknown_name() -> None:
    """A name that does not resolve fails the batch and says so."""
    outcome = deliver("tcp://no-such-host.invalid:601?timeout=5")
    assert statuses(outcome) == {"failed"}
    assert "no-such-host.invalid cannot be resolved" in (outcome.error or "")


def test_a_silent_name_server_costs_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolving is bounded, however long the system's resolver would wait."""
    answered = threading.Event()
    real = socket.getaddrinfo

    def slow(host: str, port: int, *, type: socket.SocketKind, flags: int) -> object:  # noqa: A002
        if not flags:
            answered.wait(10)
        return real(host, port, type=type, flags=flags)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    start = time.monotonic()
    outcome = deliver("tcp://localhost:601?timeout=0.2")
    answered.set()
    assert "cannot be resolved (no answer within 0.2 s)" in (outcome.error or "")
    assert took(start) < 2


def test_each_address_of_a_name_is_tried(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first address that answers gets the batch, and is the first to be tried the next time."""
    port = receiver.port("tcp")
    tried: list[str] = []
    addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]

    def look_up(host: str, port: int, *, flags: int = 0, **_: object) -> list[object]:
        if flags:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    connect = socket.socket.connect

    def seen(self: socket.socket, where: tuple[str, int]) -> None:
        tried.append(where[0])
        connect(self, where)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket.socket, "connect", seen)
    to = destination(f"tcp://sensor.example:{port}")
    transport = open_transport(to)
    assert statuses(transport.deliver(batch(to))) == {"confirmed"}
    assert tried == addresses
    assert statuses(transport.deliver(batch(to))) == {"confirmed"}
    assert tried[3:] == ["127.0.0.1"]
    addresses.remove("127.0.0.1")
    outcome = transport.deliver(batch(to))
    assert statuses(outcome) == {"failed"}
    for one in addresses:
        assert f"{one} port {port}: the connection was refused" in (outcome.error or "")


def test_localhost(receiver: Receiver) -> None:
    """A real name works, whichever of ::1 and 127.0.0.1 it means first."""
    assert statuses(deliver(f"tcp://localhost:{receiver.port('tcp')}")) == {"confirmed"}


def test_ipv6() -> None:
    """An IPv6 address in brackets works."""
    require_ipv6()
    with Receiver("tcp", host="::1") as running:
        assert statuses(deliver(running.url("tcp"))) == {"confirmed"}


def test_reset_after_every_number_of_bytes() -> None:
    """Wherever in a delivery a reset comes, nothing is confirmed; what was read is a prefix."""
    to = destination("tcp://h:1")
    stream = b"".join(batch(to).to_pylist())
    cut = 0
    read: list[bytes] = []

    def manner(connection: socket.socket) -> None:
        read.append(read_exactly(connection, cut))
        reset(connection)

    with RudeReceiver(manner) as rude:
        transport = open_transport(destination(rude.url()))
        for cut in range(len(stream) + 1):  # noqa: B007 - the receiver's threads read it
            outcome = transport.deliver(batch(to))
            assert len(outcome.statuses) == 3
            assert statuses(outcome) <= {"unconfirmed", "failed"}
            assert outcome.error
            assert stream.startswith(read[-1])
    assert len(read) == len(stream) + 1


def test_what_was_begun_is_unconfirmed_and_the_rest_failed() -> None:
    """After a break, messages that never left are failed, those before them unconfirmed."""

    def manner(connection: socket.socket) -> None:
        read_exactly(connection, 100_000)
        reset(connection)

    with RudeReceiver(manner, receive_buffer=4096) as rude:
        outcome = deliver(rude.url(), BIG, SIZE)
    found = outcome.statuses.to_pylist()
    begun = found.count("unconfirmed")
    assert found == ["unconfirmed"] * begun + ["failed"] * (BIG - begun)
    assert 100_000 / (SIZE + 40) < begun < BIG


@pytest.mark.parametrize("count", [1, 50])
def test_accept_and_close_is_not_believed(count: int) -> None:
    """A receiver that closes as soon as it has accepted confirms nothing, ever."""
    with RudeReceiver(socket.socket.close) as rude:
        transport = open_transport(destination(rude.url()))
        for _ in range(20):
            outcome = transport.deliver(batch(destination(rude.url()), count))
            assert statuses(outcome) <= {"unconfirmed", "failed"}


@pytest.mark.parametrize("count", [1, 50])
def test_half_close_at_accept_is_not_believed(count: int) -> None:
    """A receiver that ends its side as soon as it has accepted confirms nothing, ever."""

    def manner(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)

    with RudeReceiver(manner) as rude:
        transport = open_transport(destination(rude.url()))
        for _ in range(20):
            outcome = transport.deliver(batch(destination(rude.url()), count))
            assert statuses(outcome) == {"unconfirmed"}
            assert "ended its side before" in (outcome.error or "")


def test_half_close_at_accept_still_gets_everything() -> None:
    """Such a receiver may read all the same: what was sent is left to arrive."""
    read: Queue[bytes] = Queue()

    def manner(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)
        read.put(read_all(connection))

    with RudeReceiver(manner) as rude:
        to = destination(rude.url())
        assert statuses(open_transport(to).deliver(batch(to, BIG, size=SIZE))) == {"unconfirmed"}
        assert read.get(timeout=10) == b"".join(batch(to, BIG, size=SIZE).to_pylist())


def test_close_once_everything_was_read_but_before_our_end() -> None:
    """A receiver that knows how much to expect proves nothing by closing before our end."""
    size = len(b"".join(batch(destination("tcp://h:1")).to_pylist()))

    def manner(connection: socket.socket) -> None:
        read_exactly(connection, size)
        connection.close()

    with RudeReceiver(manner) as rude:
        assert statuses(deliver(rude.url())) == {"unconfirmed"}


def test_close_with_half_unread() -> None:
    """Closing with something unread resets, at whatever time, and confirms nothing."""

    def manner(connection: socket.socket) -> None:
        read_exactly(connection, 100)
        time.sleep(0.04)  # our end is there by now
        connection.close()

    with RudeReceiver(manner) as rude:
        outcome = deliver(rude.url())
    assert statuses(outcome) == {"unconfirmed"}
    assert "reset" in (outcome.error or "")


@pytest.mark.parametrize("count", [3, BIG])
def test_never_read(count: int) -> None:
    """A receiver that never reads costs the time limit, whether it stops the sending or the end."""
    with RudeReceiver(lambda _: None, receive_buffer=4096) as rude:
        start = time.monotonic()
        outcome = deliver(rude.url(timeout=0.4), count, SIZE)
        assert took(start) < 2.5
    assert statuses(outcome) <= {"unconfirmed", "failed"}
    assert outcome.statuses[0].as_py() == "unconfirmed"
    assert ("failed" in statuses(outcome)) == (count == BIG)
    assert "raise timeout= or lower batch=" in (outcome.error or "")


def test_never_closed() -> None:
    """A receiver that reads and never closes costs a bounded time and confirms nothing."""

    def manner(connection: socket.socket) -> None:
        read_all(connection)
        held.wait(10)

    held = threading.Event()
    with RudeReceiver(manner) as rude:
        start = time.monotonic()
        outcome = deliver(rude.url(timeout=0.4), BIG, SIZE)
        assert took(start) < 2.5
        held.set()
    assert statuses(outcome) == {"unconfirmed"}


def test_slow_reading_is_progress() -> None:
    """A slow receiver may take longer than the time limit as long as it goes on."""

    def manner(connection: socket.socket) -> None:
        while connection.recv(64 * 1024):
            time.sleep(0.03)
        connection.close()

    with RudeReceiver(manner, receive_buffer=32 * 1024) as rude:
        start = time.monotonic()
        outcome = deliver(rude.url(timeout=0.3), BIG, SIZE)
        assert took(start) > 0.6
    assert statuses(outcome) == {"confirmed"}, outcome.error


def test_a_trickle_is_no_progress() -> None:
    """A receiver that takes next to nothing is given up in a bounded time."""

    def manner(connection: socket.socket) -> None:
        while connection.recv(100):
            time.sleep(0.02)

    with RudeReceiver(manner, receive_buffer=4096) as rude:
        start = time.monotonic()
        outcome = deliver(rude.url(timeout=0.3), BIG, SIZE)
        assert took(start) < 5
    assert statuses(outcome) == {"unconfirmed", "failed"}


def test_what_a_receiver_says_is_read() -> None:
    """A receiver that talks back, more than buffers hold, is neither blocked nor misunderstood."""

    def manner(connection: socket.socket) -> None:
        while part := connection.recv(65536):
            connection.sendall(part * 2)
        connection.sendall(b"bye")
        connection.close()

    with RudeReceiver(manner) as rude:
        assert statuses(deliver(rude.url(timeout=5), BIG, SIZE)) == {"confirmed"}


def test_an_exception_from_outside_gives_the_connection_up() -> None:
    """A signal handler's exception passes through at once; the receiver sees a reset."""
    broken: list[OSError] = []

    def manner(connection: socket.socket) -> None:
        time.sleep(0.4)
        try:
            read_all(connection)
        except OSError as error:
            broken.append(error)

    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with RudeReceiver(manner, receive_buffer=4096) as rude:
            to = destination(rude.url())
            messages = batch(to, BIG, size=SIZE)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            start = time.monotonic()
            with pytest.raises(Interrupted):
                open_transport(to).deliver(messages)
            assert took(start) < 2
            time.sleep(0.5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert [type(error) for error in broken] == [ConnectionResetError]


def test_check_sends_nothing(receiver: Receiver) -> None:
    """A check goes through the whole connection, says the framing, and sends no byte."""
    url = receiver.url("tcp")
    assert check(destination(url)) == (
        f"{url}: connected, closes in order; rfc3164, a newline after each message"
    )
    assert "rfc5424, octet counting" in check(destination(f"{url}?format=rfc5424"))
    assert receiver.messages() == []
    assert receiver.connections == 2


def test_check_of_a_receiver_that_confirms_nothing() -> None:
    """A check finds out a receiver under which every batch would stay unconfirmed."""
    with (
        RudeReceiver(lambda connection: connection.shutdown(socket.SHUT_WR)) as rude,
        pytest.raises(SensorError, match="batches would stay unconfirmed"),
    ):
        check(destination(url := rude.url()))
    with pytest.raises(SensorError, match="refused"):
        check(destination(url))


def over_a_long_path(runs: int) -> None:
    """Over 20 ms, where an end sent at accept comes after ours, only an honest one confirms."""
    command = [sys.executable, "-m", "tests.syslog.far", str(runs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode == far.CANNOT:
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
