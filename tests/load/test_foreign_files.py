"""Foreign and damaged files fail the account they belong to, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.load.helpers import load
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import normalized, transform

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.receiver import Receiver
    from tasks.staging.store import Store


@pytest.mark.parametrize(
    "foreign",
    [
        "normalized/account=alpha/date=2026-03-01/mine.parquet",
        "normalized/account=alpha/date=old/mine.parquet",
        "deliveries/destination=sensor/account=alpha/date=2026-03-01/mine.parquet",
        "normalized/backup/mine.parquet",
    ],
)
def test_what_is_foreign_stops_no_other(
    store: Store, receiver: Receiver, tmp_path: Path, foreign: str
) -> None:
    """A foreign file fails the account it lies in and no other, and is named by its place."""
    normalized(store, 10)
    normalized(store, 10, account="beta", first=10)
    (tmp_path / foreign).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / foreign).touch()
    done = load(store, receiver.url("tcp", name="sensor"))
    assert done.delivered == (20 if "backup" in foreign else 10)
    [problem] = done.problems
    assert foreign.removesuffix("/mine.parquet") in problem
    assert "move it out of the staging" in problem


def test_damaged_day_stops_no_other(store: Store, receiver: Receiver, tmp_path: Path) -> None:
    """A file that cannot be read fails its day alone, whose events stay pending."""
    normalized(store, 10)
    normalized(store, 10, day=1, first=10)
    [file] = tmp_path.glob("normalized/account=alpha/date=2026-03-01/*.parquet")
    file.write_bytes(b"PAR1 or so")
    done = load(store, receiver.url("tcp", name="sensor"))
    assert (done.delivered, done.pending) == (10, 10)
    [problem] = done.problems
    assert str(file) in problem
    file.unlink()
    transform(store)
    assert load(store, receiver.url("tcp", name="sensor")).delivered == 10


def test_what_is_foreign_hides_no_failure(store: Store, tmp_path: Path) -> None:
    """What failed for another reason is said beside what is foreign."""
    events = normalized(store, 4)
    (tmp_path / "normalized" / "backup").mkdir()
    with RejectingReceiver(lambda offered: events[2] not in offered) as receiver:
        [problem] = load(store, receiver.url()).problems
    assert "'normalized/backup'" in problem
    assert "1 event failed: " in problem
