"""Delivery where the receiver is in trouble and the staging changes meanwhile."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tasks.audit import audit_range
from tasks.load import Loaded, load_destination, replay_destination
from tasks.staging.store import Store, open_store
from tests.staging.fussy import Fussy
from tests.staging.material import normalized, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from pathlib import Path

NO_PAUSES = (0.0, 0.0)
DAY = window(0, 24)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty staging."""
    return open_store(str(tmp_path))


@pytest.fixture
def files_of_20(monkeypatch: pytest.MonkeyPatch, store: Store) -> list[str]:
    """A day of three normalized files, opened one after the other while batches of 20 go out."""
    monkeypatch.setattr("tasks.parcels._ROWS", 20)
    return [event_id for first in (0, 60, 120) for event_id in normalized(store, 20, first=first)]


def load(store: Store, url: str) -> Loaded:
    """Load without pauses."""
    return load_destination(store, destination(url), run_id="run", pauses=NO_PAUSES)


def test_put_aside_and_normalized_anew(store: Store, files_of_20: list[str]) -> None:
    """A batch put aside is not sent from there, too, once its day is looked at anew."""
    with Fussy(lambda _: True) as receiver:

        def accept(_: list[str]) -> bool:
            if len(receiver.offered) == 1:
                transform(store, anew=DAY)
            return len(receiver.offered) > 10  # two batches: three attempts and two alone each

        receiver.accept = accept
        done = load(store, receiver.url(batch=20))
        complaints: list[str] = []
        audit_range(store, DAY, [destination(receiver.url())], complaints.append)
    assert complaints == []
    assert (done.delivered, done.failed, done.pending, done.problems) == (60, 0, 0, [])
    assert sorted(receiver.received) == sorted(files_of_20)


def test_replay_of_all_and_normalized_anew(store: Store, files_of_20: list[str]) -> None:
    """A replay of everything goes on where it was when files are replaced under its hands."""
    with Fussy(lambda _: True) as receiver:
        to = destination(receiver.url(batch=20))
        load(store, receiver.url(batch=20))

        def accept(_: list[str]) -> bool:
            if len(receiver.offered) == 4:
                transform(store, anew=DAY)
            return True

        receiver.accept = accept
        done = replay_destination(store, to, DAY, only="all", run_id="replay", pauses=NO_PAUSES)
    assert (done.delivered, done.pending, done.problems) == (60, 0, [])
    assert Counter(receiver.received) == dict.fromkeys(files_of_20, 2)


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


def test_ledger_that_breaks_off(store: Store, tmp_path: Path) -> None:
    """What was delivered before the ledger could not be written any more is counted."""
    normalized(store, 30)

    def accept(_: list[str]) -> bool:
        if len(receiver.offered) == 2:
            ledger = tmp_path / "deliveries"
            ledger.rename(tmp_path / "moved")
            ledger.touch()
        return True

    with Fussy(accept) as receiver:
        done = load(store, receiver.url(batch=10))
    assert len(receiver.batches) == 2
    assert (done.delivered, done.batches) == (10, 1)
    [problem] = done.problems
    assert "cannot be loaded" in problem


def test_what_an_interrupted_load_leaves(store: Store) -> None:
    """What stays pending because the run was asked to end is not put down to the events."""
    normalized(store, 30)
    stop = threading.Event()
    with Fussy(lambda _: True) as receiver:
        done = load_destination(
            store,
            destination(receiver.url(batch=10)),
            run_id="run",
            stop=stop,
            progress=lambda *_: stop.set(),
        )
    [problem] = done.problems
    assert problem.startswith("destination fussy: the run was asked to end; 20 events stay")
