"""Extracts in processes of their own, each ended by SIGKILL at one step of its work.

A step is anything that reaches disk or network: making, opening, renaming, removing, forcing to
disk, locking, connecting, sending. Reads jobs from standard input, a JSON object a line, and
answers each with a line: the steps that were taken, in order.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

# imported before any fork: a run then costs milliseconds
import pyarrow.parquet  # noqa: F401

from tasks.accounts import read_accounts
from tasks.extract.account import extract_account
from tasks.settings import Settings
from tasks.staging.store import open_store

FILES = {"open", "os.rename", "os.remove", "os.mkdir", "os.scandir"}
OTHERS = {"socket.connect", "fcntl.flock"}


class Steps:
    """Counts steps, notes them in a file, and ends the process at one of them.

    Args:
        folder: Files elsewhere are no steps.
        last: The number of the step to end at, before it is taken; 0 for none.
        notes: Where steps are noted.
    """

    def __init__(self, folder: str, last: int, notes: Path) -> None:
        self._folder = folder
        self._last = last
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._numbers = itertools.count(1)

    def take(self, step: str) -> None:
        """Take a step, or end."""
        os.write(self._notes, f"{step}\n".encode())
        if next(self._numbers) == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook (PEP 578)."""
        if event in OTHERS or (event in FILES and str(arguments[0]).startswith(self._folder)):
            self.take(event)

    def watch(self) -> None:
        """Hear of every step from now on."""
        fsync, send = os.fsync, socket.socket.send

        def heard_fsync(fd: Any) -> None:
            self.take("fsync")
            fsync(fd)

        def heard_send(self_: socket.socket, *arguments: Any) -> int:
            self.take("send")
            return send(self_, *arguments)

        os.fsync = heard_fsync
        socket.socket.send = heard_send  # type: ignore[assignment,method-assign]
        sys.addaudithook(self.hear)


def run(job: dict[str, Any]) -> None:
    """Extract as a job says."""
    now = datetime.fromisoformat(job["now"])
    given: dict[str, Any] = {"halo_api_url": job["url"], "halo_start": job["start"]}
    settings = Settings(**given)
    account = read_accounts(Path(job["auth"]))[0]
    store = open_store(job["staging"])
    Steps(job["staging"], job["last"], Path(job["notes"])).watch()
    result = extract_account(store, account, settings, run_id="run", clock=lambda: now)
    if result.problems:
        raise RuntimeError(result.problems)


def main() -> None:
    """Do jobs, each in a fork, until there are none."""
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            run(job)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ended = os.waitstatus_to_exitcode(status)
        steps = Path(job["notes"]).read_text("utf-8").splitlines()
        print(json.dumps({"ended": ended, "steps": steps}), flush=True)


if __name__ == "__main__":
    main()
