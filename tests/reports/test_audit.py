from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tasks.reports.audit import RangeAudit, RangeCounts, audit_range
from tasks.reports.event_history import audit_event
from tasks.staging.known_ids import KnownIds
from tasks.staging.ledger import Ledger
from tasks.staging.normalized import current_files
from tasks.staging.raw import stage_window
from tests.load.helpers import closed_port, load, replay
from tests.reports.shown import shown
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import (
    at,
    broken,
    malformed,
    normalized,
    raw,
    stage,
    transform,
    window,
)
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.staging.store import Store

DAY = window(0, 24)


@pytest.fixture
def receiver() -> Iterator[RejectingReceiver]:
    """A receiver that takes everything, until told otherwise."""
    with RejectingReceiver(lambda _: True) as receiver:
        yield receiver


def test_life_of_an_event(store: Store, receiver: RejectingReceiver) -> None:
    """An event's whole life: staged when, normalized to what, each attempt with its outcome."""
    events = normalized(store, 10)
    normalized(store, 10, account="beta", day=1)
    load(store, f"tcp://127.0.0.1:{closed_port()}?name=away")
    load(store, receiver.url(name="sensor"))
    replay(store, receiver.url(name="sensor"), DAY, "all")
    found = shown(audit_event(store, events[3]))
    assert list(found) == [
        "event_id", "account", "staged", "normalized", "rejected", "deliveries",
    ]  # fmt: skip
    assert (found["event_id"], found["account"], found["rejected"]) == (events[3], "alpha", None)
    assert found["staged"]["created_at"] == "2026-03-01T00:03:00Z"
    assert found["staged"]["event"] == raw([(events[3], at(0))])["event"][0].as_py()
    assert found["staged"]["file"].startswith("raw/account=alpha/date=2026-03-01/")
    assert found["normalized"]["event_description"] == f"event {events[3]}"
    assert [
        (row["destination"], row["status"], row["attempt"], row["run_id"])
        for row in found["deliveries"]
    ] == [
        ("away", "failed", 1, "run"),
        ("away", "failed", 2, "run"),
        ("away", "failed", 3, "run"),
        ("sensor", "confirmed", 1, "run"),
        ("sensor", "confirmed", 2, "replay"),
    ]


@pytest.mark.parametrize("kept", ["all", "not of its file", "wrong", "damaged", "nothing"])
def test_event_is_found_whatever_is_kept_of_ids(store: Store, tmp_path: Path, kept: str) -> None:
    """Only its file is opened where hashes tell which; else all, until it is found."""
    [event] = normalized(store, 1)
    others = [normalized(store, 1, day=day) for day in (1, 2)]
    KnownIds(store, "alpha").renew()
    [path] = tmp_path.glob(".ids/*.parquet")
    table = pq.read_table(path)
    its = pc.match_substring(table["file"], "2026-03-01")
    if kept == "not of its file":
        table = table.filter(pc.invert(its))
    elif kept == "wrong":
        hashes = [[0] for _ in range(table.num_rows)]
        table = table.set_column(1, "ids", pa.array(hashes, pa.list_(pa.uint64())))
    pq.write_table(table, path)
    if kept == "damaged":
        path.write_bytes(b"PAR1")
    elif kept == "nothing":
        path.unlink()
    [newest] = tmp_path.glob("raw/*/date=2026-03-03/*")
    newest.write_bytes(b"damaged, which is seen by who opens it")
    found = audit_event(store, event)
    assert found.staged is not None
    assert found.normalized is not None
    opened_all = kept in {"wrong", "damaged", "nothing"}
    assert bool(found.problems) == opened_all
    assert audit_event(store, others[0][0]).account == "alpha"


def test_rejected_event(store: Store) -> None:
    """A rejected event is found with its reason, whichever stage rejected it."""
    stage(store, window(2, 3), broken(raw([("a", at(2))]), "a"))
    transform(store)
    stage_window(store, "alpha", window(2, 3), raw([]), malformed((None, None, "?")), "run")
    found = shown(audit_event(store, "a"))
    assert (found["normalized"], found["rejected"]["stage"]) == (None, "transform")
    assert found["staged"]["event"] == "{"
    found = shown(audit_event(store, hashlib.sha256(b"?").hexdigest()))
    assert (found["account"], found["staged"], found["rejected"]["stage"]) == (
        "alpha",
        None,
        "extract",
    )


