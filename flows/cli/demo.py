"""`halo-usm demo`: everything on this machine, no account needed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from flows.cli.child_process import child
from flows.cli.prefect_server import prefect_server
from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tasks.staging.storage.files import PRIVATE_FILE, PRIVATE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNTS = 3
EVENTS = 3_000
DAYS = 3
_LINES_SHOWN = 3
_MARK = ".halo-usm-demo"


def run_demo(*, keep: bool) -> int:
    """Start a Halo stand-in, a receiver and a Prefect server, run a sync, show what arrived.

    Args:
        keep: Leave the Prefect server running, to look at its pages, until Ctrl-C.

    Returns:
        The exit code: that of the sync.
    """
    console = Console(highlight=False)
    say = console.print
    with ExitStack() as stack:
        stack.enter_context(signals_end_it())
        folder = fresh_folder(stack)
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="halo-usm-demo-")))

        say("[bold]1[/]  starting a Prefect server (takes some seconds), a Halo API stand-in with")
        say(f"   {ACCOUNTS} accounts and {EVENTS:,} events of {DAYS} days, and a syslog receiver")
        prefect = stack.enter_context(prefect_server(home=home / "prefect"))
        halo = stack.enter_context(HaloStandIn.spawn(accounts=ACCOUNTS, events=EVENTS, days=DAYS))
        receiver = stack.enter_context(Receiver())
        sensor = receiver.url("tcp")
        environment = (
            os.environ
            | prefect.environment
            | {
                "HALO_API_URL": halo.url,
                "HALO_AUTH_FILE": str(halo.write_auth(home / "haloEvents.auth")),
                "HALO_STAGING": str(folder),
                "USM_SENSOR": f"{sensor}?name=demo",
            }
        )
        prefect.wait_until_ready()

        say("[bold]2[/]  halo-usm sync, as a flow run on that server")
        with child("flows", "sync", environment=environment) as sync:
            code = sync.wait()

        say("\n[bold]3[/]  what came, by halo-usm status")
        status = subprocess.run(
            [sys.executable, "-m", "flows", "status", "--json"],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
        )
        say(_table(json.loads(status.stdout)))
        lines = receiver.messages()
        say(f"\n[bold]4[/]  {len(lines):,} messages reached the receiver; as the sensor saw them:")
        for line in lines[:_LINES_SHOWN]:
            console.print(f"   {line.decode()}", markup=False, soft_wrap=True)
        say(f"\n[bold]5[/]  the Parquet lies in {folder}; to look at it:")
        console.print(
            f'   {sys.executable} -c "import pandas; '
            f"print(pandas.read_parquet('{folder}/normalized'))\"",
            markup=False,
            soft_wrap=True,
        )
        if keep:
            pages = prefect.url.removesuffix("/api")
            say(f"\n[bold]6[/]  the run and its graph: {pages}/runs (Ctrl-C ends it all)")
            signal.pause()
        else:
            say("\n   halo-usm demo --keep leaves the Prefect pages open, to see the run's graph")
            say("   halo-usm demo --live goes on with new events, and a run every minute")
    return code


def _table(status: dict[str, Any]) -> Table:
    table = Table("account", "staged", "normalized", "rejected", "delivered", "pending")
    delivered = status["destinations"]["demo"]["accounts"]
    for name, account in status["accounts"].items():
        counts = [account[key] for key in ("staged", "normalized", "rejected")]
        counts += [delivered[name][key] for key in ("delivered", "pending")]
        table.add_row(name, *(f"{count:,}" for count in counts))
    return table


def fresh_folder(stack: ExitStack) -> Path:
    """An empty staging, locked until the stack ends; only what a demo has made is ever emptied."""
    folder = Path("data", "demo").absolute()
    made_by_a_demo = not folder.exists() or (folder / _MARK).exists()
    if not (made_by_a_demo and _take(folder, stack)):
        folder = Path(tempfile.mkdtemp(prefix="halo-usm-demo-staging-"))
        _take(folder, stack)
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
    return folder


def _take(folder: Path, stack: ExitStack) -> bool:
    """Make a folder if it is missing, and lock it; False where a demo that still runs has it."""
    for made in (folder.parent, folder):
        made.mkdir(PRIVATE_FOLDER, exist_ok=True)
    (folder / _MARK).touch(PRIVATE_FILE)
    mark = stack.enter_context((folder / _MARK).open())
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def signals_end_it() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does: in order, with no process left running."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
