"""RELP over several sessions at once: each serves many batches, and fails for itself."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.load.helpers import kill_load, load, rows
from tests.load.relay import REFUSED, Relay
from tests.staging.staged_data import normalized

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tasks.staging.store import Store


def side_by_side(events: list[str], count: int) -> Callable[[str], bytes]:
    """Answers each event, but the first of a batch only once so many batches are under way.

    The first batch of all is sent alone.
    """
    firsts = {*events[10::10]}
    under_way = threading.Barrier(count)

    def answer(event: str) -> bytes:
        if event in firsts:
            under_way.wait(60)
        return b"200 OK"

    return answer


@pytest.mark.parametrize("count", [1, 8])
def test_as_many_sessions_as_connections(store: Store, count: int) -> None:
    """So many batches are under way, on as many sessions in all; with one, events are in order."""
    events = normalized(store, 250)
    with Relay(side_by_side(events, count)) as relay:
        done = load(store, relay.url(batch=10, connections=count, timeout=60))
        assert (done.delivered, done.batches, done.problems, done.notes) == (250, 25, [], [])
        assert relay.sessions == count
        assert relay.received == events or count > 1
        assert Counter(relay.received) == Counter(events)


def test_a_session_breaks(store: Store) -> None:
    """What was acknowledged is not sent again, on that session and on those beside it."""
    events = normalized(store, 250)
    breaks = events[123]

    def answer(event: str) -> bytes | None:
        return None if event == breaks and relay.offered.count(event) == 1 else b"200 OK"

    with Relay(answer) as relay:
        done = load(store, relay.url(batch=10, connections=8))
        assert (done.delivered, done.pending, done.problems) == (250, 0, [])
        assert Counter(relay.received) == Counter(events)
        assert Counter(relay.offered) == Counter([*events, breaks])
    confirmed = Counter(row["event_id"] for row in rows(store) if row["status"] == "confirmed")
    assert confirmed == Counter(events)


def test_an_event_is_refused(store: Store) -> None:
    """One that is refused between others is at fault; batches beside it go on side by side."""
    events = normalized(store, 250)
    answer = side_by_side(events, 8)
    with Relay(lambda event: REFUSED if event == events[123] else answer(event)) as relay:
        done = load(store, relay.url(batch=10, connections=8, timeout=60))
        assert (done.delivered, done.pending, done.batches) == (249, 1, 25)
        assert Counter(relay.offered) == Counter(events)
        assert relay.sessions == 8


def test_fewer_sessions_than_connections(store: Store) -> None:
    """Where the receiver opens fewer, batches are sent one after another, and a note says so."""
    events = normalized(store, 250)
    with Relay(lambda _: b"200 OK", most=3) as relay:
        done = load(store, relay.url(batch=10, connections=8))
        assert (done.delivered, done.problems) == (250, [])
        assert "does not serve 8 connections" in " ".join(done.notes)
        assert "500 no more sessions" in " ".join(done.notes)
        assert relay.received == events
        assert relay.sessions == 3


def test_killed_in_the_middle(store: Store, tmp_path: Path) -> None:
    """A load that is killed repeats at most a batch a connection, and loses nothing."""
    events = normalized(store, 1200)
    with Relay(lambda _: b"200 OK") as relay:
        url = relay.url(batch=20, connections=8)
        kill_load(store, url, lambda: len(relay.received) >= 400)
        assert 400 <= len(relay.received) < 1200
        done = load(store, url)
        came = Counter(relay.received)
    assert done.pending == 0
    assert came.keys() == {*events}
    assert came.total() - len(came) <= 20 * 8
    assert list((tmp_path / ".tmp").iterdir()) == []