def test_unknown_event(store: Store) -> None:
    """An event that nobody knows has no life and no account."""
    normalized(store, 3)
    found = audit_event(store, "nobody")
    assert shown(found) == {
        "event_id": "nobody",
        "account": None,
        "staged": None,
        "normalized": None,
        "rejected": None,
        "deliveries": [],
    }
    assert found.problems == ["event nobody is not in this staging"]


def test_event_beyond_retention(store: Store, receiver: RejectingReceiver, tmp_path: Path) -> None:
    """The ledger outlives raw: what it remembers of an event is still told."""
    events = normalized(store, 3)
    load(store, receiver.url())
    for path in [*tmp_path.glob("raw/*/*/*"), *tmp_path.glob("normalized/*/*/*")]:
        path.unlink()
    found = audit_event(store, events[0])
    assert (found.account, found.staged, len(found.deliveries)) == ("alpha", None, 1)


def audit(store: Store, receiver: RejectingReceiver) -> RangeAudit:
    """An audit of the whole day."""
    found = audit_range(store, DAY, [destination(receiver.url())])
    assert found.consistent == (not found.problems)
    return found


def test_range(store: Store, receiver: RejectingReceiver) -> None:
    """A range's counts, from its ids: exact at its bounds, consistent where all is well."""
    normalized(store, 60)
    stage(store, window(2, 3), broken(raw([("a", at(2))]), "a"))
    transform(store)
    load(store, receiver.url())
    stage(store, window(1, 2), [("pending", at(1.5))])
    transform(store)
    assert shown(audit(store, receiver)) == {
        "staged": 62,
        "normalized": 61,
        "rejected": 1,
        "dropped_days": 0,
        "destinations": {"rejecting": {"delivered": 60, "pending": 1, "failed": 0, "excluded": 0}},
        "consistent": True,
    }
    part = audit_range(store, window(0.5, 0.75), [destination(receiver.url())])
    assert part.staged == part.destinations["rejecting"].delivered == 15


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ("raw", "events are normalized or rejected, not raw"),
        ("normalized", "events are neither normalized nor rejected"),
        ("deliveries", "names tell of 10 delivered events, the rows of 9"),
    ],
)
def test_missing_row(
    store: Store, receiver: RejectingReceiver, tmp_path: Path, tree: str, problem: str
) -> None:
    """A row that was taken out of any tree is noticed, and said where."""
    normalized(store, 10)
    load(store, receiver.url())
    [path] = (tmp_path / tree).rglob("*.parquet")
    pq.write_table(pq.read_table(path, partitioning=None).slice(1), path)
    problems = audit(store, receiver).problems
    assert any(problem in said and "2026-03-01" in said for said in problems), problems


def test_note_that_lies(store: Store, receiver: RejectingReceiver) -> None:
    """A note that calls a stretch settled whose events are pending is noticed."""
    normalized(store, 10)
    ledger = Ledger(store, "rejecting", "alpha", DAY.day)
    files = current_files(store, "alpha", DAY.day)
    [segment] = ledger.segments(files, ledger.names())
    ledger.note_settled(segment, 10)
    assert load(store, receiver.url()).delivered == 0
    found = audit(store, receiver)
    assert found.destinations["rejecting"].pending == 10
    [problem] = found.problems
    assert "no load sends its 10 pending events; `halo-usm replay --only all` does" in problem
    replay(store, receiver.url(), DAY, "all")
    assert audit(store, receiver).problems == []


def test_sums_that_agree_by_chance(
    store: Store, receiver: RejectingReceiver, tmp_path: Path
) -> None:
    """Where the delivered events were taken away and others took their place, that is noticed."""
    normalized(store, 10)
    load(store, receiver.url())
    for tree in ("raw", "normalized"):
        [path] = (tmp_path / tree).rglob("*.parquet")
        path.unlink()
    normalized(store, 10, first=60)
    assert load(store, receiver.url()).delivered == 0
    problems = audit(store, receiver).problems
    assert any("no load sends its 10 pending events" in said for said in problems), problems


