"""Events that a receiver stumbles over, among others that it takes."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tasks.staging.deliveries.last_attempts import FAILED_BETWEEN
from tasks.staging.deliveries.ledger import Ledger
from tests.load.helpers import load, replay, rows
from tests.staging.rejecting_receiver import RejectingReceiver, ids_in
from tests.staging.staged_data import DAY, at, normalized, window
from tests.staging.test_ledger import OLD_ALONE, attempts, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tasks.load.result import LoadResult
    from tasks.staging.store import Store

pytestmark = pytest.mark.usefixtures("no_close_grace")


def runs_at_fault(store: Store) -> dict[str, set[str]]:
    """The runs that found each event at fault, by the ledger."""
    found = defaultdict(set)
    for row in rows(store):
        if (row["error"] or "").startswith(FAILED_BETWEEN):
            found[row["event_id"]].add(row["run_id"])
    return found


def load_beside(
    store: Store, receiver: RejectingReceiver, runs: Iterable[int], new: int = 6
) -> list[LoadResult]:
    """Loads, each with some more events of the second day."""
    done = []
    for run in runs:
        normalized(store, new, day=1, first=60 * run)
        done.append(load(store, receiver.url(batch=25), f"run{run}"))
    return done


def later(monkeypatch: pytest.MonkeyPatch, time: timedelta) -> None:
    """Let loads believe that so much time has gone by."""
    now = np.datetime64((datetime.now(UTC) + time).replace(tzinfo=None), "us")
    monkeypatch.setattr("tasks.load.destination.now", lambda: now)


@pytest.mark.parametrize("at_fault", [{0}, {24}, {13}, {4, 5, 6}, {0, 1, 12, 24}])
def test_event_at_fault(store: Store, at_fault: set[int]) -> None:
    """Events that the receiver stumbles over are found; all others are delivered, once each."""
    events = normalized(store, 25)
    more = normalized(store, 25, day=1)
    bad = {events[number] for number in at_fault}
    with RejectingReceiver(lambda offered: not bad & set(offered)) as receiver:
        done = load(store, receiver.url(batch=25))
        assert (done.delivered, done.failed, done.not_tried) == (50 - len(bad), len(bad), 0)
        assert sorted(receiver.received) == sorted({*events, *more} - bad)
        again = len(receiver.offered)
        done = load(store, receiver.url(batch=25))
        assert (done.failed, done.pending) == (len(bad), len(bad)), "the next load tries them"
        assert len(receiver.offered) == again + len(bad), "once each"
        assert done.problems


@pytest.mark.parametrize("at_fault", [{13}, {4, 5, 6}, {0, 1, 12, 24}])
def test_event_at_fault_is_put_off_after_three_runs(store: Store, at_fault: set[int]) -> None:
    """What failed alone between others in three runs is left alone, unless a replay asks for it."""
    events = normalized(store, 25)
    bad = {events[number] for number in at_fault}
    with RejectingReceiver(lambda offered: not bad & set(offered)) as receiver:
        for done in load_beside(store, receiver, range(3)):
            assert done.failed == len(bad), "before that every load tries them"
        runs = 3
        while load_beside(store, receiver, [runs])[0].failed:
            runs += 1
            assert runs < 6
        assert {event_id: len(runs) for event_id, runs in runs_at_fault(store).items()} == (
            dict.fromkeys(bad, 3)
        )
        [done] = load_beside(store, receiver, [runs + 1])
        assert (done.delivered, done.batches, done.pending) == (6, 1, len(bad))
        [problem] = done.problems
        assert "put off" in problem
        assert (
            len(set(receiver.received)) == len(receiver.received) == 25 - len(bad) + 6 * runs + 12
        )
        done = replay(store, receiver.url(), window(0, 24))
        assert (done.tried, done.failed) == (len(bad), len(bad)), "a replay tries at once"


def test_event_at_fault_is_tried_again_after_an_hour_then_a_day(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent again an hour later, then a day later, and delivered if the receiver takes it."""
    events = normalized(store, 25)
    with RejectingReceiver(lambda offered: events[3] not in offered) as receiver:
        load_beside(store, receiver, range(3))
        later(monkeypatch, timedelta(minutes=59))
        assert load_beside(store, receiver, [3])[0].failed == 0
        later(monkeypatch, timedelta(minutes=61))
        assert load_beside(store, receiver, [4])[0].failed == 1
        later(monkeypatch, timedelta(hours=23))
        assert load_beside(store, receiver, [5])[0].failed == 0
        receiver.accept = lambda _: True
        later(monkeypatch, timedelta(hours=25))
        assert load_beside(store, receiver, [6])[0].pending == 0
    assert receiver.received.count(events[3]) == 1


