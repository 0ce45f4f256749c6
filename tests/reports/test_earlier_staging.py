"""A staging that an earlier version wrote is read, continued and delivered by this one."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.reports.audit import RangeCounts, audit_range
from tasks.reports.event_history import audit_event
from tasks.reports.export import export_to
from tasks.reports.status import status
from tasks.staging.store import open_store
from tasks.time_window import Window
from tasks.transform.account import TransformResult
from tests.load.helpers import closed_port, load, replay
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import read, transform

if TYPE_CHECKING:
    from tasks.staging.store import Store

EARLIER = Path(__file__).parents[1] / "golden" / "earlier_staging"
RANGE = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
EVENTS = 240


@pytest.fixture
def earlier(tmp_path: Path) -> Store:
    """A copy of it."""
    shutil.copytree(EARLIER, tmp_path / "staging")
    return open_store(str(tmp_path / "staging"))


def test_status(earlier: Store) -> None:
    """Both accounts are covered without a gap, and everything is delivered."""
    found = status(earlier)
    assert found.problems == []
    for account in found.accounts.values():
        assert (account.covered, account.gaps) == ([RANGE], [])
    assert sum(account.staged for account in found.accounts.values()) == EVENTS
    sensor = found.destinations["sensor"]
    assert (sensor.delivered, sensor.pending, sensor.failed) == (EVENTS, 0, 0)


def test_audit(earlier: Store) -> None:
    """Counted by ids it adds up, and an event has its whole life."""
    found = audit_range(earlier, RANGE)
    assert (found.problems, found.consistent) == ([], True)
    assert (found.staged, found.normalized, found.rejected) == (EVENTS, EVENTS, 0)
    assert found.destinations == {"sensor": RangeCounts(EVENTS, pending=0, failed=0)}
    history = audit_event(earlier, read(earlier, "raw")["event_id"][0].as_py())
    assert history.problems == []
    assert history.staged
    assert history.normalized
    assert [row["status"] for row in history.deliveries] == ["confirmed"]


def test_nothing_is_left_to_do(earlier: Store) -> None:
    """Nothing is normalized anew and nothing sent again."""
    for account in earlier.accounts("raw"):
        assert transform(earlier, account) == TransformResult(account)
    done = load(earlier, f"tcp://127.0.0.1:{closed_port()}?name=sensor")
    assert (done.asked, done.problems) == (0, [])


def test_replay_and_export(earlier: Store, tmp_path: Path) -> None:
    """All of it can be delivered again, and exported."""
    with RejectingReceiver(lambda _: True) as receiver:
        done = replay(earlier, receiver.url(name="sensor"), RANGE, "all")
    assert (done.delivered, done.problems) == (EVENTS, [])
    assert export_to(earlier, RANGE, "cef", tmp_path / "lines") == EVENTS
