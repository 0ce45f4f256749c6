from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tasks.syslog.transport import Outcome, check
from tests.syslog.helpers import (
    BIG,
    SIZE,
    ScriptedReceiver,
    batch,
    deliver,
    destination,
    lines,
    read_all,
    statuses,
    took,
)

if TYPE_CHECKING:
    import socket

    from sandbox.receiver import Receiver


@pytest.mark.parametrize("form", ["rfc3164", "rfc5424"])
def test_an_honest_receiver_confirms(receiver: Receiver, form: str) -> None:
    """Each batch is confirmed and read whole, once and in order, over a connection of its own."""
    to = destination(receiver.url("tcp", format=form))
    transport = to.open_transport()
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
        assert statuses(to.open_transport().deliver(shape)) == {"confirmed"}
        assert receiver.messages("tcp")[-3:] == [m.strip() for m in whole[2:5].to_pylist()]
        assert len(receiver.messages("tcp")) == 3 * number


def test_nothing_to_deliver_connects_to_nobody(receiver: Receiver) -> None:
    """An empty batch has an empty outcome."""
    to = destination(receiver.url("tcp"))
    assert to.open_transport().deliver(batch(to, 0)) == Outcome.of()
    assert receiver.connections == 0


def test_a_rate_paces_a_stream(receiver: Receiver) -> None:
    """With rate= a stream takes no more messages a second than that."""
    start = time.monotonic()
    assert statuses(deliver(receiver.url("tcp", rate=200), 100)) == {"confirmed"}
    assert took(start) > 0.4


def test_an_exception_from_outside_gives_the_connection_up() -> None:
    """A signal handler's exception passes through at once; the receiver sees a reset."""
    broken: list[OSError] = []

    def behaviour(connection: socket.socket) -> None:
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
        with ScriptedReceiver(behaviour, receive_buffer=4096) as rude:
            to = destination(rude.url())
            messages = batch(to, BIG, size=SIZE)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            start = time.monotonic()
            with pytest.raises(Interrupted):
                to.open_transport().deliver(messages)
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
