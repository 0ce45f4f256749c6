"""A Dask scheduler and workers on loopback, each a process of its own that may be killed."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LEASE_SECONDS = 6
_SHORT_LEASES = f"from tasks.staging.storage import lease\nlease.SECONDS = {LEASE_SECONDS}\n"


class DaskCluster:
    """A scheduler and its workers, whose leases are short.

    Args:
        folder: Where logs go.
        environment: Of the workers.
        threads: Of each worker.

    Attributes:
        address: The scheduler's.
        workers: The processes that were started, oldest first.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], threads: int = 2) -> None:
        self._folder = folder
        self._environment = environment
        self._threads = threads
        (folder / "short_leases.py").write_text(_SHORT_LEASES)
        self.workers: list[subprocess.Popen[bytes]] = []
        command = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
        self.scheduler = self._start("scheduler", *command, "--no-dashboard", "--no-jupyter")
        self.address = self._wait_for("scheduler", r"Scheduler at: +(tcp://\S+)")

    def _start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def log(self, name: str) -> str:
        """What the scheduler or a worker has said."""
        return (self._folder / f"{name}.log").read_text("utf-8", "replace")

    def _wait_for(self, name: str, pattern: str) -> str:
        until = time.monotonic() + 90
        while not (found := re.search(pattern, self.log(name))):
            assert time.monotonic() < until, self.log(name)
            time.sleep(0.1)
        return found.group(found.re.groups)

    def start_workers(self, count: int, *, nanny: bool = False) -> None:
        """Start so many more workers, and wait until the scheduler knows them.

        With a nanny, as Dask does by default, the worker is a child of the process.
        """
        names = [f"worker-{len(self.workers) + number}" for number in range(count)]
        for name in names:
            command = ["-m", "distributed.cli.dask_worker", self.address, "--no-dashboard"]
            command += ["--nthreads", str(self._threads), "--preload", "short_leases.py"]
            command += ["--nanny" if nanny else "--no-nanny"]
            command += ["--local-directory", str(self._folder / name)]
            self.workers.append(self._start(name, *command))
        for name in names:
            self._wait_for(name, r"Registered to: ")

    def end(self) -> None:
        """Kill all that still runs."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@contextmanager
def dask_cluster(
    folder: Path, environment: Mapping[str, str], *, workers: int = 2, threads: int = 2
) -> Iterator[DaskCluster]:
    """A scheduler with workers, in a folder of their own."""
    folder.mkdir(exist_ok=True)
    cluster = DaskCluster(folder, environment, threads)
    try:
        cluster.start_workers(workers)
        yield cluster
    finally:
        cluster.end()
