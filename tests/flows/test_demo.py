"""`halo-usm demo`: it shows the whole thing, ends by itself, and leaves nothing running."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pandas as pd

from tests.flows.command import Command

if TYPE_CHECKING:
    from pathlib import Path


def test_the_demo_shows_what_came_and_leaves_nothing_running(tmp_path: Path) -> None:
    """Exit code 0, a table, CEF lines, the Parquet it tells of; no process of it stays."""
    result = Command(tmp_path)("demo")
    assert "3,000 messages reached the receiver" in result.stdout
    assert result.stdout.count("CEF:0|CloudPassage|CPHalo|1.0|") == 3
    assert len(pd.read_parquet(tmp_path / "data" / "demo" / "normalized")) == 3_000
    processes = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True)
    assert str(tmp_path) not in processes.stdout
    assert "halo-usm-demo-" not in processes.stdout
