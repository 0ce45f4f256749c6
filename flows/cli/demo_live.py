"""`halo-usm demo --live`: events go on, a Prefect server runs a sync of them every minute."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from flows.cli.child_process import child
from flows.cli.demo import ACCOUNTS, DAYS, EVENTS, fresh_folder, signals_end_it
from flows.cli.prefect_server import prefect_server
from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tasks.errors import HaloUsmError
from tasks.redaction import foreign_text, redact

if TYPE_CHECKING:
    import subprocess
    from typing import IO

EVENTS_PER_MINUTE = 60
SENSOR_PORT = 6514
"""The sensor's port, where it is free."""
_SHOWN_EVERY = 5.0
_SHOWN_WIDTH = 110
_LINES_SHOWN = 5


def run_live() -> int:
    """Start all of it, show what arrives, and end it all at Ctrl-C or SIGTERM.

    Raises:
        HaloUsmError: A process of it ended by itself.
        KeyboardInterrupt: Somebody ended it.
    """
    console = Console(highlight=False)
    say = console.print
    with ExitStack() as stack:
        stack.enter_context(signals_end_it())
        folder = fresh_folder(stack)
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="halo-usm-demo-")))
        say("starting a Prefect server (takes some seconds), a Halo API stand-in with")
        say(f"{EVENTS:,} events, {EVENTS_PER_MINUTE} more a minute, and a syslog receiver")
        prefect = stack.enter_context(prefect_server(home=home / "prefect"))
        halo = stack.enter_context(
            HaloStandIn.spawn(
                accounts=ACCOUNTS, events=EVENTS, days=DAYS, events_per_minute=EVENTS_PER_MINUTE
            )
        )
        arrivals = _Arrivals()
        receiver = stack.enter_context(
            Receiver("tls", port=_port(), keep=False, on_messages=arrivals.add)
        )
        settings = {
            "HALO_API_URL": halo.url,
            "HALO_AUTH_FILE": str(halo.write_auth(home / "haloEvents.auth")),
            "HALO_STAGING": str(folder),
            "USM_SENSOR": receiver.url("tls", name="demo"),
        }
        prefect.wait_until_ready()
        log = stack.enter_context(tempfile.TemporaryFile())
        runs = stack.enter_context(
            child(
                "flows.cli.demo_live",
                environment=os.environ | prefect.environment | settings,
                output=log,
            )
        )
        text = _WHAT_TO_CLICK.format(
            pages=prefect.url.removesuffix("/api"), sensor=receiver.url("tls"), folder=folder
        )
        say(text, markup=False, soft_wrap=True)
        while True:
            time.sleep(_SHOWN_EVERY)
            if line := arrivals.news():
                console.print(line, markup=False, no_wrap=True, overflow="ellipsis")
            _check_alive("Prefect server", prefect.process, prefect.output)
            _check_alive("process that starts the runs", runs, log)
            _check_alive("Halo API stand-in", halo.process)


_WHAT_TO_CLICK = """
{pages}/runs
   sync runs at every full minute: click a run for the graph of its steps, their log, and the
   artifacts: what came, what went where, the status and the coverage of each account
{pages}/deployments
   sync has a schedule; replay is for you: click it, then Run and Custom run. A `since` of two
   days ago, and `all` as `only`, deliver these days again; Submit, and look at the new run

The receiver: {sensor}
The Parquet:  {folder}

What arrives, until Ctrl-C ends it all:
"""


class _Arrivals:
    """What the receiver has read, counted; its threads add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._new = self._all = 0
        self._last = b""

    def add(self, _listener: str, messages: list[bytes]) -> None:
        with self._lock:
            self._new += len(messages)
            self._all += len(messages)
            self._last = messages[-1]

    def news(self) -> str:
        """A line on what came since the last one; empty where nothing did."""
        with self._lock:
            new, self._new = self._new, 0
            total, last = self._all, self._last
        if not new:
            return ""
        event = last[max(last.find(b"CEF:"), 0) :]
        text = foreign_text(event.decode(errors="backslashreplace"), _SHOWN_WIDTH)
        return (
            f"{datetime.now().astimezone():%H:%M:%S}  {new:,} new, {total:,} in all; last: {text}"
        )


def _port() -> int:
    """The known port if it is free, else 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", SENSOR_PORT))
        except OSError:
            return 0
    return SENSOR_PORT


def _check_alive(
    name: str,
    process: subprocess.Popen[bytes] | subprocess.Popen[str],
    log: IO[bytes] | None = None,
) -> None:
    if process.poll() is None:
        return
    end = ""
    if log is not None:
        log.seek(0)
        lines = log.read().decode(errors="replace").splitlines()[-_LINES_SHOWN:]
        end = f"; the end of its log: {redact(' / '.join(lines))}"
    raise HaloUsmError(f"the {name} ended with exit code {process.returncode}; start again{end}")


def _serve() -> None:
    """Serve the deployments until SIGTERM, with a sync every minute."""
    from prefect import serve
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    from flows.deployments import served_deployments

    deployments = served_deployments()
    for deployment in deployments:
        if deployment.name == "sync":
            every_minute = CronSchedule(cron="* * * * *")
            deployment.schedules = [DeploymentScheduleCreate(schedule=every_minute)]
    serve(*deployments, pause_on_shutdown=False)


if __name__ == "__main__":
    _serve()
