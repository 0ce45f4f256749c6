"""The shell blocks of the documentation, which tests run as they are written.

A block that cannot run here has a paragraph right before it that begins with `Not run by the
tests:` and says why.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from tests.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = re.compile(r"^( *)```sh\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_NOT_RUN = re.compile(r"\*Not run by the tests: (.+)\*", re.DOTALL)
_OF_PREFECT = re.compile(r"export PREFECT_|.*bin/prefect ")
"""Lines that need a Prefect server: `tests/flows/test_deployments.py` runs those of the README,
`tests/flows/test_prefect_page.py` the others."""
_UNTIL_STOPPED = re.compile(r".*(?:jupyter|python -m sandbox\.)")
"""Lines of the README that go on until they are stopped, or prepare them. The sandbox's programs
are started by `tests/sandbox/test_programs.py`, the notebooks run by `tests/test_notebook.py`."""
_OF_MAKE = re.compile(r"make \w+")


class Block(NamedTuple):
    """A shell block of a page.

    Attributes:
        reason: Why it is not run by the tests; "" where it is.
    """

    text: str
    reason: str

    @property
    def make_targets(self) -> list[str]:
        """What it makes."""
        return [line.split()[1] for line in self.text.splitlines() if _OF_MAKE.match(line)]

    @property
    def prefect_lines(self) -> list[str]:
        """What of it needs a Prefect server."""
        return [line for line in self.text.splitlines() if _OF_PREFECT.match(line)]

    @property
    def script(self) -> str:
        """What of it runs in a folder of its own."""
        lines = self.text.splitlines()
        elsewhere = (_OF_MAKE, _OF_PREFECT, _UNTIL_STOPPED)
        return "\n".join(
            line for line in lines if not any(pattern.match(line) for pattern in elsewhere)
        )


def blocks(page: Path) -> list[Block]:
    """The shell blocks of a page, in order."""
    text = page.read_text("utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        before = text[: match.start()].rstrip().rpartition("\n\n")[2]
        excused = _NOT_RUN.fullmatch(textwrap.dedent(before).strip())
        reason = " ".join(excused[1].split()) if excused else ""
        found.append(Block(textwrap.dedent(match[2]), reason))
    return found


def run(page: Path, folder: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the blocks of a page, in order, in one shell.

    Args:
        page: The page.
        folder: A folder of its own, in which it finds what a clone of the project has.
        settings: Environment variables; they win over what the page writes into `.env`.
    """
    (folder / ".venv").symlink_to(sys.prefix)
    for name in ("haloEvents.auth", ".env", "sensor-ca.pem"):
        (folder / name).touch()
    (folder / "deployments").symlink_to(ROOT / "deployments")
    (folder / "data").mkdir()
    (folder / "data" / "sample").symlink_to(ROOT / "data" / "sample")
    ended = subprocess.run(
        ["sh", "-e", "-c", script(page)],
        cwd=folder,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


def script(page: Path) -> str:
    """What of a page can run in a folder of its own; "" where there is nothing."""
    return "\n".join(block.script for block in blocks(page) if not block.reason).strip()
