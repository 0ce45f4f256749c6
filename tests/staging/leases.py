"""Leases of a staging, and another process that holds one."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from pyarrow import fs

from tasks.errors import InUseError
from tasks.staging.storage.conditional_objects import ConditionalObjects
from tasks.staging.storage.lease import Leases

if TYPE_CHECKING:
    from collections.abc import Callable


OWNER = "account=alpha"
WAIT = 60.0

HOLDER = """
import sys, threading
from datetime import date
from tasks.errors import StagingError
from tasks.staging.locks import hold
from tasks.staging.store import open_store
from tasks.staging.schemas import RAW_SCHEMA
store, stop = open_store(sys.argv[1]), threading.Event()
store.backend.leases.seconds = float(sys.argv[2])
try:
    with hold(store, "account", "alpha", run_id="first", stop=stop):
        print("held", flush=True)
        sys.stdin.readline()
        try:
            store.publish(RAW_SCHEMA.empty_table(), "raw", "alpha", date(2026, 3, 1), "x.parquet")
        except StagingError as fault:
            print(f"not written: {fault}", flush=True)
        print("stopped" if stop.wait(30) else "not stopped", flush=True)
except StagingError as fault:
    print(f"lost: {fault}", flush=True)
"""


def leases(staging: str, seconds: float = 120) -> Leases:
    """The leases of a staging, as another process has them."""
    filesystem, root = fs.FileSystem.from_uri(staging)
    return Leases(ConditionalObjects(filesystem, root), seconds)


def held_by(staging: str, seconds: float = 120) -> Callable[[], bool]:
    """Whether the lease can be had now, by trying it."""

    def held() -> bool:
        try:
            with leases(staging, seconds).hold(OWNER):
                return False
        except InUseError:
            return True

    return held


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    until = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def start(staging: str, seconds: float) -> subprocess.Popen[str]:
    """A process that holds the lease, and writes a file when it is told to go on."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, staging, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process
