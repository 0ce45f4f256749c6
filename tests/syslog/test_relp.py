"""Answers over RELP, those that rsyslog never gives, too: what becomes of each message."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from tasks.syslog.relp_session import MOST_UNANSWERED
from tests.syslog.helpers import (
    batch,
    deliver,
    destination,
    lines,
    reset,
    statuses,
    took,
)
from tests.syslog.relp_peer import Peer, RelpPeer, deliver_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.syslog.relp_peer import Manner


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
    # the first may cross with its answer; that of the others is there before they are sent
    assert outcome.statuses.to_pylist()[1:] == ["failed"] * 9


def test_never_answers() -> None:
    """A receiver that reads and never answers costs the time limit; few are in doubt."""
    count = MOST_UNANSWERED + 100

    def manner(peer: RelpPeer) -> None:
        peer.messages(count)

    start = time.monotonic()
    outcome = deliver_to(manner, count, timeout=0.3)
    assert took(start) < 5
    assert outcome.statuses.to_pylist() == ["unconfirmed"] * MOST_UNANSWERED + ["failed"] * 100
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
