"""`halo-usm demo`: it shows the whole thing, ends by itself, and leaves nothing running."""

from __future__ import annotations

import re
import shutil
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pandas as pd
import pytest

from flows.cli.demo import fresh_folder
from tests.flows.command import Command, wait_until
from tests.processes import TEST, left_of, started_with

if TYPE_CHECKING:
    from pathlib import Path


def test_the_demo_shows_what_came_and_leaves_nothing_running(tmp_path: Path) -> None:
    """Exit code 0, a table, CEF lines, the Parquet that it names; none of its processes stays."""
    mark = uuid.uuid4().hex
    process = Command(tmp_path, {TEST: mark}).popen("demo")
    out, err = process.communicate(timeout=110)
    assert process.returncode == 0, err
    assert "3,000 messages reached the receiver" in out
    assert out.count("CEF:0|CloudPassage|CPHalo|1.0|") == 3
    assert len(pd.read_parquet(tmp_path / "data" / "demo" / "normalized")) == 3_000
    assert not started_with(TEST, mark)


@pytest.mark.parametrize(
    "moment", ["its server starts", pytest.param("it syncs", marks=pytest.mark.soak)]
)
def test_a_demo_that_is_killed_leaves_nothing_running(tmp_path: Path, moment: str) -> None:
    """Neither its servers nor its sync outlive it."""
    mark = uuid.uuid4().hex
    process = Command(tmp_path, {TEST: mark}).popen("demo", stdout=tmp_path / "out")
    if moment == "it syncs":
        staging = tmp_path / "data" / "demo"
        wait_until(lambda: [*staging.rglob("*.parquet")], process)
    else:
        wait_until(lambda: len(started_with(TEST, mark)) > 1, process)
    process.kill()
    process.communicate(timeout=60)
    assert not left_of(TEST, mark)


@pytest.mark.soak
def test_a_live_demo_runs_by_its_schedule_until_it_is_ended(tmp_path: Path) -> None:
    """Scheduled runs deliver, a replay by the form does, and SIGTERM leaves nothing running."""
    mark = uuid.uuid4().hex
    shown = tmp_path / "out"
    process = Command(tmp_path, {TEST: mark}).popen("demo", "--live", stdout=shown)

    def arrived() -> int:
        counts = re.findall(r" ([\d,]+) in all; last: CEF:", shown.read_text())
        return int(counts[-1].replace(",", "")) if counts else 0

    wait_until(lambda: "What arrives" in shown.read_text(), process)
    wait_until(lambda: arrived() >= 3_000, process)
    scheduled = arrived()
    wait_until(lambda: arrived() > scheduled, process)
    [pages] = re.findall(r"(http://\S+)/deployments", shown.read_text())
    with httpx.Client(base_url=f"{pages}/api") as api:
        found = api.get("/deployments/name/replay/replay").json()
        since = (datetime.now(UTC) - timedelta(days=4)).isoformat()
        asked = {"parameters": {"since": since, "only": "all"}}
        api.post(f"/deployments/{found['id']}/create_flow_run", json=asked).raise_for_status()
    wait_until(lambda: arrived() >= scheduled + 3_000, process)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not started_with(TEST, mark)


def test_a_demo_empties_only_what_one_that_has_ended_made(in_folder: Path) -> None:
    """Not the staging of a demo that still runs, nor a folder of another origin."""
    ours = in_folder / "data" / "demo"
    with ExitStack() as running:
        assert fresh_folder(running) == ours
        (ours / "raw").mkdir()
        with ExitStack() as second:
            other = fresh_folder(second)
            assert other != ours
        assert (ours / "raw").exists()
    shutil.rmtree(other)
    with ExitStack() as next_one:
        assert fresh_folder(next_one) == ours
        assert not (ours / "raw").exists()
    shutil.rmtree(ours)
    (ours / "raw").mkdir(parents=True)
    with ExitStack() as last:
        other = fresh_folder(last)
    assert (ours / "raw").exists()
    shutil.rmtree(other)
