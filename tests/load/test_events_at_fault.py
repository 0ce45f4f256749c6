"""Events that a receiver stumbles over, among others that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tasks.staging.ledger import ALONE
from tests.load.helpers import load, replay, rows
from tests.staging.fussy import Fussy
from tests.staging.material import normalized, window

if TYPE_CHECKING:
    from tasks.staging.store import Store


@pytest.mark.parametrize("at_fault", [{0}, {24}, {13}, {4, 5, 6}, {0, 1, 12, 24}])
def test_event_at_fault(store: Store, at_fault: set[int]) -> None:
    """Events that the receiver stumbles over are found; all others are delivered, once each."""
    events = normalized(store, 25)
    more = normalized(store, 25, day=1)
    bad = {events[number] for number in at_fault}
    with Fussy(lambda offered: not bad & set(offered)) as receiver:
        done = load(store, receiver.url(batch=25))
        assert (done.delivered, done.pending) == (50 - len(bad), len(bad))
        assert sorted(receiver.received) == sorted({*events, *more} - bad)
        blamed = {row["event_id"] for row in rows(store) if (row["error"] or "").startswith(ALONE)}
        assert blamed == bad
        again = len(receiver.offered)
        done = load(store, receiver.url(batch=25))
        assert (len(receiver.offered), done.pending) == (again, len(bad)), "left alone for a day"
        assert done.problems
        done = replay(store, receiver.url(), window(0, 24))
        assert done.pending == len(bad), "but a replay that is asked for tries at once"


def test_event_at_fault_is_tried_again_after_a_day(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event at fault is sent again a day later, and delivered if the receiver takes it now."""
    events = normalized(store, 25)
    with Fussy(lambda offered: events[3] not in offered) as receiver:
        load(store, receiver.url())
        monkeypatch.setattr("tasks.load._AT_FAULT_FOR", np.timedelta64(0, "D"))
        assert load(store, receiver.url()).pending == 1
        receiver.accept = lambda _: True
        assert load(store, receiver.url()).pending == 0
    assert receiver.received.count(events[3]) == 1


def test_single_event_at_fault_blocks_nobody(store: Store) -> None:
    """An event that is the only one of its day, and at fault, does not hold up the next day."""
    [bad] = normalized(store, 1)
    good = normalized(store, 10, day=1)
    with Fussy(lambda offered: bad not in offered) as receiver:
        done = load(store, receiver.url())
    assert (done.delivered, done.pending) == (10, 1)
    assert receiver.received == good
    assert rows(store)[-1]["event_id"] == bad
    assert rows(store)[-1]["error"].startswith(ALONE), "it failed right after a success"


def test_one_event_at_fault(store: Store) -> None:
    """What is left alone for a day is said as such, a single event as one."""
    events = normalized(store, 4)
    with Fussy(lambda offered: events[2] not in offered) as receiver:
        load(store, receiver.url())
        done = load(store, receiver.url())
    assert done.pending == 1
    [problem] = done.problems
    assert "1 event stays pending: at fault itself" in problem
    assert "next load" not in problem


@pytest.mark.parametrize("at_fault", [range(1, 24, 4), range(1, 24, 10)])
def test_many_events_at_fault(store: Store, at_fault: range) -> None:
    """However many events of a batch are at fault, the others are delivered in the same run."""
    events = normalized(store, 24)
    bad = {events[number] for number in at_fault}
    with Fussy(lambda offered: not bad & set(offered)) as receiver:
        done = load(store, receiver.url(batch=24))
    assert sorted(receiver.received) == sorted({*events} - bad)
    assert (done.delivered, done.pending) == (len(events) - len(bad), len(bad))


def test_events_at_fault_in_a_row(store: Store) -> None:
    """Half a batch at fault in one piece holds up the others no longer than a few runs."""
    events = normalized(store, 24)
    bad = {*events[6:18]}
    with Fussy(lambda offered: not bad & set(offered)) as receiver:
        for run in range(3):
            events += normalized(store, 1, day=1, first=run)
            load(store, receiver.url(batch=24))
    assert sorted(receiver.received) == sorted({*events} - bad)
