"""RELP with receivers that do what rsyslog never does, and with honest ones."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from tasks.errors import SensorError
from tasks.syslog import relp_frames
from tasks.syslog.relp_session import WINDOW
from tasks.syslog.transport import check
from tests.syslog.helpers import (
    ScriptedReceiver,
    batch,
    deliver,
    destination,
    lines,
    reset,
    statuses,
    took,
)
from tests.syslog.relp_peer import OFFERS, RelpPeer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from sandbox.certificates import Authority
    from tasks.syslog.transport import Outcome

    Manner = Callable[[RelpPeer], object]


class Peer(ScriptedReceiver):
    """Speaks RELP on each connection, after the sender's open."""

    def __init__(self, manner: Manner, *, context: ssl.SSLContext | None = None) -> None:
        def behaviour(connection: socket.socket) -> None:
            self.connections += 1
            peer = RelpPeer(connection)
            peer.open()
            manner(peer)

        self.connections = 0
        super().__init__(behaviour, context=context)

    def url(self, **options: object) -> str:
        """Its sensor URL."""
        url = super().url(**options)
        return url.replace("tcp://", "relp://").replace("tls://", "relps://")


def deliver_to(manner: Manner, count: int = 10, **options: object) -> Outcome:
    """Deliver a batch to a peer, once."""
    with Peer(manner) as peer:
        to = destination(peer.url(**options))
        transport = to.open_transport()
        outcome = transport.deliver(batch(to, count))
        transport.close()
    assert (outcome.error is None) == (statuses(outcome) == {"confirmed"})
    return outcome


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


def test_longest_message() -> None:
    """A message of 60,000 bytes, the longest there is, is one frame."""
    received: list[bytes] = []
    with Peer(lambda peer: peer.serve(received)) as peer:
        assert statuses(deliver(peer.url(), 3, 60_000)) == {"confirmed"}
    assert [line[-60_000:].decode() for line in received] == lines(3, size=60_000).to_pylist()


def test_answers_in_any_order_and_in_pieces() -> None:
    """Answers count by their numbers, wherever they are cut."""

    def manner(peer: RelpPeer) -> None:
        for message in reversed(peer.messages(10)):
            for byte in b"%d rsp 6 200 OK\n" % message.number:
                peer.socket.sendall(bytes([byte]))
        peer.serve([])

    assert statuses(deliver_to(manner)) == {"confirmed"}


def test_refused_messages() -> None:
    """What is answered with another code than 200 has failed, by itself: the others have not."""

    def manner(peer: RelpPeer) -> None:
        for message in peer.messages(10):
            full = message.number in {4, 7}
            peer.say(message.number, b"500 disk \x1b[31mfull\nmore" if full else b"200")
        peer.serve([])

    outcome = deliver_to(manner)
    expected = ["failed" if row in {2, 5} else "confirmed" for row in range(10)]
    assert outcome.statuses.to_pylist() == expected
    assert outcome.refused is not None
    assert outcome.refused.to_pylist() == [status == "failed" for status in expected]
    assert "the receiver refused 2 of the messages: 500 disk \\x1b[31mfull" in str(outcome.error)


def after_three(fault: Callable[[RelpPeer], object]) -> Manner:
    """Take three of ten messages, then do something wrong."""

    def manner(peer: RelpPeer) -> None:
        messages = peer.messages(10)
        for message in messages[:3]:
            peer.say(message.number)
        fault(peer)

    return manner


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda peer: peer.say(12), "answers transaction 12, which waits for no answer"),
        (lambda peer: peer.say(2), "answers transaction 2, which waits for no answer"),
        (lambda peer: peer.say(1), "answers transaction 1, which waits for no answer"),
        (lambda peer: peer.socket.sendall(b"\x00garbage"), "is not RELP: '\\x00garbage'"),
        (lambda peer: peer.socket.sendall(b"1" * 100_000), "is not RELP"),
        (lambda peer: peer.say(5, b"x" * 20_000), "announces an answer of 20,000 bytes"),
        (lambda peer: peer.say(5, command=b"syslog"), "says 'syslog', which is no answer"),
        (lambda peer: peer.say(5, b""), "has no code such as 200"),
        (lambda peer: peer.say(5, b"OK 200"), "has no code such as 200: 'OK 200'"),
        (lambda peer: peer.say(0, b"", b"serverclose"), "ended the session"),
        (lambda peer: peer.socket.shutdown(socket.SHUT_WR), "closed the connection"),
        (lambda peer: reset(peer.socket), "reset"),
    ],
)
def test_fault_after_three_answers(fault: Callable[[RelpPeer], object], said: str) -> None:
    """Whatever then goes wrong, these three stay confirmed, and no other one is."""
    outcome = deliver_to(after_three(fault))
    assert outcome.statuses.to_pylist() == ["confirmed"] * 3 + ["unconfirmed"] * 7
    assert said in str(outcome.error)


