"""`halo-usm demo`: it shows the whole thing, ends by itself, and leaves nothing running."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tests.flows.command import Command, wait_until
from tests.processes import TEST, left_of, started_with

if TYPE_CHECKING:
    from pathlib import Path


def test_the_demo_shows_what_came_and_leaves_nothing_running(tmp_path: Path) -> None:
    """Exit code 0, a table, CEF lines, the Parquet that it names; none of its processes stays."""
    mark = uuid.uuid4().hex
    result = Command(tmp_path, {TEST: mark})("demo")
    assert "3,000 messages reached the receiver" in result.stdout
    assert result.stdout.count("CEF:0|CloudPassage|CPHalo|1.0|") == 3
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
