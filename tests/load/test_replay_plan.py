"""What a replay would send, said before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest

from tasks.load.replay_plan import PlannedDay, plan_replay
from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.deliveries.pending import Only
from tasks.staging.locks import hold
from tests.load.helpers import load, replay
from tests.load.test_events_at_fault import load_beside
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import DAY, at, normalized, window
from tests.staging.test_ledger import attempts, record
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store
    from tasks.time_window import Window

pytestmark = pytest.mark.usefixtures("no_close_grace")

RANGE = window(0, 48)


def planned(store: Store, url: str, only: Only, where: Window = RANGE) -> list[PlannedDay]:
    """What a replay would send, where all can be read."""
    plan = plan_replay(store, [destination(url)], where, only)
    assert plan.problems == []
    return plan.days


def files(folder: Path) -> dict[Path, Any]:
    """Every file of a staging but its locks, with when it was changed."""
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and not {".locks", ".tmp"}.intersection(path.parts)
    }


def test_by_account_and_day(store: Store, tmp_path: Path) -> None:
    """It counts by account and day what its options select, and touches and needs nothing."""
    events = normalized(store, 6)
    normalized(store, 3, day=1)
    normalized(store, 2, account="beta")
    timed = [(event_id, at(number / 60)) for number, event_id in enumerate(events)]
    ledger = Ledger(store, "rejecting", "alpha", DAY.date())
    record(ledger, attempts(timed[:2], "confirmed", 1), 2)
    record(ledger, attempts(timed[2:3], "failed", 1, "refused"), 0)
    first, second = at(0).date(), at(24).date()
    url = "tcp://127.0.0.1:9?name=rejecting"  # nothing listens there
    before = files(tmp_path)
    with hold(store, "destination", "rejecting", run_id="another"):
        assert planned(store, url, "failed") == [PlannedDay("rejecting", "alpha", first, 1, 0)]
        assert planned(store, url, "undelivered") == [
            PlannedDay("rejecting", "alpha", first, 4, 0),
            PlannedDay("rejecting", "alpha", second, 3, 0),
            PlannedDay("rejecting", "beta", first, 2, 0),
        ]
        assert planned(store, url, "all", window(0.05, 24)) == [
            PlannedDay("rejecting", "alpha", first, 3, 0)
        ]
        assert planned(store, f"{url}&since=2026-03-01T00:04:00Z", "all") == [
            PlannedDay("rejecting", "alpha", first, 2, 4),
            PlannedDay("rejecting", "alpha", second, 3, 0),
            PlannedDay("rejecting", "beta", first, 0, 2),
        ]
    assert files(tmp_path) == before


@pytest.mark.parametrize("only", get_args(Only))
def test_events_put_off(store: Store, only: Only) -> None:
    """What loads put off is asked for by a replay, and counted."""
    bad = normalized(store, 25)[13]
    with RejectingReceiver(lambda offered: bad not in offered) as receiver:
        load_beside(store, receiver, range(5))
        assert load(store, receiver.url()).batches == 0, "it is put off"
        days = planned(store, receiver.url(), only)
        assert sum(day.asked for day in days) == (55 if only == "all" else 1)
        assert replay(store, receiver.url(), RANGE, only).asked == sum(day.asked for day in days)


def test_what_cannot_be_read(store: Store, tmp_path: Path) -> None:
    """A day whose files are damaged is a problem, and the others are counted."""
    events = normalized(store, 3)
    normalized(store, 4, day=1)
    normalized(store, 2, account="beta")
    record(
        Ledger(store, "rejecting", "alpha", DAY.date()),
        attempts([(events[0], at(0))], "sent", 1),
        1,
    )
    for path in (tmp_path / "normalized").rglob("account=alpha/date=2026-03-01/*.parquet"):
        path.write_bytes(b"damaged")
    for takes in ("", "&critical=true", "&since=2026-03-01"):
        sensor = destination(f"tcp://127.0.0.1:9?name=rejecting{takes}")
        plan = plan_replay(store, [sensor], RANGE, "undelivered")
        counted = [(day.account, day.asked + day.excluded) for day in plan.days]
        assert counted == [("alpha", 4), ("beta", 2)]
        problem = plan.problems[0]
        assert problem.startswith("destination rejecting: account alpha, 2026-03-01: ")


def test_why_nothing(store: Store) -> None:
    """A destination that would get nothing is named, with the reason."""
    normalized(store, 3)
    plan = plan_replay(store, [destination("tcp://127.0.0.1:9?name=rejecting")], RANGE, "failed")
    assert plan.days == []
    [note] = plan.notes
    assert note.startswith(
        "destination rejecting: nothing to do: no event in the range failed at its last attempt"
    )