def test_event_twice(store: Store, receiver: RejectingReceiver, tmp_path: Path) -> None:
    """An event that is in raw twice is noticed."""
    normalized(store, 10)
    [path] = (tmp_path / "raw").rglob("*.parquet")
    copy = path.with_name(path.name.replace(path.name.split("-")[2], "00000000"))
    copy.write_bytes(path.read_bytes())
    problems = audit(store, receiver).problems
    assert "account alpha, 2026-03-01: 10 events are in raw more than once" in problems


def test_what_waits_to_be_normalized(store: Store, receiver: RejectingReceiver) -> None:
    """Raw that is not normalized yet does not add up."""
    stage(store, window(2, 3), [("a", at(2))])
    found = audit(store, receiver)
    assert (found.staged, found.normalized) == (1, 0)
    assert found.problems == [
        "account alpha, 2026-03-01: 1 events are neither normalized nor rejected"
    ]


def test_since(store: Store) -> None:
    """What is older than a destination's `since` is not pending for it, but excluded."""
    normalized(store, 10)
    sensor = destination("tcp://127.0.0.1:601?name=new&since=2026-03-01T00:06:00Z")
    found = audit_range(store, DAY, [sensor])
    assert found.destinations == {"new": RangeCounts(delivered=0, pending=4, failed=0, excluded=6)}
    assert found.consistent


@pytest.fixture
def two_accounts(store: Store, receiver: RejectingReceiver) -> dict[str, list[str]]:
    """The events of two accounts, all of them delivered."""
    events = {account: normalized(store, 5, account=account) for account in ("alpha", "beta")}
    load(store, receiver.url(name="sensor"))
    return events


ALPHA = "account=alpha/date=2026-03-01/mine.parquet"


@pytest.mark.parametrize(
    "foreign", [f"raw/{ALPHA}", f"normalized/{ALPHA}", f"deliveries/destination=sensor/{ALPHA}"]
)
def test_foreign_file_hides_nobody_else(
    store: Store, tmp_path: Path, two_accounts: dict[str, list[str]], foreign: str
) -> None:
    """A foreign file is a problem that names its place, and everything else is answered."""
    (tmp_path / foreign).touch()
    history = audit_event(store, two_accounts["beta"][0])
    assert (history.account, len(history.deliveries)) == ("beta", 1)
    counted = audit_range(store, DAY)
    assert not counted.consistent
    assert counted.destinations["sensor"].delivered == 5
    [problem] = counted.problems
    assert f"'{foreign}' is no name of a" in problem


@pytest.mark.parametrize("tree", ["raw", "normalized", "deliveries/destination=sensor"])
def test_damaged_file_hides_nobody_else(
    store: Store, tmp_path: Path, two_accounts: dict[str, list[str]], tree: str
) -> None:
    """A file that cannot be read is one problem, and everything else is answered."""
    [file] = tmp_path.glob(f"{tree}/account=alpha/*/*.parquet")
    file.write_bytes(b"PAR1 or so")
    history = audit_event(store, two_accounts["alpha"][0])
    assert history.account == "alpha"
    assert audit_event(store, two_accounts["beta"][0]).account == "beta"
    assert audit_range(store, DAY).destinations["sensor"].delivered == 5
    [problem] = history.problems
    assert str(file) in problem


def test_foreign_folder_does_not_add_up(store: Store, tmp_path: Path) -> None:
    """A folder that is no account's is a problem: a reader of the tree counts what lies there."""
    (tmp_path / "normalized" / "backup").mkdir(parents=True)
    found = audit_range(store, DAY)
    assert not found.consistent
    assert "'normalized/backup'" in found.problems[0]


def test_event_of_two_accounts(store: Store) -> None:
    """An event that an account had under another name before is shown once, and the other named."""
    for account in ("alpha", "beta"):
        stage(store, window(2, 3), [("a", at(2))], account)
    found = audit_event(store, "a")
    [other] = {"alpha", "beta"} - {found.account}
    [note] = found.notes
    assert f"is in account {other} too" in note
