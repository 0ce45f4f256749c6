"""Runs `halo-usm` as a user does: a process of its own, its exit code, what it prints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.flows.forked_commands import run_forked

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.halo_api import HaloStandIn, StandInProcess

ROOT = Path(__file__).parents[2]
EVENTS = 90  # of the stand-in that tests share
_PROGRESS = re.compile(r"\w+ \w+: \d+ of \d+")


@dataclass
class Command:
    """The command line in a working folder, with settings in the environment.

    Attributes:
        folder: The working folder.
        settings: Environment variables by name; none of this process's own settings are passed.
        program: What Python is to run.
    """

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = ("-m", "flows")

    @property
    def environment(self) -> dict[str, str]:
        """What a command finds in its environment."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HALO_", "USM_", "PREFECT_"))
        }
        own = {"PYTHONPATH": str(ROOT), "PREFECT_SERVER_EPHEMERAL_ENABLED": "false"}
        return kept | own | self.settings

    def popen(self, *arguments: str, stdout: Path | None = None) -> subprocess.Popen[str]:
        """Start a command; its output goes to a pipe, or to a file."""
        with stdout.open("wb") if stdout else nullcontext(subprocess.PIPE) as output:
            return subprocess.Popen(
                [sys.executable, *self.program, *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command that is to exit with `code`."""
        if self._may_fork:
            ended, out, err = run_forked([*self.program, *arguments], self.folder, self.environment)
        else:
            process = self.popen(*arguments)
            out, err = process.communicate()  # pytest ends what hangs
            ended = process.returncode
        assert ended == code, f"exit code {ended}\n{out}\n{err}"
        return subprocess.CompletedProcess(arguments, ended, out, err)

    @property
    def _may_fork(self) -> bool:
        """Whether no setting is read before a command begins, by Python or by Prefect.

        Of Prefect's, those of the server that tests share are the same for many commands.
        """
        early = [name for name in self.settings if name.startswith(("PREFECT_", "PYTHON"))]
        return self.program[0] != "-c" and (not early or "PREFECT_HOME" in early)

    def status(self) -> dict[str, Any]:
        """What `status --json` says."""
        answer: dict[str, Any] = json.loads(self("status", "--json").stdout)
        return answer


def command_for(
    folder: Path, halo: HaloStandIn | StandInProcess, sensor: str, *, days: int | None = None
) -> Command:
    """The command line with a stand-in for Halo and a sensor; the staging is `folder/staging`.

    Args:
        folder: The working folder.
        halo: The stand-in.
        sensor: The sensor's URL.
        days: So many days ago a first sync begins; without, where it does by default, and most
            of its time goes into days that have no events.
    """
    since = datetime.now(UTC) - timedelta(days=days or 0)
    return Command(
        folder,
        {
            "HALO_API_URL": halo.url,
            "HALO_AUTH_FILE": str(halo.write_auth(folder / "haloEvents.auth")),
            "HALO_STAGING": str(folder / "staging"),
            "USM_SENSOR": sensor,
        }
        | ({"HALO_START": since.isoformat()} if days else {}),
    )


def without_progress(said: str) -> list[str]:
    """The lines of standard error but those of steps that a busy machine makes slow."""
    return [line for line in said.splitlines() if not _PROGRESS.fullmatch(line)]


def wait_until(
    condition: Callable[[], object], process: subprocess.Popen[str] | None = None
) -> None:
    """Wait for something to become true, while a command runs if one is given."""
    until = time.monotonic() + 90
    while not condition():
        if process is not None:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