def test_clock_that_was_ahead(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks from the future, by a clock that was wrong, hold nothing back."""
    [event] = normalized(store, 1)
    ledger = Ledger(store, "rejecting", "alpha", DAY.date())
    for run in range(3):
        wrong = datetime.now(UTC) + timedelta(days=120)
        error = FAILED_BETWEEN + "reset"
        record(ledger, attempts([(event, at(0))], "unconfirmed", run + 1, error, wrong), 0)
    with RejectingReceiver(lambda _: True) as receiver:
        assert load(store, receiver.url()).delivered == 1


@pytest.mark.parametrize("marks", [2, 3])
def test_marks_of_earlier_versions_count(store: Store, marks: int) -> None:
    """A mark in an older ledger is one of the three runs, no more and no less."""
    [event] = normalized(store, 1)
    ledger = Ledger(store, "rejecting", "alpha", DAY.date())
    for run in range(marks):
        row = attempts(
            [(event, at(0))], "unconfirmed", run + 1, OLD_ALONE + "reset", datetime.now(UTC)
        )
        record(ledger, row, 0)
    with RejectingReceiver(lambda _: True) as receiver:
        assert load(store, receiver.url()).delivered == (1 if marks < 3 else 0)


_END = b"end"


def deaths(server: socket.socket, bad: str, received: list[str]) -> Iterator[None]:
    """Serve connections until the event kills the server; yields when it is dead.

    A connection that carries `_END` is the last one.
    """
    port = server.getsockname()[1]
    while True:
        connection, _ = server.accept()
        with connection:
            data = b""
            while part := connection.recv(65_536):
                data += part
            if bad in ids_in(data):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                server.close()
                connection.close()
                yield
                server = socket.create_server(("127.0.0.1", port))
            elif data == _END:
                server.close()
                return
            else:
                received += ids_in(data)


def test_event_that_kills_the_receiver_is_put_off(store: Store) -> None:
    """Connections refused while the receiver is started again take nothing from the evidence."""
    [*events] = normalized(store, 12)
    bad = events[5]
    received: list[str] = []
    killed = 0

    def live() -> None:
        nonlocal killed
        for _ in deaths(server, bad, received):
            killed += 1
            time.sleep(0.3)

    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    url = f"tcp://127.0.0.1:{port}?name=rejecting"
    life = threading.Thread(target=live)
    life.start()
    try:
        for run in range(5):
            events += normalized(store, 6, day=1, first=60 * run)
            before = killed
            done = load(store, url, f"run{run}", pauses=(0.6, 2.0))
            assert done.pending == 1
            if run:
                assert killed - before <= 2
    finally:
        with socket.create_connection(("127.0.0.1", port)) as last:
            last.sendall(_END)
        life.join()
    assert killed == before, "it is put off"
    assert runs_at_fault(store) == {bad: {"run0", "run1", "run2"}}
    assert Counter(received) == Counter(events) - Counter([bad])


@pytest.mark.parametrize("one_of", [2, 7])
def test_receiver_behind_a_sick_balancer_blames_nobody(store: Store, one_of: int) -> None:
    """One connection in some arrives: once the balancer is well the next load delivers all."""
    events = [*normalized(store, 60), *normalized(store, 60, day=1)]
    with RejectingReceiver(lambda _: True) as receiver:
        receiver.accept = lambda _: len(receiver.offered) % one_of == 0
        for run in range(4):
            load(store, receiver.url(batch=20), f"run{run}")
        receiver.accept = lambda _: True
        done = load(store, receiver.url(batch=20), "recovered")
    assert (done.pending, done.problems) == (0, [])
    assert sorted(receiver.received) == sorted(events)


def test_alone_without_others_is_no_fault(store: Store) -> None:
    """An event that fails while nothing else is delivered is tried by every load."""
    [event] = normalized(store, 1)
    with RejectingReceiver(lambda _: False) as receiver:
        for run in range(6):
            assert load(store, receiver.url(), f"run{run}").failed == 1
        receiver.accept = lambda _: True
        assert load(store, receiver.url()).delivered == 1
    assert receiver.received == [event]


def test_single_event_at_fault_blocks_nobody(store: Store) -> None:
    """An event that is the only one of its day, and at fault, does not hold up the next day."""
    [bad] = normalized(store, 1)
    good = normalized(store, 10, day=1)
    with RejectingReceiver(lambda offered: bad not in offered) as receiver:
        done = load(store, receiver.url())
    assert (done.delivered, done.pending) == (10, 1)
    assert sorted(receiver.received) == good


def test_days_of_nothing_else_block_nobody(store: Store) -> None:
    """However many days begin with an event at fault, the days after them are delivered."""
    bad = {event_id for day in range(5) for event_id in normalized(store, 1, day=day)}
    good = normalized(store, 10, day=5)
    with RejectingReceiver(lambda offered: not bad & set(offered)) as receiver:
        for run in range(3):
            load(store, receiver.url(), f"run{run}")
        assert sorted(receiver.received) == good
        for run in range(3, 12):
            good += normalized(store, 10, day=5, first=60 * run)
            done = load(store, receiver.url(), f"run{run}")
            assert sorted(receiver.received) == good
    assert (done.failed, done.not_tried) == (0, 5)


def test_one_event_at_fault(store: Store) -> None:
    """What is put off is said as such, a single event as one."""
    events = normalized(store, 4)
    with RejectingReceiver(lambda offered: events[2] not in offered) as receiver:
        done = load_beside(store, receiver, range(5))[-1]
    assert done.pending == 1
    [problem] = done.problems
    assert "1 event stays pending: put off, for it failed alone" in problem
    assert "a later load" not in problem


@pytest.mark.parametrize("at_fault", [range(1, 24, 4), range(1, 24, 10)])
def test_many_events_at_fault(store: Store, at_fault: range) -> None:
    """However many events of a batch are at fault, the others are delivered in the same run."""
    events = normalized(store, 24)
    bad = {events[number] for number in at_fault}
    with RejectingReceiver(lambda offered: not bad & set(offered)) as receiver:
        done = load(store, receiver.url(batch=24))
    assert sorted(receiver.received) == sorted({*events} - bad)
    assert (done.delivered, done.pending) == (len(events) - len(bad), len(bad))


def test_events_at_fault_in_a_row(store: Store) -> None:
    """Half a batch at fault in one piece holds up the others no longer than a few runs."""
    events = normalized(store, 24)
    bad = {*events[6:18]}
    with RejectingReceiver(lambda offered: not bad & set(offered)) as receiver:
        for run in range(3):
            events += normalized(store, 1, day=1, first=run)
            load(store, receiver.url(batch=24), f"run{run}")
    assert sorted(receiver.received) == sorted({*events} - bad)
