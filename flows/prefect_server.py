"""A Prefect server of one's own for as long as a context lasts: in a folder, on a free port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from tasks.errors import HaloUsmError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS = 120.0

TEMPORARY = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": f"{START_SECONDS:.0f}",
}
"""Prefect's settings for a temporary server: it calls nobody, and may start on a busy machine."""


@contextmanager
def prefect_server(home: Path) -> Iterator[dict[str, str]]:
    """Start a server, and end it with the context.

    Args:
        home: The folder for its database and logs.

    Yields:
        The environment variables with which a process uses it. Its pages are at
        `PREFECT_API_URL` without the `/api`. It may still be starting: see `wait_until_ready`.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    environment = TEMPORARY | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
    }
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that it and its own children end together
        )
    try:
        yield environment
    finally:
        _end(process)


def wait_until_ready(environment: dict[str, str]) -> None:
    """Wait until the server answers.

    Raises:
        HaloUsmError: It did not within two minutes; its log says why.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{environment['PREFECT_API_URL']}/health", timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass  # not yet
        time.sleep(0.2)
    raise HaloUsmError(
        f"The temporary Prefect server did not start in {START_SECONDS:.0f} s; "
        f"see {environment['PREFECT_HOME']}/server.log"
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None or number == signal.SIGKILL:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
