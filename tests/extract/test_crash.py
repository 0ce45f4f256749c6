"""An extraction that is killed anywhere and started again leaves raw exact."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import odd_events
from tests.extract.harness import MINUTE, NOW, START, Harness, event, events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.halo_api import HaloStandIn


class Killer:
    """Runs extractions in other processes, killed at a step."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.extract.crash_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def extract(self, harness: Harness, last: int) -> list[str]:
        """Extract alpha's events, killed at step `last`; the steps that were begun."""
        notes = harness.folder / f"steps-{last}"
        harness.account()
        job = {
            "url": harness.halo.url,
            "auth": str(harness.folder / "haloEvents.auth"),
            "staging": str(harness.folder / "data"),
            "now": harness.halo.clock.now().isoformat(),
            "start": START.isoformat(),
            "last": last,
            "notes": str(notes),
        }
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert answer["ended"] in {0, -signal.SIGKILL}
        steps: list[str] = answer["steps"]
        return steps

    def end(self) -> None:
        """End the process that forks."""
        self._process.communicate()


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    """Ends extractions."""
    process = Killer()
    yield process
    process.end()


def first_sync(halo: HaloStandIn, base: Harness) -> None:
    """Nothing is staged, some events are malformed, one day is split."""
    del base
    halo["alpha"].add(events(700, START, NOW))
    halo["alpha"].add(odd_events.malformed(START + MINUTE).values(), created_at=START + MINUTE)


def later_sync(halo: HaloStandIn, base: Harness) -> None:
    """Much is staged; late events lie on both sides of midnight, others are new."""
    midnight = NOW.replace(hour=0)
    halo.clock.set(midnight + MINUTE)
    halo["alpha"].add(events(200, START, midnight - timedelta(hours=3)))
    for _ in range(2):
        base.sync()
        halo.clock.advance(4 * MINUTE)
    late = [event(1000, midnight - 2 * MINUTE), event(1001, midnight + 2 * MINUTE)]
    halo["alpha"].add([*late, event(1002, midnight + 7 * MINUTE)])
    halo["alpha"].add(odd_events.malformed(midnight).values(), created_at=midnight)


def quiet_sync(halo: HaloStandIn, base: Harness) -> None:
    """Nothing is new; a window without events takes the place of others."""
    for _ in range(3):
        base.sync()
        halo.clock.advance(5 * MINUTE)


SCENES = {"first": first_sync, "later": later_sync, "quiet": quiet_sync}


def kill_and_finish(killer: Killer, base: Harness, last: int) -> list[str]:
    """On a copy of the staging: extract up to a step, then finish, and look."""
    folder = base.folder / f"killed-{last}"
    folder.mkdir()
    if (base.folder / "data").exists():
        shutil.copytree(base.folder / "data", folder / "data")
    harness = Harness(base.halo, folder)
    steps = killer.extract(harness, last)
    result = harness.sync()
    assert result.problems == []
    staged = {row["event_id"]: row["event"].encode() for row in harness.raw()}
    assert len(staged) == len(harness.raw())
    apart = [row["event"].encode() for row in harness.rejected()]
    listed = set(base.halo["alpha"].visible())
    assert set(staged.values()) | set(apart) == listed
    assert len(staged) + len(apart) == len(listed)
    assert harness.coverage()[0].until == base.halo.clock.now()
    assert list((folder / "data" / ".tmp").glob("*")) == []
    shutil.rmtree(folder)
    return steps


@pytest.fixture(params=SCENES)
def base(request: pytest.FixtureRequest, halo: HaloStandIn, harness: Harness) -> Harness:
    """A staging before the extraction that will be killed."""
    SCENES[request.param](halo, harness)
    return harness


def test_a_crash_at_one_step_of_each_kind_costs_nothing(killer: Killer, base: Harness) -> None:
    """Killed at a file operation or request of each kind, and finished: raw is exact."""
    steps = kill_and_finish(killer, base, 0)
    assert {"open", "os.rename", "fsync", "send", "fcntl.flock"} <= set(steps)
    for kind in set(steps):
        numbers = [number for number, step in enumerate(steps, 1) if step == kind]
        kill_and_finish(killer, base, numbers[len(numbers) // 2])


@pytest.mark.soak
def test_a_crash_at_any_step_costs_nothing(killer: Killer, base: Harness) -> None:
    """Killed at every single file operation and request, one after the other: raw is exact."""
    steps = kill_and_finish(killer, base, 0)
    for last in range(1, len(steps) + 1):
        kill_and_finish(killer, base, last)
