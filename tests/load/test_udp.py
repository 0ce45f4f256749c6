"""Datagrams: each has an outcome of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tasks.staging.deliveries.last_attempts import FAILED_BETWEEN
from tasks.syslog.transport import Outcome
from tests.load.helpers import closed_port, load, rows
from tests.staging.staged_data import normalized

if TYPE_CHECKING:
    from sandbox.receiver import Receiver
    from tasks.staging.store import Store


def test_udp(store: Store, receiver: Receiver) -> None:
    """Over UDP an event is `sent`, which is all that can be known, and not sent again."""
    normalized(store, 30)
    url = receiver.url("udp", name="rejecting", rate=100_000)
    assert load(store, url).delivered == 30
    assert {row["status"] for row in rows(store)} == {"sent"}
    assert len(receiver.wait_for(30, "udp")) == 30
    assert load(store, url).batches == 0


class Scripted:
    """A transport whose statuses are written down before: what no network does on demand."""

    certificate_until = None

    def __init__(self, *outcomes: list[str]) -> None:
        self._outcomes = iter(outcomes)
        self.sizes: list[int] = []

    def deliver(self, messages: Any) -> Outcome:
        """The next outcome; everything is sent where there is none left."""
        self.sizes.append(len(messages))
        statuses = next(self._outcomes, ["sent"] * len(messages))
        return Outcome(pa.array(statuses), "too long" if "failed" in statuses else None)

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("outcomes", "sizes", "blamed"),
    [
        # one that fails between others is at fault
        ([["sent", "failed", "sent"]], [3, 2], [1]),
        # the last may be the network's fault, until it fails alone between others, and once more
        (
            [["sent", "sent", "failed"], *[["failed"]] * 2, *[["sent"], ["failed"]] * 2],
            [3, 1, 1, 1, 1, 1, 1],
            [2],
        ),
        # the first may be, too: nothing was sent before it
        ([["failed", "sent", "sent"], ["failed"], ["sent"]], [3, 1, 1, 2], []),
        # a tail that goes at the second attempt was the network's fault
        ([["sent", "failed", "failed"]], [3, 2, 2], []),
    ],
)
def test_datagrams_that_fail(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    outcomes: list[list[str]],
    sizes: list[int],
    blamed: list[int],
) -> None:
    """Over UDP each message has its own outcome: who is at fault shows at once, or alone."""
    events = normalized(store, 3)
    normalized(store, 2, day=1)
    transport = Scripted(*outcomes)
    monkeypatch.setattr("tasks.syslog.udp.UdpDestination.open_transport", lambda _: transport)
    done = load(store, "udp://127.0.0.1:514?name=rejecting")
    assert transport.sizes == sizes
    found = [
        row["event_id"] for row in rows(store) if (row["error"] or "").startswith(FAILED_BETWEEN)
    ]
    assert found == [events[number] for number in blamed]
    assert done.pending == len(blamed)


class Refusing:
    """A transport that refuses one message by its text, as a network does that is too long."""

    certificate_until = None

    def __init__(self, text: bytes) -> None:
        self._text = text

    def deliver(self, messages: Any) -> Outcome:
        """Everything is sent but that one."""
        refused = [self._text in message.as_py() for message in messages]
        statuses = ["failed" if one else "sent" for one in refused]
        return Outcome(pa.array(statuses), "too long" if any(refused) else None)

    def close(self) -> None:
        """Nothing is open."""


def test_datagram_at_fault_is_put_off(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over UDP, too, an event is put off once it failed between others in three runs."""
    [bad, *_] = normalized(store, 3)
    transport = Refusing(bad.encode())
    monkeypatch.setattr("tasks.syslog.udp.UdpDestination.open_transport", lambda _: transport)
    url = "udp://127.0.0.1:514?name=rejecting"
    tried = []
    for run in range(6):
        done = load(store, url, f"run{run}")
        assert (done.delivered, done.pending) == (2, 1)
        tried.append(bool(done.failed))
        normalized(store, 2, first=60 * (run + 1))
    assert tried == [True, True, True, True, False, False], "nothing was sent before it at first"


def test_refused_udp(store: Store) -> None:
    """A UDP port that refuses fails the batch; the run gives up, and everything stays pending."""
    normalized(store, 30)
    done = load(store, f"udp://127.0.0.1:{closed_port()}?name=rejecting&rate=100000")
    assert (done.delivered, done.pending, done.batches) == (0, 30, 3)
    assert {row["status"] for row in rows(store)} == {"failed"}
