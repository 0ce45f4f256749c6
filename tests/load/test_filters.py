"""Destinations that take some types of events, or critical ones, alone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tasks.load.result import LoadResult
from tasks.reports.status import status
from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.deliveries.pending import DeliveryCounts
from tests.load.filtered import LOGINS, RANGE, counted, events, hour
from tests.load.helpers import load, replay
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import DAY, at, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.staging.deliveries.pending import Only
    from tasks.staging.store import Store


@pytest.fixture
def receiver() -> Iterator[RejectingReceiver]:
    """A receiver that takes everything."""
    with RejectingReceiver(lambda _: True) as found:
        yield found


@pytest.mark.parametrize(
    ("query", "taken"),
    [
        (LOGINS, ["00-0-l", "00-2-L"]),
        ("critical=true", ["00-2-L", "00-3-O"]),
        (f"{LOGINS}&critical=true", ["00-2-L"]),
        ("types=no_such_type", []),
        ("since=2026-03-01T00:01:00Z&critical=true", ["00-2-L", "00-3-O"]),
    ],
)
def test_what_is_taken(
    store: Store, receiver: RejectingReceiver, query: str, taken: list[str]
) -> None:
    """Only what the options ask for is delivered; the rest is excluded, and delivered later."""
    hour(store, 0, "loLO")
    url = f"{receiver.url()}&{query}"
    assert counted(store, url) == (0, len(taken), 4 - len(taken))
    done = load(store, url)
    assert (done.asked, done.delivered, done.pending) == (len(taken), len(taken), 0)
    assert receiver.received == taken
    assert counted(store, url) == (len(taken), 0, 4 - len(taken))
    assert counted(store, receiver.url()) == (len(taken), 4 - len(taken), 0)
    load(store, receiver.url())
    assert sorted(receiver.received) == ["00-0-l", "00-1-o", "00-2-L", "00-3-O"]
    assert counted(store, url) == (4, 0, 0), "what was delivered counts so, taken now or not"


def test_settled_days_are_not_opened(
    store: Store, receiver: RejectingReceiver, tmp_path: Path
) -> None:
    """What a filter left out is looked at once; later loads open no file of the day for it."""
    url = f"{receiver.url()}&{LOGINS}"
    for number, kinds in enumerate(["lo", "oo", "ll", "o", "lol"]):
        hour(store, number, kinds)
        load(store, url)
    assert len(Ledger(store, "rejecting", "alpha", DAY.date()).files()[1]) == 1, "a note a day"
    before = status(store, [destination(url)])
    for tree in ("normalized", "deliveries"):
        for path in (tmp_path / tree).rglob("*.parquet"):
            path.write_bytes(b"cannot be opened")
    assert load(store, url) == LoadResult("rejecting")
    assert status(store, [destination(url)]).destinations == before.destinations
    assert before.destinations["rejecting"].excluded == 5
    hour(store, 6, "lo")
    assert (load(store, url).delivered, load(store, url)) == (1, LoadResult("rejecting"))


def test_late_event(store: Store, receiver: RejectingReceiver) -> None:
    """A late event of a settled time is delivered if it is taken, and excluded if not."""
    url = f"{receiver.url()}&{LOGINS}"
    hour(store, 0, "lo")
    load(store, url)
    late = [
        ("late", at(0.005), "halo_login_success", False),
        ("later", at(0.006), "server_restarted", False),
    ]
    stage(store, window(0, 1), events(*late))
    transform(store)
    assert counted(store, url) == (1, 1, 2)
    assert load(store, url).delivered == 1
    assert receiver.received == ["00-0-l", "late"]
    assert load(store, url) == LoadResult("rejecting")


@pytest.mark.parametrize("query", [LOGINS, "since=2026-03-01T00:00:30Z"])
def test_a_ledger_file_moved_out(
    store: Store, receiver: RejectingReceiver, tmp_path: Path, query: str
) -> None:
    """Its event is sent again, though after a failure names tell of as many attempts as before."""
    url = f"{receiver.url()}&{query}"
    hour(store, 0, "ol")
    load(store, url)
    assert counted(store, url) == (1, 0, 1)
    ledger = Ledger(store, "rejecting", "alpha", DAY.date())
    [file], [_] = ledger.files()
    (tmp_path / ledger.folder / file.name).unlink()
    stop = threading.Event()

    def reject(_: object) -> bool:
        stop.set()  # one attempt, as before
        return False

    receiver.accept = reject
    assert load(store, url, stop=stop).failed == 1
    assert counted(store, url) == (0, 1, 1)
    receiver.accept = lambda _: True
    assert load(store, url).delivered == 1
    assert counted(store, url) == (1, 0, 1)


def test_normalized_anew(
    store: Store, receiver: RejectingReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that another version of the mapping calls critical is no longer left out."""
    url = f"{receiver.url()}&critical=true"
    hour(store, 0, "oO")
    load(store, url)
    assert counted(store, url) == (1, 0, 1)
    monkeypatch.setattr("tasks.plugin.normalize.OTHER_SEVERITY", 9)
    transform(store, anew=RANGE)
    assert counted(store, url) == (1, 1, 0)
    assert load(store, url).delivered == 1


@pytest.mark.parametrize(
    ("only", "asked"),
    [("failed", ["00-0-l"]), ("undelivered", ["00-0-l", "01-0-l"]), ("all", ["00-0-l", "01-0-l"])],
)
def test_replay(store: Store, receiver: RejectingReceiver, only: Only, asked: list[str]) -> None:
    """A replay leaves out what the destination does, and says so; what failed stays excluded."""
    hour(store, 0, "lo")
    receiver.accept = lambda _: False
    load(store, receiver.url())
    receiver.accept = lambda _: True
    hour(store, 1, "lo")
    url = f"{receiver.url()}&{LOGINS}"
    done = replay(store, url, RANGE, only)
    assert (done.asked, done.delivered, done.problems) == (len(asked), len(asked), [])
    assert sorted(receiver.received) == asked
    [note] = done.notes
    assert note == (
        "destination rejecting: only what it takes is delivered: "
        "types=halo_login_failure,halo_login_success"
    )
    assert counted(store, url) == (len(asked), 2 - len(asked), 2)


def test_why_nothing(store: Store, receiver: RejectingReceiver) -> None:
    """Where nothing is to do because of a filter, that is said."""
    hour(store, 0, "o")
    url = f"{receiver.url()}&{LOGINS}"
    nothing = "destination rejecting: nothing to do: "
    filtered = "types=halo_login_failure,halo_login_success"
    [note] = load(store, url, say_why=True).notes
    assert note == f"{nothing}no event is one that it takes: {filtered}"
    hour(store, 1, "l")
    load(store, url)
    [note] = load(store, url, say_why=True).notes
    assert note == f"{nothing}every event that it takes ({filtered}) is delivered"


def test_two_destinations(store: Store, receiver: RejectingReceiver) -> None:
    """Each destination has its own filter, and one account's events are none of another's."""
    hour(store, 0, "lO")
    hour(store, 0, "lL", account="beta")
    logins, critical = (
        f"{receiver.url(name='a')}&{LOGINS}",
        f"{receiver.url(name='b')}&critical=true",
    )
    assert (load(store, logins).delivered, load(store, critical).delivered) == (3, 2)
    assert (counted(store, logins), counted(store, critical)) == ((3, 0, 1), (2, 0, 2))
    found = status(store, [destination(critical)]).destinations["b"].accounts
    assert found == {
        "alpha": DeliveryCounts(1, excluded=1),
        "beta": DeliveryCounts(1, excluded=1),
    }
