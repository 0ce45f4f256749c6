"""The staging that ships, `data/sample`: written by an earlier version, read by this one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tasks.reports.audit import RangeCounts, audit_event, audit_range
from tasks.reports.export import export_to
from tasks.reports.status import status
from tasks.staging.store import open_store
from tasks.transform.account import TransformResult
from tests.load.helpers import closed_port, load, replay
from tests.sample import RANGE, SAMPLE
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import read, transform

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store

EVENTS = 240


@pytest.fixture
def sample(tmp_path: Path) -> Store:
    """A copy of the sample, as it is in git."""
    shutil.copytree(SAMPLE, tmp_path / "sample")
    return open_store(str(tmp_path / "sample"))


def test_status(sample: Store) -> None:
    """Both accounts are covered without a gap, and everything is delivered."""
    found = status(sample)
    assert found.problems == []
    for account in found.accounts.values():
        assert (account.covered, account.gaps) == ([RANGE], [])
    assert sum(account.staged for account in found.accounts.values()) == EVENTS
    sensor = found.destinations["sensor"]
    assert (sensor.delivered, sensor.pending, sensor.failed) == (EVENTS, 0, 0)


def test_audit(sample: Store) -> None:
    """Counted by ids it adds up, and an event has its whole life."""
    found = audit_range(sample, RANGE)
    assert (found.problems, found.consistent) == ([], True)
    assert (found.staged, found.normalized, found.rejected) == (EVENTS, EVENTS, 0)
    assert found.destinations == {"sensor": RangeCounts(EVENTS, pending=0, failed=0)}
    history = audit_event(sample, read(sample, "raw")["event_id"][0].as_py())
    assert history.problems == []
    assert history.staged
    assert history.normalized
    assert [row["status"] for row in history.deliveries] == ["confirmed"]


def test_nothing_is_left_to_do(sample: Store) -> None:
    """Nothing is normalized anew and nothing sent again."""
    for account in sample.accounts("raw"):
        assert transform(sample, account) == TransformResult(account)
    done = load(sample, f"tcp://127.0.0.1:{closed_port()}?name=sensor")
    assert (done.asked, done.problems) == (0, [])


def test_replay_and_export(sample: Store, tmp_path: Path) -> None:
    """All of it can be delivered again, and exported."""
    with RejectingReceiver(lambda _: True) as receiver:
        done = replay(sample, receiver.url(name="sensor"), RANGE, "all")
    assert (done.delivered, done.problems) == (EVENTS, [])
    assert export_to(sample, RANGE, "cef", tmp_path / "lines") == EVENTS
