"""Datagrams: each has an outcome of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tasks.staging.ledger import ALONE
from tasks.syslog.transport import Outcome
from tests.load.helpers import closed_port, load, rows
from tests.staging.material import normalized

if TYPE_CHECKING:
    from sandbox.receiver import Receiver
    from tasks.staging.store import Store


def test_udp(store: Store, receiver: Receiver) -> None:
    """Over UDP an event is `sent`, which is all that can be known, and not sent again."""
    normalized(store, 30)
    url = receiver.url("udp", name="fussy", rate=100_000)
    assert load(store, url).delivered == 30
    assert {row["status"] for row in rows(store)} == {"sent"}
    assert len(receiver.wait_for(30, "udp")) == 30
    assert load(store, url).batches == 0


class Scripted:
    """A transport whose statuses are written down before: what no network does on demand."""

    def __init__(self, *outcomes: list[str]) -> None:
        self._outcomes = iter(outcomes)
        self.sizes: list[int] = []

    def deliver(self, messages: Any) -> Outcome:
        """The next outcome; everything is sent where there is none left."""
        self.sizes.append(len(messages))
        statuses = next(self._outcomes, ["sent"] * len(messages))
        return Outcome(pa.array(statuses), "too long" if "failed" in statuses else None)


@pytest.mark.parametrize(
    ("outcomes", "sizes", "blamed"),
    [
        # one that fails between others is at fault, and left alone
        ([["sent", "failed", "sent"]], [3, 2], [1]),
        # the last may be the network's fault; it fails alone, then once more after a success
        (
            [["sent", "sent", "failed"], ["failed"], ["failed"], ["sent", "sent"], ["failed"]],
            [3, 1, 1, 2, 1],
            [2],
        ),
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
    monkeypatch.setattr("tasks.syslog.transport.open_transport", lambda _: transport)
    done = load(store, "udp://127.0.0.1:514?name=fussy")
    assert transport.sizes == sizes
    found = [row["event_id"] for row in rows(store) if (row["error"] or "").startswith(ALONE)]
    assert found == [events[number] for number in blamed]
    assert done.pending == len(blamed)


def test_refused_udp(store: Store) -> None:
    """A UDP port that refuses fails the batch; the run gives up, and everything stays pending."""
    normalized(store, 30)
    done = load(store, f"udp://127.0.0.1:{closed_port()}?name=fussy&rate=100000")
    assert (done.delivered, done.pending, done.batches) == (0, 30, 3)
    assert {row["status"] for row in rows(store)} == {"failed"}
