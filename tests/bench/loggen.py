"""`loggen`, the generator of messages that comes with syslog-ng."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

_UNLIMITED = 100_000_000  # messages a second
_ESTABLISHED = "01"


def command(port: int, *options: str, size: int, number: int, rate: int) -> list[str]:
    """What sends messages to a port of loopback.

    Args:
        port: The receiver's.
        options: The transport and format, as `loggen` names them.
        size: Bytes a message.
        number: How many.
        rate: Messages a second.

    Raises:
        FileNotFoundError: It is not installed.
    """
    program = shutil.which("loggen")
    if program is None:
        raise FileNotFoundError("loggen is missing; it comes with syslog-ng-core")
    amount = [f"--size={size}", f"--number={number}", f"--rate={rate}"]
    return [program, *options, *amount, "--interval=600", "--quiet", "127.0.0.1", str(port)]


def seconds(port: int, *options: str, size: int, number: int) -> float:
    """Send as fast as it can; how long its connection lasts.

    Its own figure is only good to half a second. Arguments as in `command`.
    """
    process = subprocess.Popen(
        command(port, *options, size=size, number=number, rate=_UNLIMITED),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    first = last = 0.0
    while process.poll() is None:
        if _established(port):
            last = time.perf_counter()
            first = first or last
        time.sleep(0.02)
    if process.returncode or not first:
        raise AssertionError(f"loggen ended with {process.returncode}")
    return last - first


def _established(port: int) -> bool:
    remote = f":{port:04X}"
    return any(
        row[2].endswith(remote) and row[3] == _ESTABLISHED
        for row in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
    )
