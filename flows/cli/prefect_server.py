"""A temporary Prefect server on loopback that ends with a context manager."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import httpx

from flows.cli.child_process import child
from tasks.errors import HaloUsmError
from tasks.redaction import redact

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

_START_SECONDS = 120.0
_LINES_SHOWN = 5


@dataclass(frozen=True)
class PrefectServer:
    """A server that was started and may not be ready yet.

    Attributes:
        url: The base URL of its API; its pages are there without the `/api`.
        environment: The environment variables that make a process use it.
        process: Its process.
        output: The file that it prints to.
    """

    url: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    @property
    def log(self) -> str:
        """What it has printed."""
        file = self.output.fileno()  # pread leaves the position, at which the server writes
        return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")

    def wait_until_ready(self, stop: threading.Event | None = None) -> None:
        """Wait until the server answers, or `stop` is set.

        Raises:
            HaloUsmError: It ended or did not answer within two minutes.
        """
        stop = stop or threading.Event()
        deadline = time.monotonic() + _START_SECONDS
        # once: it reads the system's certificates, which takes twenty times as long as to ask
        with httpx.Client(timeout=5) as client:
            while self.process.poll() is None and time.monotonic() < deadline:
                with suppress(httpx.TransportError):  # not ready yet
                    if client.get(f"{self.url}/health").is_success:
                        return
                if stop.wait(0.2):
                    return
        end = " / ".join(self.log.splitlines()[-_LINES_SHOWN:])
        raise HaloUsmError(
            "the temporary Prefect server did not start; run again, or without Prefect. "
            f"The end of its log: {redact(end)}"
        )


@contextmanager
def prefect_server(
    *, home: Path | None = None, only_reports: bool = False, port: int = 0
) -> Iterator[PrefectServer]:
    """Start a server that ends with the context, and with this process even if that is killed.

    Args:
        home: The folder of its database; by default Prefect's usual one.
        only_reports: Leave out its pages and schedules.
        port: Its port; a free one by default.
    """
    with socket.create_server(("127.0.0.1", port)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        # neither the server nor its clients send usage data
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    if home is not None:
        environment["PREFECT_HOME"] = str(home)
    options = ["--no-ui", "--no-scheduler", "--no-late-runs"] if only_reports else []
    with (
        tempfile.TemporaryFile() as output,
        child(
            *("prefect", "server", "start", "--port", str(port), *options),
            environment=os.environ | environment,
            output=output,
        ) as process,
    ):
        yield PrefectServer(url, environment, process, output)
