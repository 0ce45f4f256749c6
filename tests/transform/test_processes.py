"""Large transforms have processes of their own: same rows, and nothing is lost with a process."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.halo_api import HaloStandIn
from tasks.transform import processes
from tasks.transform.account import TransformResult, transform_account
from tests.flows.command import command_for, wait_until
from tests.flows.test_stop import stage_many
from tests.staging.staged_data import at, broken, ids, read, realistic, stage, transform, window

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.staging.store import Store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
DAYS = 5


def normalizers(parent: int) -> list[int]:
    """The processes that a process has started to normalize."""
    found = []
    for tasks in Path(f"/proc/{parent}/task").glob("*/children"):
        with suppress(OSError):  # it ended meanwhile
            found += [int(number) for number in tasks.read_text().split() if is_normalizer(number)]
    return found


def is_normalizer(process: int | str) -> bool:
    """Whether a process that normalizes runs under this number."""
    with suppress(OSError):
        return b"tasks.transform.normalizer" in Path(f"/proc/{process}/cmdline").read_bytes()
    return False


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little there is to do and however few processors, two processes do it."""
    monkeypatch.setattr(processes, "ENOUGH_ROWS", 0)
    monkeypatch.setattr(processes, "_room", lambda: 2)


@pytest.fixture
def staged(store: Store) -> Store:
    """Raw files of some days; two of the events cannot be normalized."""
    for day in range(DAYS):
        events = realistic(300, at(0, day), at(24, day))
        first = events["event_id"][0].as_py()
        stage(store, window(0, 24, day), broken(events, first) if day < 2 else events)
    return store


def transformed(store: Store, meanwhile: Callable[[], None]) -> TransformResult:
    """Transform the account; something is done after each file."""
    return transform_account(
        store,
        "alpha",
        device_address="192.0.2.1",
        run_id="run",
        progress=lambda *_: meanwhile(),
    )


def test_a_few_events_start_no_process(staged: Store) -> None:
    """The usual sync pays nothing for what a large one gains."""
    seen: list[int] = []
    done = transformed(staged, lambda: seen.extend(normalizers(os.getpid())))
    assert (done.files, seen) == (DAYS, [])


def test_same_rows(staged: Store, several: None) -> None:
    """Processes, which end with the transform, make the same rows; normalizing anew, too."""
    seen: set[int] = set()
    done = transformed(staged, lambda: seen.update(normalizers(os.getpid())))
    assert (done.files, done.rejected, done.problems) == (DAYS, 2, [])
    assert len(seen) == 2
    assert not any(map(is_normalizer, seen))
    rows = read(staged, "normalized").drop(["file"])
    with pytest.MonkeyPatch.context() as alone:
        alone.setattr(processes, "_room", lambda: 1)
        again = transform(staged, anew=window(0, 24 * DAYS))
    assert (again.files, again.unknown_types) == (DAYS, done.unknown_types)
    assert read(staged, "normalized").drop(["file"]).equals(rows)
    assert transform(staged, anew=window(0, 24 * DAYS)).files == DAYS
    assert read(staged, "normalized").drop(["file"]).equals(rows)
    assert len(read(staged, "rejected")) == 2


def test_processes_that_are_killed_lose_nothing(staged: Store, several: None) -> None:
    """What they had in hand is normalized by the process that started them, which says so."""
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(0.01):
            for process in normalizers(os.getpid()):
                os.kill(process, signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    try:
        done = transform(staged)
    finally:
        ended.set()
        killing.join()
    assert (done.files, done.rejected, done.problems) == (DAYS, 2, [])
    assert any("ended too soon (signal 9)" in warning for warning in done.warnings)
    assert len(ids(staged, "normalized")) == 300 * DAYS - 2


def test_no_process_can_be_started(
    staged: Store, several: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the transform does it all itself."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    done = transformed(staged, lambda: None)
    assert (done.files, done.normalized, done.problems) == (DAYS, 300 * DAYS - 2, [])


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_ends_early(tmp_path: Path, number: signal.Signals) -> None:
    """Its processes end with it, whatever ends it, and the next command does the rest."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for day in (1, 2):
        stage_many(tmp_path, today - timedelta(days=day), 60_000)
    with HaloStandIn(accounts=1) as halo:
        halo_usm = command_for(tmp_path, halo, "tcp://127.0.0.1:9", days=5)
    process = halo_usm.popen("transform")
    wait_until(lambda: len(normalizers(process.pid)) > 1, process)
    started = normalizers(process.pid)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGTERM else -number)
    assert "Traceback" not in err
    wait_until(lambda: not any(map(is_normalizer, started)))
    halo_usm("transform")
    since = f"{today - timedelta(days=3):%Y-%m-%d}"
    found = json.loads(halo_usm("audit", "--since", since, "--json", code=0).stdout)
    assert (found["consistent"], found["normalized"]) == (True, 120_000)
    assert list((tmp_path / "staging" / ".tmp").glob("*")) == []
