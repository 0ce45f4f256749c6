"""Replays that end early: what they say of the rest, and that it can be gone on with."""

from __future__ import annotations

import re
import shlex
import threading
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tasks.time_window import Window
from tests.load.helpers import closed_port, load, replay, rows
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import at, normalized, stage, transform, window

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.load.result import LoadResult
    from tasks.staging.deliveries.pending import Only
    from tasks.staging.store import Store

RANGE = Window(at(0), at(72))


def the_rest(
    store: Store, receiver: RejectingReceiver, done: LoadResult, **options: Any
) -> LoadResult:
    """Carry out the command that a replay says goes on from where it ended."""
    [problem] = done.problems
    found = re.search(r"go on with `halo-usm replay ([^`]+)`", problem)
    assert found, problem
    words = shlex.split(found[1])
    said = dict(zip(words[::2], words[1::2], strict=True))
    assert said.keys() == {"--since", "--until", "--only", "--destination"}
    assert said["--destination"] == "rejecting"
    where = Window(*(datetime.fromisoformat(said[name]) for name in ("--since", "--until")))
    only: Any = said["--only"]
    return replay(store, receiver.url(batch=10), where, only, **options)


def stop_after(receiver: RejectingReceiver, count: int, stop: threading.Event) -> None:
    """Stop with the batch that comes after so many events."""

    def accept(_: list[str]) -> bool:
        if len(receiver.received) >= count:
            stop.set()
        return True

    receiver.accept = accept


def counts(done: LoadResult) -> tuple[int, ...]:
    """What a replay says: asked, tried, delivered, failed, not tried."""
    return done.asked, done.tried, done.delivered, done.failed, done.not_tried


def test_replay_that_is_stopped(store: Store, connections: int) -> None:
    """All that was asked for is accounted for, and the command it prints sends just the rest."""
    events = [*normalized(store, 25), *normalized(store, 25, day=1)]
    with RejectingReceiver(lambda _: True) as receiver:
        load(store, receiver.url())
        stop = threading.Event()
        stop_after(receiver, 70, stop)
        batch = 10 if connections == 1 else 2
        done = replay(store, receiver.url(batch=batch), RANGE, "all", stop=stop)
        tried = done.tried
        assert 20 + batch <= tried <= 20 + batch * connections
        assert counts(done) == (50, tried, tried, 0, 50 - tried)
        assert done.interrupted
        [problem] = done.problems
        assert (
            f"50 events were asked for: {tried} tried, {tried} delivered, 0 failed, "
            f"{50 - tried} not tried" in problem
        )
        day, minute = divmod(tried, 25)
        since = f"2026-03-{day + 1:02}T00:{minute:02}:00Z"
        assert f"--since {since} --until 2026-03-03T00:00:00Z --only all" in problem
        assert "once more" not in problem
        assert Counter(row["attempt"] for row in rows(store)) == {1: 50, 2: tried}
        done = the_rest(store, receiver, done)
        assert counts(done) == (50 - tried, 50 - tried, 50 - tried, 0, 0)
        assert not done.problems
    assert Counter(receiver.received) == dict.fromkeys(events, 2)


def test_replay_that_is_given_up(store: Store) -> None:
    """So it is where the receiver goes away: what failed is left to a later load."""
    events = [*normalized(store, 25), *normalized(store, 25, day=1)]
    with RejectingReceiver(lambda _: True) as receiver:
        load(store, receiver.url())
        port = closed_port()
        done = replay(store, f"tcp://127.0.0.1:{port}?name=rejecting&batch=10", RANGE, "all")
        assert counts(done) == (50, 10, 0, 10, 40)
        assert not done.interrupted
        [problem] = done.problems
        assert "is given up for this run" in problem
        assert "a later load sends what failed" in problem
        receiver.batches.clear()
        assert counts(the_rest(store, receiver, done)) == (40, 40, 40, 0, 0)
        assert load(store, receiver.url()).delivered == 10
    assert sorted(receiver.received) == sorted(events)


@pytest.mark.parametrize("only", ["failed", "undelivered", "all"])
def test_replay_of_several_accounts(store: Store, only: Only, connections: int) -> None:
    """The command covers each account that was not finished, and says what it repeats."""
    events = [
        event_id
        for account in ("alpha", "beta", "gamma")
        for event_id in normalized(store, 30, account=account)
    ]
    late = [("late", at(0.01))]  # created before what was sent, in a file of its own
    stage(store, window(0, 1), late, "beta")
    transform(store, "beta")
    with RejectingReceiver(lambda _: True) as receiver:
        load(store, receiver.url())
        receiver.accept = lambda _: False
        if only != "all":
            replay(store, receiver.url(batch=100), RANGE, "all")
        receiver.accept = lambda _: True
        receiver.batches.clear()
        stop = threading.Event()
        stop_after(receiver, 40, stop)
        batch = 10 if connections == 1 else 2
        done = replay(store, receiver.url(batch=batch), RANGE, only, stop=stop)
        assert done.asked == done.tried + done.not_tried == 91
        assert done.not_tried
        [problem] = done.problems
        before = Counter(receiver.received)
        rest = the_rest(store, receiver, done)
        assert not rest.problems
        assert sorted({*receiver.received}) == sorted([*events, "late"])
        repeated = sum(Counter(receiver.received).values()) - 91
        assert sum(before.values()) == done.delivered
        if only == "all":
            assert f"{repeated} events that were delivered just now once more" in problem
        else:
            assert repeated == 0
            assert "once more" not in problem


def test_replay_beside_a_day_that_cannot_be_read(store: Store, tmp_path: Path) -> None:
    """A day that cannot be read is not tried; the command is about that day, and no other."""
    normalized(store, 10)
    normalized(store, 10, day=1)
    with RejectingReceiver(lambda _: True) as receiver:
        load(store, receiver.url())
        [file] = tmp_path.glob("normalized/account=alpha/date=2026-03-01/*.parquet")
        file.write_bytes(b"PAR1 or so")
        done = replay(store, receiver.url(batch=10), RANGE, "all")
        assert counts(done) == (20, 10, 10, 0, 10)
        [problem] = done.problems
        assert str(file) in problem
        assert "--since 2026-03-01T00:00:00Z --until 2026-03-02T00:00:00Z" in problem
        file.unlink()
        transform(store)
        assert counts(the_rest(store, receiver, done)) == (10, 10, 10, 0, 0)


def test_replay_that_fails_in_part(store: Store) -> None:
    """What was tried and failed is a problem, and no command goes on: a later load sends it."""
    events = normalized(store, 10)
    with RejectingReceiver(lambda offered: events[3] not in offered) as receiver:
        load(store, receiver.url())
        done = replay(store, receiver.url(), RANGE, "undelivered")
    assert counts(done) == (1, 1, 0, 1, 0)
    [problem] = done.problems
    assert "go on with" not in problem
    assert "1 event was asked for: 1 tried, 0 delivered, 1 failed, 0 not tried" in problem


def test_load_says_what_it_did_not_try(store: Store) -> None:
    """So does a load that ends early."""
    normalized(store, 30)
    done = load(store, f"tcp://127.0.0.1:{closed_port()}?batch=10")
    assert counts(done) == (30, 10, 0, 10, 20)
    [problem] = done.problems
    assert "30 events stay pending, 20 of them not tried; a later load sends them" in problem
