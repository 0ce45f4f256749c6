from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from tasks.staging.store import open_store
from tests.maintain.days import BATCH, compact, dense_day, files, load, look
from tests.staging.crashing import start
from tests.staging.staged_data import at, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from pathlib import Path

    from tests.staging.rejecting_receiver import RejectingReceiver

TREES = {"raw": 1, "normalized": 1, "rejected": 2}
"""How many files a compacted day has; rejected ones are of two stages."""


def maintain(folder: str, sensor: str) -> None:
    """What is killed."""
    done = compact(open_store(folder), destination(sensor))
    assert done.problems == []
    assert (done.days, done.ledgers) == (2, 2)
    assert done.removed > 20


def prepare(folder: Path, receiver: RejectingReceiver) -> None:
    """A day of small files, and one that was compacted before events of it appeared late."""
    store, sensor = open_store(str(folder)), destination(receiver.url(batch=BATCH))
    dense_day(store, 1)
    load(store, sensor)
    assert compact(store, sensor).ledgers == 1
    stage(store, window(3, 9, 1), [("late-1", at(4, 1)), ("late-2", at(5, 1))])
    transform(store)
    dense_day(store, 0)
    assert load(store, sensor).delivered > BATCH


def kinds(folder: Path, template: Path, url: str) -> list[str]:
    """What a compaction does, step by step."""
    record = folder / "kinds"
    shutil.copytree(template, folder / "whole")
    child = start(folder / "whole", url, None, record, maintain)
    child.join()
    assert child.exitcode == 0
    return record.read_text().splitlines()


def die_and_go_on(folder: Path, template: Path, receiver: RejectingReceiver, step: int) -> None:
    """Kill a compaction at a step; look, run everything else once, and look again."""
    shutil.copytree(template, folder)
    store, sensor = open_store(str(folder)), destination(receiver.url(batch=BATCH))
    before = look(store, sensor, folder / "export")
    sent = len(receiver.received)
    child = start(folder, receiver.url(batch=BATCH), step, work=maintain)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert look(store, sensor, folder / "export") == before, "dead, nothing was done about it yet"
    assert transform(store).problems == []
    assert load(store, sensor).tried == 0
    stage(store, window(3, 9), [("after", at(3, 0))])
    transform(store)
    assert load(store, sensor).tried == 1
    after = look(store, sensor, folder / "export")
    assert compact(store, sensor).problems == []
    assert look(store, sensor, folder / "export") == after, "after the compaction"
    assert load(store, sensor).tried == 0
    assert receiver.received[sent:] == ["after"]
    for day in (0, 1):
        assert {tree: len(files(store, tree, day)) for tree in TREES} == TREES
        assert len(files(store, "deliveries", day, "rejecting")) == 1
    assert list((folder / ".tmp").iterdir()) == []


def test_one_death_of_each_kind(tmp_path: Path, receiver: RejectingReceiver) -> None:
    """Killed between two of its renames, a compaction loses and doubles nothing for anyone."""
    template = tmp_path / "template"
    prepare(template, receiver)
    steps: dict[str, list[int]] = {}
    for step, kind in enumerate(kinds(tmp_path, template, receiver.url(batch=BATCH))):
        steps.setdefault(kind, []).append(step)
    for kind in ("rename normalized", "rename raw", "rename deliveries", "remove raw"):
        of_kind = steps[f"os.{kind}/*.parquet"]
        step = of_kind[len(of_kind) // 2]
        die_and_go_on(tmp_path / str(step), template, receiver, step)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_every_death(tmp_path: Path, receiver: RejectingReceiver) -> None:
    """So it does at any operation whatever."""
    template = tmp_path / "template"
    prepare(template, receiver)
    for step in range(len(kinds(tmp_path, template, receiver.url(batch=BATCH)))):
        die_and_go_on(tmp_path / str(step), template, receiver, step)
        shutil.rmtree(tmp_path / str(step))
