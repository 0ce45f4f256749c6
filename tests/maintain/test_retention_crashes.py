from __future__ import annotations

import shutil
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tasks.maintain.maintenance_run import MaintenanceRun
from tasks.maintain.retention import Rules, drop_account
from tasks.reports.audit import audit_range
from tasks.reports.status import status
from tasks.staging.coverage import read_coverage
from tasks.staging.store import open_store
from tests.load.helpers import load, replay
from tests.maintain.aged import DAYS, KEPT, NOW, age, iso, maintain
from tests.reports.shown import shown
from tests.staging.crashing import start
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import broken, ids, raw, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Work = Callable[[str, str], None]

ALL = window(0, 24 * DAYS)
OLD = DAYS - KEPT


def all_of_it(folder: str, url: str) -> None:
    """The maintenance that is killed: days in two steps, then ledgers, too."""
    store = open_store(folder)
    maintain(store, url, days=DAYS - 1, ledger_days=400)
    maintain(store, url, days=KEPT, ledger_days=DAYS - 1)


def drop(folder: str, url: str) -> None:
    """Retention alone."""
    run = MaintenanceRun(open_store(folder), "alpha", [destination(url)], NOW)
    for rules in (Rules(DAYS - 1, 400), Rules(KEPT, DAYS - 1)):
        assert drop_account(run, rules).problems == []


def prepare(folder: Path, receiver: RejectingReceiver) -> None:
    """A staging with rejected events, events that came late, and files of an older generation."""
    store = open_store(str(folder))
    age(store)
    late = [(f"bad-{day}", window(5, 6, day).since) for day in range(DAYS)]
    for day, event in enumerate(late):
        stage(store, window(0, 24, day), broken(raw([event]), event[0]))
    transform(store)
    transform(store, anew=window(0, 24))
    load(store, receiver.url())


def state(folder: Path) -> dict[str, Any]:
    """What is staged and known of the account alpha."""
    store = open_store(str(folder))
    known = read_coverage(store, "alpha")
    return {
        "dropped": known.dropped,
        "covered": known.covered,
        "status": shown(status(store)),
        "raw": ids(store, "raw"),
        "rejected": ids(store, "rejected"),
        # loads note that nothing is left where sums do not show it
        "files": sorted(
            path.parent.name
            for path in folder.rglob("date=*/*.parquet")
            if not path.name.startswith("settled-")
        ),
    }


def die_and_go_on(
    source: Path, folder: Path, step: int, receiver: RejectingReceiver, work: Work
) -> None:
    """Kill work at a step: all agrees then, and after what else runs; the next time it goes on."""
    shutil.copytree(source, folder)
    url = receiver.url()
    child = start(folder, url, step, None, work)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    store = open_store(str(folder))
    sent = len(receiver.received)
    for _ in range(2):
        audit = audit_range(store, ALL, [destination(url)])
        assert audit.problems == []
        assert audit.destinations["rejecting"].pending == 0
        now = status(store, [destination(url)])
        assert now.destinations["rejecting"].delivered == audit.destinations["rejecting"].delivered
        counts = now.accounts["alpha"]
        assert (counts.staged, counts.gaps) == (counts.normalized + counts.rejected, [])
        assert not [note for note in transform(store).notes if "staged no longer" in note]
        assert load(store, url).tried == 0
    work(str(folder), url)
    assert len(receiver.received) == sent
    known = state(folder)
    expected = state(source.parent / "whole")
    assert known == expected, step


def kinds(folder: Path, receiver: RejectingReceiver, work: Work) -> list[str]:
    """What work does, step by step, in a staging of its own."""
    prepare(folder / "source", receiver)
    shutil.copytree(folder / "source", folder / "whole")
    record = folder / "kinds"
    child = start(folder / "whole", receiver.url(), None, record, work)
    child.join()
    assert child.exitcode == 0
    assert state(folder / "whole")["status"]["accounts"]["alpha"]["dropped"] == [[iso(0), iso(OLD)]]
    return record.read_text().splitlines()


def test_one_death_of_each_kind(tmp_path: Path) -> None:
    """Killed at one operation of each kind, retention drops the rest the next time."""
    with RejectingReceiver(lambda _: True) as receiver:
        steps: dict[str, list[int]] = {}
        for step, kind in enumerate(kinds(tmp_path, receiver, drop)):
            steps.setdefault(kind, []).append(step)
        assert {"os.rename raw/*.parquet", "os.remove normalized/*.parquet"} <= steps.keys()
        for of_kind in steps.values():
            step = of_kind[len(of_kind) // 2]
            die_and_go_on(tmp_path / "source", tmp_path / str(step), step, receiver, drop)


@pytest.mark.soak
def test_every_death(tmp_path: Path) -> None:
    """So it is with all of a maintenance, at any operation whatever."""
    with RejectingReceiver(lambda _: True) as receiver:
        for step in range(len(kinds(tmp_path, receiver, all_of_it))):
            die_and_go_on(tmp_path / "source", tmp_path / str(step), step, receiver, all_of_it)


def test_beside_other_runs(tmp_path: Path) -> None:
    """Beside syncs, loads, replays and audits nothing is lost, sent anew or counted twice."""
    with RejectingReceiver(lambda _: True) as receiver:
        prepare(tmp_path, receiver)
        store, url = open_store(str(tmp_path)), receiver.url()
        over = threading.Event()
        found: list[str] = []

        def others() -> None:
            while not over.is_set():
                transform(store, anew=ALL)
                found.extend(transform(store).problems)
                done = replay(store, url, ALL, "all", wait=30)
                found.extend(text for text in done.problems if "no longer staged" not in text)
                found.extend(load(store, url).problems)
                found.extend(audit_range(store, ALL, [destination(url)]).problems)

        thread = threading.Thread(target=others)
        thread.start()
        try:
            dropped = [maintain(store, url, days=days) for days in (DAYS - 1, KEPT)]
        finally:
            over.set()
            thread.join()
        assert sum(done.days_dropped for done in dropped) == OLD
        assert [text for done in dropped for text in done.problems] + found == []
        assert audit_range(store, ALL, [destination(url)]).consistent
        assert load(store, url).tried == 0
