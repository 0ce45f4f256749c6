"""Sessions of RELP: how they are opened, shared by batches, replaced and closed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tasks.errors import SensorError
from tasks.syslog import relp_frames
from tasks.syslog.relp_session import MOST_UNANSWERED
from tasks.syslog.transport import check
from tests.syslog.helpers import (
    ScriptedReceiver,
    batch,
    deliver,
    destination,
    reset,
    statuses,
)
from tests.syslog.relp_peer import OFFERS, Peer, RelpPeer, deliver_to

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from sandbox.certificates import Authority


def test_batches_share_a_session() -> None:
    """Batches come whole, once and in order, over one connection, which is closed in order."""
    received: list[bytes] = []
    with Peer(lambda peer: peer.serve(received)) as peer:
        to = destination(peer.url())
        transport = to.open_transport()
        for first in (0, 3000):
            assert statuses(transport.deliver(batch(to, 3000, first, 700))) == {"confirmed"}
        transport.close()
        assert peer.connections == 1
    udp = destination("udp://h:514")
    assert received == batch(udp, 6000, 0, 700).to_pylist()


def test_tls(context: ssl.SSLContext, authority: Authority) -> None:
    """The same through TLS, whose certificate is checked and known."""
    received: list[bytes] = []
    with Peer(lambda peer: peer.serve(received), context=context) as peer:
        to = destination(peer.url(ca=authority.cert))
        transport = to.open_transport()
        assert statuses(transport.deliver(batch(to, 3000, 0, 700))) == {"confirmed"}
        assert transport.certificate_until is not None
        transport.close()
        assert statuses(deliver(peer.url())) == {"failed"}, "an authority that is not trusted"
        assert "certificate valid until" in check(to)
    assert len(received) == 3000


def test_numbers_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the last transaction number comes 1, within a session and its batches."""
    monkeypatch.setattr(relp_frames, "LAST_NUMBER", MOST_UNANSWERED + 10)
    received: list[bytes] = []
    assert statuses(deliver_to(lambda peer: peer.serve(received), 5000)) == {"confirmed"}
    assert len(received) == 5000


@pytest.mark.parametrize(
    "end", [lambda peer: peer.say(0, b"", b"serverclose"), lambda peer: reset(peer.socket)]
)
def test_a_session_that_ended_between_batches(end: Callable[[RelpPeer], object]) -> None:
    """It is replaced by a new one, and nothing is said of it."""

    def manner(peer: RelpPeer) -> None:
        for message in peer.messages(3):
            peer.say(message.number)
        end(peer)

    with Peer(manner) as peer:
        to = destination(peer.url())
        transport = to.open_transport()
        for connections in (1, 2):
            outcome = transport.deliver(batch(to, 3))
            assert (statuses(outcome), outcome.error) == ({"confirmed"}, None)
            time.sleep(0.1)  # its end is there by now
            assert peer.connections == connections
        transport.close()


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"500 no more sessions", "refuses the session: 500 no more sessions"),
        (b"200 OK\ncommands=syslog", "offers no RELP session that takes syslog messages"),
        (b"200 OK\nrelp_version=0\ncommands=eventlog", "offers no RELP session that takes"),
        (b"", "has no code"),
    ],
)
def test_a_session_that_is_not_opened(answer: bytes, fault: str) -> None:
    """Where the two sides do not agree, nothing is sent, and both a batch and a check say why."""
    later: list[bytes] = []

    def behaviour(connection: socket.socket) -> None:
        peer = RelpPeer(connection)
        peer.open(answer)
        later.append(peer.read().data)

    with ScriptedReceiver(behaviour) as rude:
        url = rude.url().replace("tcp://", "relp://")
        outcome = deliver(url)
        assert statuses(outcome) == {"failed"}
        assert fault in str(outcome.error)
        with pytest.raises(SensorError, match=fault):
            check(destination(url))
    assert not later


def test_no_relp_listener() -> None:
    """A port of something else is told by what it says, or by its silence."""

    def web(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    for behaviour, fault in (
        (web, "'HTTP/1.1 400 Bad Request\\r\\n\\r\\n'; is this the port of a RELP listener?"),
        (lambda connection: connection.recv(1000), "no answer to opening a RELP session within"),
    ):
        with ScriptedReceiver(behaviour) as other:
            outcome = deliver(other.url(timeout=0.3).replace("tcp://", "relp://"))
            assert statuses(outcome) == {"failed"}
            assert fault in str(outcome.error)


def test_offers_behind_the_code() -> None:
    """Some receivers begin their offers on the line of the code."""
    offers = OFFERS.replace(b"OK\n", b"OK ")

    def behaviour(connection: socket.socket) -> None:
        peer = RelpPeer(connection)
        peer.open(offers)
        peer.serve([])

    with ScriptedReceiver(behaviour) as other:
        assert statuses(deliver(other.url().replace("tcp://", "relp://"))) == {"confirmed"}


def test_check() -> None:
    """A check opens a session and closes it, and says whose it is; nothing is sent."""
    received: list[bytes] = []
    with Peer(lambda peer: peer.serve(received)) as peer:
        to = destination(peer.url())
        assert check(to) == (
            f"{to.address}: connected, RELP with peer 1.0, closes in order; rfc3164, a RELP frame "
            "a message, acknowledged one by one"
        )
    assert received == []
    with pytest.raises(SensorError, match="refused"):
        check(to)