def test_hints_are_not_answered() -> None:
    """A hint that we do not know changes nothing."""

    def manner(peer: RelpPeer) -> None:
        peer.say(0, b"never mind", b"unknown")
        peer.serve([])

    assert statuses(deliver_to(manner)) == {"confirmed"}


def test_endless_hints() -> None:
    """A receiver that never stops talking, and answers nothing, costs the time limit."""

    def manner(peer: RelpPeer) -> None:
        while True:
            peer.socket.sendall(b"0 hint 0\n" * 10_000)

    start = time.monotonic()
    outcome = deliver_to(manner, timeout=0.3)
    assert took(start) < 20
    assert statuses(outcome) == {"unconfirmed"}


def test_answers_before_the_messages() -> None:
    """A receiver that answers what it cannot have read is not believed."""

    def manner(peer: RelpPeer) -> None:
        for number in range(2, 12):
            peer.say(number)
        time.sleep(0.5)

    with Peer(manner) as peer:
        to = destination(peer.url(rate=10))  # one message at a time
        transport = to.open_transport()
        outcome = transport.deliver(batch(to, 10))
    assert statuses(outcome) <= {"confirmed", "unconfirmed", "failed"}
    # the first may cross with its answer; that of the others is there before they are sent
    assert outcome.statuses.to_pylist()[1:] == ["failed"] * 9


def test_never_answers() -> None:
    """A receiver that reads and never answers costs the time limit; the window bounds the doubt."""
    count = WINDOW + 100

    def manner(peer: RelpPeer) -> None:
        peer.messages(count)

    start = time.monotonic()
    outcome = deliver_to(manner, count, timeout=0.3)
    assert took(start) < 5
    assert outcome.statuses.to_pylist() == ["unconfirmed"] * WINDOW + ["failed"] * 100
    assert "raise timeout=" in str(outcome.error)


def test_a_trickle_of_answers_is_no_progress() -> None:
    """A receiver that hardly answers is given up; what it has answered is confirmed."""

    def manner(peer: RelpPeer) -> None:
        for message in peer.messages(200):
            peer.say(message.number)
            time.sleep(0.05)

    start = time.monotonic()
    outcome = deliver_to(manner, 200, timeout=0.3)
    assert took(start) < 5
    found = outcome.statuses.to_pylist()
    assert found == ["confirmed"] * found.count("confirmed") + ["unconfirmed"] * found.count(
        "unconfirmed"
    )
    assert set(found) == {"confirmed", "unconfirmed"}


def test_what_was_not_sent_has_failed() -> None:
    """After a break in the middle of sending, messages that never left have failed."""

    def manner(peer: RelpPeer) -> None:
        for message in peer.messages(5):
            peer.say(message.number)
        reset(peer.socket)

    with Peer(manner) as peer:
        outcome = deliver(peer.url(), 500, 60_000)  # more than both kernels' buffers take
    found = outcome.statuses.to_pylist()
    begun = found.count("unconfirmed")
    assert found == ["confirmed"] * 5 + ["unconfirmed"] * begun + ["failed"] * (495 - begun)
    assert 0 < begun < 495


def test_numbers_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the last transaction number comes 1, within a session and its batches."""
    monkeypatch.setattr(relp_frames, "LAST_NUMBER", WINDOW + 10)
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
