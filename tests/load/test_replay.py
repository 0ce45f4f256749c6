"""Delivering a range again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.staging.deliveries.ledger import Ledger
from tests.load.helpers import load, replay, rows
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import DAY, at, normalized, realistic, stage, transform, window
from tests.staging.test_ledger import attempts, record

if TYPE_CHECKING:
    from sandbox.receiver import Receiver
    from tasks.staging.deliveries.pending import Only
    from tasks.staging.store import Store


@pytest.mark.parametrize(
    ("only", "expected"), [("failed", [2, 3]), ("undelivered", [2, 3, 4, 5]), ("all", range(6))]
)
def test_replay(store: Store, only: Only, expected: list[int]) -> None:
    """A replay delivers just what it is asked for, of just the range, without Halo."""
    events = normalized(store, 6)
    normalized(store, 6, first=60)
    with RejectingReceiver(lambda _: True) as receiver:
        url = receiver.url()
        _seed(store, events)
        done = replay(store, url, window(0, 1), only)
        assert receiver.received == [events[number] for number in expected]
        assert (done.delivered, done.problems) == (len(expected), [])
        assert load(store, url).delivered == 12 - len({0, 1, *expected})


def _seed(store: Store, events: list[str]) -> None:
    """Two events delivered, one failed, one unconfirmed; the rest never tried."""
    ledger = Ledger(store, "rejecting", "alpha", DAY.date())
    timed = [(event_id, at(number / 60)) for number, event_id in enumerate(events)]
    record(ledger, attempts(timed[:2], "confirmed", 1), 2)
    record(ledger, attempts(timed[2:3], "failed", 1, "refused"), 0)
    record(ledger, attempts(timed[3:4], "unconfirmed", 1, "reset"), 0)


def test_replayed_events_that_fail_are_pending(store: Store) -> None:
    """A delivered event whose replay fails is pending again, and the next load delivers it."""
    normalized(store, 6)
    with RejectingReceiver(lambda _: True) as receiver:
        url = receiver.url()
        load(store, url)
        receiver.accept = lambda _: False
        done = replay(store, url, window(0, 24), "all")
        assert (done.delivered, done.pending) == (0, 6)
        receiver.accept = lambda _: True
        assert load(store, url).delivered == 6
        assert load(store, url).batches == 0
    assert [row["status"] for row in rows(store)[-6:]] == ["confirmed"] * 6


def test_replay_before_since(store: Store, receiver: Receiver) -> None:
    """A replay leaves out what is older than the destination's `since`, and says so."""
    normalized(store, 30)
    url = receiver.url("tcp", since="2026-03-01T00:20:00Z")
    done = replay(store, url, window(0, 24), "all")
    assert (done.delivered, done.problems) == (10, [])
    assert "nothing older is delivered than its since=2026-03-01T00:20:00Z" in done.notes[0]


def test_same_bytes_at_every_replay(store: Store, receiver: Receiver) -> None:
    """A replay sends the same bytes."""
    stage(store, window(0, 24), realistic(200, at(0), at(24)))
    transform(store)
    url = receiver.url("tcp")
    load(store, url)
    first = receiver.messages("tcp")
    replay(store, url, window(0, 24), "all")
    assert receiver.messages("tcp")[200:] == first
