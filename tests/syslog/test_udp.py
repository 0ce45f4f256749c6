from __future__ import annotations

import socket
import time

import pyarrow as pa
import pytest

from sandbox.receiver import Receiver
from tasks.errors import SensorError
from tasks.syslog.transport import check
from tests.syslog.helpers import batch, deliver, destination, lines, statuses, took


@pytest.fixture
def closed_port() -> int:
    """A port of loopback where nothing listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
    return port


@pytest.mark.parametrize("form", ["rfc3164", "rfc5424"])
def test_one_datagram_a_message(form: str) -> None:
    """Each message is a datagram without framing, in order, and sent, never more."""
    with Receiver("udp") as receiver:
        outcome = deliver(receiver.url("udp", format=form), 200)
        messages = receiver.wait_for(200, "udp")
    assert statuses(outcome) == {"sent"}
    assert outcome.error is None
    texts = ["CEF:" + message.decode().partition("CEF:")[2] for message in messages]
    assert texts == lines(200).to_pylist()
    assert all(message.startswith(b"<14>") for message in messages)


def test_the_default_pace() -> None:
    """Without a rate= a thousand messages go out a second, in small bursts."""
    with Receiver("udp") as receiver:
        start = time.monotonic()
        deliver(receiver.url("udp"), 500)
        assert 0.4 < took(start) < 2
        receiver.wait_for(500, "udp")


def test_the_pace_holds_from_batch_to_batch() -> None:
    """A new batch is no new start: the pace is the destination's."""
    with Receiver("udp") as receiver:
        to = destination(receiver.url("udp", rate=100))
        transport = to.open_transport()
        start = time.monotonic()
        for _ in range(4):
            transport.deliver(batch(to, 10))
        assert took(start) > 0.28


def test_a_refused_port_fails_the_batch(closed_port: int) -> None:
    """Where nothing listens, the whole batch is failed, with the reason."""
    for count in (1, 100):
        outcome = deliver(f"udp://127.0.0.1:{closed_port}", count)
        assert outcome.statuses == pa.array(["failed"] * count)
        assert "datagrams were refused: nothing listens there" in (outcome.error or "")


def test_a_receiver_that_goes_away_fails_the_batch() -> None:
    """A refusal in the middle of a batch fails all of it: nobody knows since when."""
    with Receiver("udp") as receiver:
        url = receiver.url("udp", rate=200)
        to = destination(url)
        assert statuses(to.open_transport().deliver(batch(to, 10))) == {"sent"}
    outcome = to.open_transport().deliver(batch(to, 100))
    assert statuses(outcome) == {"failed"}


def test_another_address_is_tried(closed_port: int) -> None:
    """A name whose first address refuses goes on to the next."""
    with Receiver("udp") as receiver:
        outcome = deliver(f"udp://localhost:{receiver.port('udp')}")
        assert statuses(outcome) == {"sent"}
        receiver.wait_for(3, "udp")
    assert statuses(deliver(f"udp://localhost:{closed_port}")) == {"failed"}


def test_a_message_too_long_for_a_datagram() -> None:
    """What no datagram can hold fails by itself, and the message says what can carry it."""
    with Receiver("udp") as receiver:
        to = destination(receiver.url("udp"))
        sizes = [100, 65_507, 65_508, 100]
        messages = pa.array([b"<14>" + b"x" * (size - 4) for size in sizes], pa.binary())
        outcome = to.open_transport().deliver(messages)
        arrived = receiver.wait_for(3, "udp")
    assert outcome.statuses.to_pylist() == ["sent", "sent", "failed", "sent"]
    assert "does not fit into a datagram of 65507 bytes; use tcp:// or tls://" in (
        outcome.error or ""
    )
    assert [len(message) for message in arrived] == [100, 65_507, 100]


def test_nothing_to_send(closed_port: int) -> None:
    """An empty batch has an empty outcome."""
    outcome = deliver(f"udp://127.0.0.1:{closed_port}", 0)
    assert (len(outcome.statuses), outcome.error) == (0, None)


def test_unknown_name() -> None:
    """A name that does not resolve fails the batch, and the check."""
    url = "udp://no-such-host.invalid:514?timeout=5"
    outcome = deliver(url)
    assert statuses(outcome) == {"failed"}
    assert "cannot be resolved" in (outcome.error or "")
    with pytest.raises(SensorError, match="cannot be resolved"):
        check(destination(url))


def test_check_says_what_udp_cannot_show() -> None:
    """A check of UDP sends nothing and says that it proves nothing."""
    with Receiver("udp") as receiver:
        said = check(destination(receiver.url("udp")))
        assert "there is a route" in said
        assert "one datagram a message" in said
        assert receiver.messages() == []
