"""Runs commands each in a process forked from one that has imported the modules already.

Half of the CPU time of a short command is imports. A fork is a process like another, with a working
folder, an environment, signals and an exit code of its own; only its imports were done before. What
they do is seen where commands are started anew, as by `Command.popen` and by the documentation's
shell blocks.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
_MODULES = (
    "flows.pipeline",
    "tasks.extract.account",
    "tasks.load.destination",
    "tasks.reports.audit",
    "tasks.reports.status",
    "tasks.transform.account",
)
_PREFECT = ("flows.cli.prefect_run", "flows.maintain", "flows.replay", "flows.sync")


@dataclass
class _Forker:
    """A process that has the modules, and the folder for its answers."""

    process: subprocess.Popen[str]
    folder: TemporaryDirectory[str]

    def run(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> tuple[int, str, str]:
        """The exit code, standard output and error of a command."""
        assert self.process.stdin
        assert self.process.stdout
        job = {"command": command, "folder": str(folder), "environment": environment}
        out, err = (Path(self.folder.name) / name for name in ("out", "err"))
        print(json.dumps(job | {"out": str(out), "err": str(err)}), file=self.process.stdin)
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return code, out.read_text("utf-8"), err.read_text("utf-8")

    def end(self) -> None:
        """Kill it, and a command that it runs."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        self.folder.cleanup()


_IDLE: dict[str, list[_Forker]] = {}
"""By the variables of Prefect."""


def run_forked(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> tuple[int, str, str]:
    """Run a module (`-m NAME …`) or a script to its end; its exit code, standard output and error.

    The environment's variables of Prefect are those that it reads as it is imported: a command
    with others is forked from another process.
    """
    of_prefect = {n: value for n, value in sorted(environment.items()) if n.startswith("PREFECT_")}
    idle = _IDLE.setdefault(json.dumps(of_prefect), [])
    forker = idle.pop() if idle else _start(environment)
    try:
        ended = forker.run(command, folder, environment)
    except BaseException:
        forker.end()
        raise
    idle.append(forker)
    return ended


def end_forkers() -> None:
    """End all that this process has started."""
    for idle in _IDLE.values():
        while idle:
            idle.pop().end()


def _start(environment: Mapping[str, str]) -> _Forker:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.forked_commands"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    return _Forker(process, TemporaryDirectory())


def _run(job: dict[str, Any]) -> None:
    """Do a job as if this process had been started for it."""
    os.environ.clear()
    os.environ.update(job["environment"])
    time.tzset()
    os.chdir(job["folder"])
    for number, path in ((0, os.devnull), (1, job["out"]), (2, job["err"])):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY
        file = os.open(path, flags)
        os.dup2(file, number)
        os.close(file)
    first, *others = job["command"]
    if first == "-m":
        sys.argv[1:] = others[1:]
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = job["command"]
        runpy.run_path(first, run_name="__main__")
    sys.exit()


def main() -> None:
    """Run commands, one after the other, until there are none."""
    from flows.cli.startup import import_aiohttp, start_lightly

    start_lightly()
    import_aiohttp()
    for name in _MODULES + (_PREFECT if "PREFECT_API_URL" in os.environ else ()):
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            answers.close()
            _run(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    main()
