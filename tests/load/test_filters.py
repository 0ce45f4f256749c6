"""Destinations that take some types of events, or critical ones, alone."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tasks.load.replay_plan import plan_replay
from tasks.load.result import LoadResult
from tasks.reports.audit import RangeCounts, audit_range
from tasks.reports.status import status
from tasks.staging.ledger import Ledger
from tasks.staging.pending import DeliveryCounts
from tasks.staging.store import open_store
from tests.load.helpers import load, replay
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import DAY, at, raw, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from tasks.staging.pending import Only
    from tasks.staging.store import Store

RANGE = window(0, 24)
LOGINS = "types=halo_login_failure,halo_login_success"


def events(*rows: tuple[str, datetime, str, bool]) -> pa.Table:
    """Raw events by id, time, type and whether they are critical."""
    texts = [
        json.dumps({"id": event_id, "type": kind, "critical": critical, "message": event_id})
        for event_id, _, kind, critical in rows
    ]
    table = raw((event_id, created) for event_id, created, _, _ in rows)
    return table.set_column(5, "event", pa.array(texts, pa.string()))


def hour(store: Store, number: int, kinds: str, account: str = "alpha") -> None:
    """An hour's events: `l` and `o` a login and another one, `L` and `O` critical ones."""
    rows = [
        (
            f"{number:02}-{minute}-{kind}",
            at(number + minute / 60),
            "halo_login_failure" if kind in "lL" else "server_restarted",
            kind.isupper(),
        )
        for minute, kind in enumerate(kinds)
    ]
    stage(store, window(number, number + 1), events(*rows), account)
    transform(store, account)


def counted(store: Store, url: str) -> tuple[int, int, int]:
    """Delivered, pending and excluded: as status and the audit count them, which agree."""
    sensor = destination(url)
    found = status(store, [sensor])
    by_name = found.destinations[sensor.name]
    audit = audit_range(store, RANGE, [sensor])
    assert (audit.problems, found.problems) == ([], [])
    counts = RangeCounts(by_name.delivered, by_name.pending, by_name.failed, by_name.excluded)
    assert audit.destinations[sensor.name] == counts
    assert by_name.delivered + by_name.pending + by_name.excluded == audit.normalized
    return by_name.delivered, by_name.pending, by_name.excluded


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


FILTERS = ["", LOGINS, "critical=true", f"{LOGINS}&critical=true", "since=2026-03-01T02:00:00Z"]


class Histories(RuleBasedStateMachine):
    """Filters that change, late events, replays, failures and normalizing anew, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.store = open_store("mock://")
        self.receiver = RejectingReceiver(lambda _: True)
        self.receiver.__enter__()
        self.known: dict[str, str] = {}
        self.hours = 0

    def teardown(self) -> None:
        """Stop the receiver."""
        self.receiver.stop()

    def url(self, query: str) -> str:
        """The receiver with some options."""
        return f"{self.receiver.url(batch=2)}&{query}" if query else self.receiver.url(batch=2)

    @rule(
        number=st.integers(0, 5),
        kinds=st.lists(st.sampled_from("loLO"), min_size=1, max_size=3),
    )
    def appear(self, number: int, kinds: list[str]) -> None:
        """Events appear, late or not."""
        rows = []
        for kind in kinds:
            self.hours += 1
            name = "halo_login_success" if kind in "lL" else "server_restarted"
            event_id = f"e{self.hours}{kind}"
            rows.append((event_id, at(number + self.hours % 60 / 60), name, kind.isupper()))
        stage(self.store, window(number, number + 1), events(*rows))
        transform(self.store)

    @rule(number=st.integers(0, 5))
    def anew(self, number: int) -> None:
        """A range is normalized anew."""
        transform(self.store, anew=window(number, number + 1))

    @rule(query=st.sampled_from(FILTERS), works=st.booleans())
    def load(self, query: str, *, works: bool) -> None:
        """A load with some filter, whose receiver may be sick."""
        self.receiver.accept = lambda _: works
        before = counted(self.store, self.url(query))
        done = load(self.store, self.url(query))
        assert done.asked == before[1]
        if works:
            assert done.pending == 0
            assert counted(self.store, self.url(query))[1:] == (0, before[2])
            assert load(self.store, self.url(query)).batches == 0

    @rule(
        query=st.sampled_from(FILTERS),
        only=st.sampled_from(["failed", "undelivered", "all"]),
        works=st.booleans(),
    )
    def replay(self, query: str, only: Only, *, works: bool) -> None:
        """A replay with some filter."""
        self.receiver.accept = lambda _: works
        sensor = destination(self.url(query))
        plan = plan_replay(self.store, [sensor], window(1, 4), only)
        done = replay(self.store, self.url(query), window(1, 4), only)
        assert done.asked == done.tried + done.not_tried
        assert done.asked == sum(day.asked for day in plan.days), "a dry run tells it"

    @invariant()
    def names_and_ids_agree(self) -> None:
        """For every filter the sums are exact."""
        if self.store.destinations():
            for query in FILTERS:
                counted(self.store, self.url(query))


Histories.TestCase.settings = settings(max_examples=8, stateful_step_count=8)
TestHistories = Histories.TestCase
