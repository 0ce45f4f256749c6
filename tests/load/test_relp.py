"""RELP: each event has an answer of its own, and a connection that may break, too."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from tasks.staging.deliveries.last_attempts import FAILED_ALONE, FAILED_BETWEEN
from tests.load.helpers import closed_port, load, rows
from tests.load.relay import REFUSED, Relay
from tests.staging.staged_data import normalized

if TYPE_CHECKING:
    from tasks.staging.store import Store


def blamed(store: Store) -> dict[str, set[str]]:
    """The runs that found each event at fault, by the ledger."""
    found = defaultdict(set)
    for row in rows(store):
        if (row["error"] or "").startswith(FAILED_BETWEEN):
            found[row["event_id"]].add(row["run_id"])
    return dict(found)


def test_acknowledged_one_by_one(store: Store) -> None:
    """What is acknowledged is `confirmed`, by `relp`, once; the ledger counts its bytes."""
    events = normalized(store, 30)
    with Relay(lambda _: b"200 OK") as relay:
        assert load(store, relay.url(batch=10)).delivered == 30
        assert load(store, relay.url(batch=10)).batches == 0
        assert Counter(relay.received) == Counter(events)
    found = rows(store)
    assert {(row["status"], row["transport"]) for row in found} == {("confirmed", "relp")}
    assert all(row["bytes"] > 100 for row in found)


def test_refused_event_is_put_off(store: Store) -> None:
    """An event that is refused between others is at fault at once, and put off after three runs."""
    events = normalized(store, 25)
    bad = events[12]
    with Relay(lambda event: REFUSED if event == bad else b"200 OK") as relay:
        for run in range(6):
            events += normalized(store, 6, day=1, first=60 * run)
            done = load(store, relay.url(), f"run{run}")
            assert done.pending == 1
            assert bool(done.failed) == (run < 3)
    assert blamed(store) == {bad: {"run0", "run1", "run2"}}
    assert Counter(relay.received) == Counter(events) - Counter([bad])
    failed = [row for row in rows(store) if row["event_id"] == bad]
    assert {row["status"] for row in failed} == {"failed"}
    assert all("refused 1 of the messages: 500 not this one" in row["error"] for row in failed)


def test_event_that_breaks_the_connection_is_put_off(store: Store) -> None:
    """One that makes the receiver hang up is found like over TCP; no other one is sent twice."""
    events = normalized(store, 25)
    bad = events[12]
    with Relay(lambda event: None if event == bad else b"200 OK") as relay:
        for run in range(5):
            events += normalized(store, 6, day=1, first=60 * run)
            assert load(store, relay.url(), f"run{run}").pending == 1
        before = relay.offered.count(bad)
        assert load(store, relay.url(), "after").pending == 1
        assert relay.offered.count(bad) == before, "it is put off"
    assert blamed(store).keys() == {bad}
    assert Counter(relay.received) == Counter(events) - Counter([bad])


def test_receiver_that_goes_away_blames_nobody(store: Store) -> None:
    """What was acknowledged stays delivered; the run gives up, and the next one sends the rest."""
    events = normalized(store, 30)
    with Relay(lambda _: b"200 OK") as relay:

        def answer(event: str) -> bytes | None:
            if event != events[10]:
                return b"200 OK"
            relay.stop_listening()
            return None

        relay.answer = answer
        done = load(store, relay.url())
    assert (done.delivered, done.pending) == (10, 20)
    assert "is given up for this run" in " ".join(done.problems)
    assert not any(
        (row["error"] or "").startswith((FAILED_ALONE, FAILED_BETWEEN)) for row in rows(store)
    )
    with Relay(lambda _: b"200 OK") as again:
        assert load(store, again.url()).pending == 0
    assert relay.received + again.received == events


def test_receiver_that_refuses_everything_blames_nobody(store: Store) -> None:
    """A receiver that is there and takes nothing gets a bounded number of attempts."""
    events = normalized(store, 20)
    events += normalized(store, 20, day=1)
    with Relay(lambda _: REFUSED) as relay:
        done = load(store, relay.url(batch=20))
        assert (done.delivered, done.pending) == (0, 40)
        assert len(relay.offered) == 2 * (3 * 20 + 2)
        assert not blamed(store)
        relay.answer = lambda _: b"200 OK"
        assert load(store, relay.url(batch=20)).pending == 0
        assert Counter(relay.received) == Counter(events)


def test_receiver_that_hangs_up_now_and_then_blames_nobody(store: Store) -> None:
    """One that hangs up every seven events: once it is well the next load delivers all."""
    events = [*normalized(store, 60), *normalized(store, 60, day=1)]
    with Relay(lambda _: b"200 OK") as relay:
        relay.answer = lambda _: None if len(relay.offered) % 7 == 0 else b"200 OK"
        for run in range(4):
            load(store, relay.url(batch=20), f"run{run}")
        relay.answer = lambda _: b"200 OK"
        done = load(store, relay.url(batch=20), "recovered")
    assert (done.pending, done.problems) == (0, [])
    assert Counter(relay.received) == Counter(events)


def test_nobody_listens(store: Store) -> None:
    """A single event that reaches nobody is no event that failed alone."""
    normalized(store, 1)
    done = load(store, f"relp://127.0.0.1:{closed_port()}?name=rejecting")
    assert (done.batches, done.pending) == (3, 1)
    assert "is given up for this run" in " ".join(done.problems)
    assert not any(row["error"].startswith(FAILED_ALONE) for row in rows(store))
