from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest

from tasks.load.destination import load_destination
from tasks.load.replay import replay_destination
from tasks.reports.audit import RangeCounts, audit_range
from tasks.staging.coverage import read_coverage
from tasks.staging.store import open_store
from tests.staging.crashing import BATCH, EVENTS, LATE, REJECTED, pipeline, start
from tests.staging.rejecting_receiver import RejectingReceiver, ids_in
from tests.staging.staged_data import ids, normalized, read, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from pathlib import Path

ALL = sorted(event_id for event_id, _ in [*EVENTS, LATE])


def check(folder: Path, receiver: RejectingReceiver, connections: int = 1) -> None:
    """Whatever happened, everything is exact now, and a batch a connection at most came twice."""
    store = open_store(str(folder))
    assert ids(store, "raw") == ALL
    assert ids(store, "normalized") == [event_id for event_id in ALL if event_id != REJECTED]
    assert ids(store, "rejected") == sorted([REJECTED, "no date", "dated"])
    assert read_coverage(store, "alpha").covered == [window(2, 6)]
    found = audit_range(store, window(0, 24), [destination(receiver.url(batch=BATCH))])
    assert found.problems == []
    assert found.destinations["rejecting"] == RangeCounts(len(ALL) - 1, pending=0, failed=0)
    received = Counter(receiver.received)
    assert sorted(received) == ids(store, "normalized")
    assert received.total() - len(received) <= BATCH * connections
    last = {
        row["event_id"]: row["status"]
        for row in read(store, "deliveries", destination="rejecting").to_pylist()
    }
    assert set(last.values()) == {"confirmed"}
    assert list((folder / ".tmp").iterdir()) == []


def kinds(folder: Path, connections: int) -> list[str]:
    """What the pipeline does, step by step."""
    record = folder / "kinds"
    (folder / "whole").mkdir()
    with RejectingReceiver(lambda _: True) as receiver:
        url = receiver.url(batch=BATCH, connections=connections)
        child = start(folder / "whole", url, None, record)
        child.join()
        assert child.exitcode == 0
        check(folder / "whole", receiver)
    return record.read_text().splitlines()


def die_and_go_on(folder: Path, step: int, connections: int) -> bool:
    """Kill the pipeline at a step, run it again to its end, and check; whether it was killed.

    Batches are made ready in threads, and so not every run takes as many steps.
    """
    folder.mkdir()
    with RejectingReceiver(lambda _: True) as receiver:
        url = receiver.url(batch=BATCH, connections=connections)
        child = start(folder, url, step)
        child.join()
        assert child.exitcode in {-signal.SIGKILL, 0}
        pipeline(str(folder), url)
        check(folder, receiver, connections)
        return child.exitcode != 0


@pytest.mark.parametrize("connections", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_one_death_of_each_kind(tmp_path: Path, connections: int) -> None:
    """Killed at one operation of each kind, a pipeline that runs again is exact."""
    steps: dict[str, list[int]] = {}
    for step, kind in enumerate(kinds(tmp_path, connections)):
        steps.setdefault(kind, []).append(step)
    assert {"sent", "os.rename raw/*.parquet", "os.remove normalized/*.parquet"} <= steps.keys()
    middle = [of_kind[len(of_kind) // 2] for of_kind in steps.values()]
    killed = [die_and_go_on(tmp_path / str(step), step, connections) for step in middle]
    assert sum(killed) > 0.8 * len(killed)


@pytest.mark.soak
@pytest.mark.parametrize("connections", [1, 2])
def test_every_death(tmp_path: Path, connections: int) -> None:
    """Killed at any operation whatever, a pipeline that runs again is exact."""
    steps = range(len(kinds(tmp_path, connections)))
    killed = [die_and_go_on(tmp_path / str(step), step, connections) for step in steps]
    assert sum(killed) > 0.8 * len(killed)


def test_two_processes_at_once(tmp_path: Path) -> None:
    """Two pipelines at once on one staging stage, normalize and send everything once."""
    with RejectingReceiver(lambda _: True) as receiver:
        url = receiver.url(batch=BATCH)
        children = [start(tmp_path, url) for _ in range(2)]
        for child in children:
            child.join()
            assert child.exitcode == 0
        pipeline(str(tmp_path), url)
        check(tmp_path, receiver)
        assert len(receiver.received) == len(set(receiver.received)), "nobody died: nothing twice"


def deliver_to_a_mortal(folder: Path, kills: int, connections: int = 1) -> None:
    """Deliver to a receiver that is killed and started again so many times; check what came."""
    store = open_store(str(folder / "staging"))
    expected = set(normalized(store, 1400))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sensor = destination(
        f"tcp://127.0.0.1:{port}?name=mortal&batch=20&timeout=2&connections={connections}"
    )
    received = folder / "received"
    command = [sys.executable, "-m", "tests.staging.killable_receiver", str(port), str(received)]
    random = Random(kills)
    over = threading.Event()

    killed = 0

    def live_and_die() -> None:
        nonlocal killed
        while killed < kills and not over.is_set():
            with subprocess.Popen(command) as mortal:
                over.wait(0.15 + random.random() * 0.1)
                mortal.kill()
            killed += 1
        with subprocess.Popen(command) as mortal:
            over.wait()
            mortal.kill()

    life = threading.Thread(target=live_and_die)
    life.start()
    try:
        while killed < kills:
            load_destination(store, sensor, run_id="run", pauses=(0.02, 0.1))
            replay_destination(
                store, sensor, window(0, 24), only="all", run_id="run", pauses=(0.02, 0.1)
            )
        done = load_destination(store, sensor, run_id="run", pauses=(0.2, 2.0))
    finally:
        over.set()
        life.join()
    assert (done.pending, done.problems) == (0, [])
    # what a kill cut off in the middle of an id is no event of ours
    came = Counter(event_id for event_id in ids_in(received.read_bytes()) if event_id in expected)
    ledger = read(store, "deliveries", destination="mortal").to_pylist()
    confirmed = Counter(row["event_id"] for row in ledger if row["status"] == "confirmed")
    sent = confirmed + Counter(row["event_id"] for row in ledger if row["status"] == "unconfirmed")
    for event_id in expected:
        assert 1 <= confirmed[event_id] <= came[event_id], "all that is confirmed was read"
        assert came[event_id] <= sent[event_id], "and each repeat is on record"


def test_receiver_that_is_killed(tmp_path: Path) -> None:
    """A receiver killed while reading loses nothing, and nothing is confirmed it did not read."""
    deliver_to_a_mortal(tmp_path, 5)


@pytest.mark.soak
def test_receiver_that_is_killed_a_hundred_times(tmp_path: Path) -> None:
    """So it is a hundred times."""
    deliver_to_a_mortal(tmp_path, 100)
