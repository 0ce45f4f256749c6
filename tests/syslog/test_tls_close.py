"""The end of a TLS connection: which ends confirm a batch, and which do not."""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from sandbox.receiver import Receiver
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

if TYPE_CHECKING:
    from sandbox.certificates import Authority


def test_a_bare_end_of_file(context: ssl.SSLContext, authority: Authority) -> None:
    """Without a close_notify nothing is confirmed, unless the sensor's option says it never is."""

    def behaviour(connection: socket.socket) -> None:
        read_all(connection)
        connection.close()

    with ScriptedReceiver(behaviour, context=context) as rude:
        outcome = deliver(rude.url(ca=authority.cert), BIG, SIZE)
        assert statuses(outcome) == {"unconfirmed"}
        assert "set close_notify=off" in (outcome.error or "")
        outcome = deliver(rude.url(ca=authority.cert, close_notify="off"), BIG, SIZE)
        assert statuses(outcome) == {"confirmed"}, outcome.error


def test_close_notify_off_with_one_that_sends_it(
    context: ssl.SSLContext, authority: Authority
) -> None:
    """The option does no harm where the receiver sends a close_notify after all."""
    with Receiver("tls", context=context) as receiver:
        url = receiver.url("tls", ca=authority.cert, close_notify="off")
        outcome = deliver(url, BIG, SIZE)
        assert statuses(outcome) == {"confirmed"}, outcome.error


@pytest.mark.parametrize("option", ["on", "off"])
def test_goodbye_at_once_is_not_believed(
    option: str, context: ssl.SSLContext, authority: Authority
) -> None:
    """A receiver that says goodbye right after the handshake confirms nothing, ever."""

    def notify(connection: socket.socket) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        connection.setblocking(False)  # noqa: FBT003
        connection.unwrap()

    def half_close(connection: socket.socket) -> None:
        socket.socket.shutdown(connection, socket.SHUT_WR)

    def close(connection: socket.socket) -> None:
        connection.close()

    for behaviour in (notify, half_close, close):
        with ScriptedReceiver(behaviour, context=context) as rude:
            url = rude.url(ca=authority.cert, close_notify=option)
            for count in (1, 50):
                for _ in range(5):
                    assert statuses(deliver(url, count)) <= {"unconfirmed", "failed"}


def test_reset_after_some_bytes(context: ssl.SSLContext, authority: Authority) -> None:
    """Wherever a reset comes, nothing is confirmed; what was read is a prefix."""
    to = destination("tls://h:1")
    stream = b"".join(batch(to, 5).to_pylist())
    cut = 0
    read: list[bytes] = []

    def behaviour(connection: socket.socket) -> None:
        data = b""
        while len(data) < cut and (part := connection.recv(cut - len(data))):
            data += part
        read.append(data)
        reset(connection)

    with ScriptedReceiver(behaviour, context=context) as rude:
        transport = destination(rude.url(ca=authority.cert)).open_transport()
        for cut in (0, 1, 77, len(stream) - 1, len(stream)):  # noqa: B007 - read by threads
            assert statuses(transport.deliver(batch(to, 5))) <= {"unconfirmed", "failed"}
    assert all(stream.startswith(one) for one in read)


@pytest.mark.parametrize("count", [3, BIG])
def test_never_read(count: int, context: ssl.SSLContext, authority: Authority) -> None:
    """A receiver that stops after the handshake costs the time limit."""
    with ScriptedReceiver(lambda _: None, receive_buffer=4096, context=context) as rude:
        start = time.monotonic()
        outcome = deliver(rude.url(ca=authority.cert, timeout=0.4), count, SIZE)
        assert took(start) < 2.5
    assert outcome.statuses[0].as_py() == "unconfirmed"
    assert ("failed" in statuses(outcome)) == (count == BIG)


def test_what_a_receiver_says_is_read(context: ssl.SSLContext, authority: Authority) -> None:
    """A receiver that talks back is neither blocked nor misunderstood."""

    def behaviour(connection: socket.socket) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        while part := connection.recv(65536):
            connection.sendall(part * 2)
        connection.unwrap().close()

    with ScriptedReceiver(behaviour, context=context) as rude:
        outcome = deliver(rude.url(ca=authority.cert, timeout=5), BIG, SIZE)
    assert statuses(outcome) == {"confirmed"}, outcome.error
