from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from tasks.event_filter import EVERYTHING
from tasks.reports.audit import RangeAudit, RangeCounts, audit_range
from tasks.reports.event_history import audit_event
from tasks.staging.day_files import current_files
from tasks.staging.deliveries.ledger import Ledger
from tests.load.helpers import load, replay
from tests.reports.shown import shown
from tests.staging.staged_data import (
    at,
    broken,
    normalized,
    raw,
    stage,
    transform,
    window,
)
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store
    from tests.staging.rejecting_receiver import RejectingReceiver

DAY = window(0, 24)


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
        ("raw", "normalized or rejected, not raw"),
        ("normalized", "neither normalized nor rejected"),
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
    [segment] = ledger.segments(files, ledger.names(), EVERYTHING)
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
    assert found.problems == ["account alpha, 2026-03-01: 1 event neither normalized nor rejected"]


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
