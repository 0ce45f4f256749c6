"""A pipeline that ends by SIGKILL at the n-th thing it does to the disk or the network.

python -m tests.staging.crashing FOLDER SENSOR_URL
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.load.destination import load_destination
from tasks.staging.raw import stage_window
from tasks.staging.store import open_store
from tasks.syslog.sensor_url import parse_destinations
from tests.staging.staged_data import at, broken, malformed, raw, stage, transform, window

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerProcess

BATCH = 4
EVENTS = [(f"e{n}", at(2 + n / 12)) for n in range(12)]
LATE = ("late", at(2.01))
REJECTED = "e7"
MALFORMED = malformed(("no date", None, "{}"), ("dated", at(2.5), "{}"))

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_MUTATIONS = {"os.mkdir", "os.rename", "os.remove"}


def pipeline(folder: str, sensor: str) -> None:
    """Stage, normalize, normalize anew and load: every kind of write there is."""
    store = open_store(folder)
    events = broken(raw(EVENTS), REJECTED)
    stage_window(store, "alpha", window(2, 3), events, MALFORMED, "run", at(30))
    stage(store, window(3, 4))
    stage(store, window(4, 5))
    stage(store, window(2, 6), [*EVENTS, LATE])
    transform(store)
    transform(store, anew=window(2, 2.02))
    [destination] = parse_destinations(sensor, Path())
    load_destination(store, destination, run_id="run", pauses=(0.0, 0.0))


class _Deaths:
    """Counts what is done within a folder or to the network, and kills at a given number."""

    def __init__(self, folder: str, die_at: int | None, record: Path | None) -> None:
        self.folder = folder
        self.die_at = die_at
        self.record = record
        self.done = 0
        self.lock = threading.Lock()

    def install(self) -> None:
        fsync, deliver = os.fsync, _transport().deliver

        def counted_fsync(fd: int) -> None:
            self.step(f"fsync {self._kind(str(Path(f'/proc/self/fd/{fd}').readlink()))}")
            fsync(fd)

        def counted_deliver(transport: Any, messages: Any, connection: Any = None) -> Any:
            outcome = deliver(transport, messages, connection)
            self.step("sent")
            return outcome

        vars(os)["fsync"] = counted_fsync
        _transport().deliver = counted_deliver
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str) and path.startswith(self.folder) and flags & _WRITING:
                self.step(f"open {self._kind(path)}")
        elif event in {"socket.connect", "fcntl.flock"}:
            self.step(event)
        elif event in _MUTATIONS:
            path = arguments[1] if event == "os.rename" else arguments[0]
            self.step(f"{event} {self._kind(str(path))}")

    def _kind(self, path: str) -> str:
        """Which tree a path is in, and whether it is a file's."""
        tree, *below = path.removeprefix(self.folder).strip("/").split("/")
        return (
            f"{tree}/*.parquet" if path.endswith(".parquet") or (".tmp" in tree and below) else tree
        )

    def step(self, kind: str) -> None:
        with self.lock:
            if self.record is not None:
                with self.record.open("a") as kinds:
                    kinds.write(f"{kind}\n")
            if self.done == self.die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            self.done += 1


def _transport() -> Any:
    from tasks.syslog.tcp import TcpTransport

    return TcpTransport


def _die(
    folder: str, sensor: str, die_at: int | None, record: Path | None, work: Callable[..., None]
) -> None:
    _Deaths(folder, die_at, record).install()
    work(folder, sensor)


def start(
    folder: Path,
    sensor: str,
    die_at: int | None = None,
    record: Path | None = None,
    work: Callable[[str, str], None] = pipeline,
) -> ForkServerProcess:
    """Run the pipeline in a child that dies before its `die_at`-th operation, if it is to die.

    Each operation is recorded, a line each, where `record` is given; `work` is what is run.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.staging.crashing", "tasks.plugin.normalize"])
    child = context.Process(target=_die, args=(str(folder), sensor, die_at, record, work))
    child.start()
    return child
