"""Which processes a test, or the whole suite, has started and not ended.

A process is told by a variable in its environment, which its own children inherit: so it is found
whoever its parent is by now. It needs Linux; elsewhere none is ever found.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

SUITE = "PYTEST_SUITE"
TEST = "PYTEST_TEST"
"""The variable that all processes of a suite have, and one for those of a test; with own values."""


def started_with(name: str, value: str) -> dict[int, str]:
    """The command lines of other processes that were started with this variable, by their ids."""
    wanted = f"{name}={value}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                found[int(folder.name)] = command
        except OSError:
            continue  # it has just ended, or is somebody else's
    found.pop(os.getpid(), None)
    return found


def left_of(name: str, value: str, seconds: float = 30) -> dict[int, str]:
    """As `started_with`, but they are given some time to end."""
    until = time.monotonic() + seconds
    while (found := started_with(name, value)) and time.monotonic() < until:
        time.sleep(0.1)
    return found
