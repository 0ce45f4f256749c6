"""Receivers that are away, sick or out of reach: how often they are tried, and what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.staging.deliveries.last_attempts import FAILED_BETWEEN
from tests.load.helpers import closed_port, load, rows
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import normalized

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store

pytestmark = pytest.mark.usefixtures("no_close_grace")


def test_receiver_that_is_not_there(store: Store) -> None:
    """Nothing reached: three attempts, `failed`; the run gives up with one message; then all go."""
    normalized(store, 30)
    normalized(store, 30, day=1)
    url = f"tcp://127.0.0.1:{closed_port()}?name=rejecting&batch=20"
    done = load(store, url)
    assert (done.delivered, done.failed, done.pending, done.batches) == (0, 20, 60, 3)
    assert {row["status"] for row in rows(store)} == {"failed"}
    assert {row["attempt"] for row in rows(store)} == {1, 2, 3}
    assert any("is given up for this run" in problem for problem in done.problems)
    assert any("60 events stay pending" in problem for problem in done.problems)
    with RejectingReceiver(lambda _: True) as receiver:
        assert load(store, receiver.url(batch=20)).pending == 0
    assert [len(batch) for batch in receiver.batches] == [20, 20, 20]
    assert max(row["attempt"] for row in rows(store)) == 4


def test_pauses_grow_and_end_with_the_receiver_back(store: Store) -> None:
    """A receiver that is back before the last try costs the run nothing but the pauses."""
    normalized(store, 5)
    refusals = iter([False, False])
    with RejectingReceiver(lambda _: next(refusals, True)) as receiver:
        done = load(store, receiver.url(), pauses=(0.01, 0.02))
    assert (done.delivered, done.batches, done.problems) == (5, 3, [])
    assert [row["status"] for row in rows(store)] == ["unconfirmed"] * 10 + ["confirmed"] * 5


def test_sick_receiver_does_not_shrink_batches(store: Store) -> None:
    """A receiver that confirms nothing gets a bounded number of attempts; no event is blamed."""
    for day in range(5):
        normalized(store, 20, day=day)
    with RejectingReceiver(lambda _: False) as receiver:
        done = load(store, receiver.url(batch=20))
        sizes = [len(batch) for batch in receiver.offered]
        assert sizes == [20, 20, 20, 1, 1] * 3
        assert done.pending == 100
        assert not any(row["error"].startswith(FAILED_BETWEEN) for row in rows(store))
        receiver.accept = lambda _: True
        assert load(store, receiver.url(batch=20)).pending == 0
    apart = 2  # of each batch, those that were sent alone to see whether the receiver works
    sizes = [len(batch) for batch in receiver.batches]
    assert sum(sizes) == 100
    assert len(sizes) <= 5 + 3 * (apart + 1)


def test_receiver_that_dies_while_halving(store: Store) -> None:
    """An outage in the middle of a search for the event at fault blames nobody."""
    events = normalized(store, 64)

    with RejectingReceiver(lambda _: True) as receiver:
        receiver.accept = lambda offered: len(receiver.offered) <= 6 and events[0] not in offered
        done = load(store, receiver.url(batch=64))
        assert receiver.batches[0], "the receiver worked, and so it came to halves"
        assert not any((row["error"] or "").startswith(FAILED_BETWEEN) for row in rows(store))
        assert done.pending == 64 - len(receiver.received)
        assert len(receiver.offered) < 30


def test_unusable_certificates(store: Store, tmp_path: Path) -> None:
    """A destination whose transport cannot be opened is a problem, and what waits stays pending."""
    normalized(store, 5)
    (tmp_path / "ca.pem").write_text("no certificate")
    done = load(store, f"tls://127.0.0.1:1?ca={tmp_path}/ca.pem")
    assert done.pending == 5
    assert len(done.problems) == 1
