"""What the page about Prefect says beyond the README's commands."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.documented_commands import blocks
from tests.documents import README, ROOT
from tests.flows.prefect_api import ask

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "prefect.md"


def test_its_other_commands_work(tmp_path: Path, server: dict[str, str]) -> None:
    """They add the types of our blocks to the server."""
    of_the_readme = {line for block in blocks(README) for line in block.prefect_lines}
    found = [block for block in blocks(PAGE) if not block.reason]
    lines = [line for block in found for line in block.prefect_lines if line not in of_the_readme]
    assert lines
    (tmp_path / ".venv").symlink_to(sys.prefix)
    subprocess.run(
        ["sh", "-e", "-c", "\n".join(lines)], cwd=tmp_path, env=os.environ | server, check=True
    )
    assert {"halo-account", "usm-sensor"} <= {row["slug"] for row in ask(server, "block_types")}
