"""The whole pipeline: a sync of 100,000 events to a real syslog-ng, and one with nothing to do.

Beside the first, once: what a plain script does that reads with the vendor's SDK, renders with a
loop and sends, and that neither stages, confirms nor records. Beside the second, in turns: what
Python takes to import pyarrow. Bytecode is compiled before; commands run with none of Prefect.
"""

from __future__ import annotations

import socket
import statistics
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.halo_api import HaloStandIn
from tasks.accounts import read_accounts
from tests.bench import Measured, cpu_seconds
from tests.bench.extract import Api, read_time_series
from tests.bench.normalize import DEVICE_ADDRESS, catalogue_by_type
from tests.bench.normalize_loop import lines_of
from tests.flows.command import command_for
from tests.syslog.helpers import destination
from tests.syslog_ng import SyslogNG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.halo_api import StandInProcess
    from tests.flows.command import Command

ACCOUNTS = 3
EVENTS = 100_000
LATENCY_MS = 50
DAYS = 3
ROUNDS = 9
COMMANDS = ("sync", "load", "status", "--help")
TIMES_PYARROW = {"sync": 3.5, "--help": 1.5}
"""Targets: times the CPU of `import pyarrow`, at most."""
PYARROW = "import pyarrow"


def measure() -> Iterator[Measured]:
    """Sync everything, then sync again with nothing to do."""
    with (
        tempfile.TemporaryDirectory() as name,
        HaloStandIn.spawn(
            accounts=ACCOUNTS, events=EVENTS, days=DAYS, latency_ms=LATENCY_MS
        ) as halo,
        SyslogNG(Path(name) / "syslog-ng") as sensor,
    ):
        url = sensor.url("tcp-rfc3164", batch=10_000)
        halo_usm = command_for(Path(name), halo, url)
        halo_usm.settings["HALO_CONCURRENCY"] = "32"
        start = time.monotonic()
        halo_usm("sync")
        ours = EVENTS / (time.monotonic() - start)
        arrived = len(sensor.messages("tcp-rfc3164"))
        if arrived != EVENTS:
            raise AssertionError(f"{arrived} of {EVENTS} events arrived")
        plain = EVENTS / _plain(halo, halo_usm, url)
        note = f"{ACCOUNTS} accounts, {LATENCY_MS} ms a request, TCP to syslog-ng; ours "
        note += f"{ours:,.0f}, script {plain:,.0f} events/s"
        what = "sync of 100,000 events, from the start of the command to its end, beside a script "
        what += "that reads with the SDK, renders with a loop and sends"
        yield Measured(what, ours / plain, 2.2, "times the script", note)
        yield from _with_nothing_to_do(halo_usm)


def _plain(halo: StandInProcess, halo_usm: Command, sensor: str) -> float:
    """Seconds of a script that neither stages, nor confirms or records."""
    staged = halo_usm.status()["accounts"]
    catalogue = catalogue_by_type()
    to = destination(sensor)
    start = time.monotonic()
    with socket.create_connection((to.host, to.port)) as sock:
        for account in read_accounts(Path(halo_usm.settings["HALO_AUTH_FILE"])):
            api = Api(halo.url, account, datetime.now(UTC))
            events = read_time_series(api, staged[account.name]["staged"])
            rows = ((e["id"], datetime.fromisoformat(e["created_at"]), e) for e in events)
            while lines := lines_of(islice(rows, to.batch), DEVICE_ADDRESS, catalogue):
                now = f"{datetime.now(UTC):%b %d %H:%M:%S}"
                sock.sendall("".join(f"<14>{now} host cpapi: {line}\n" for line in lines).encode())
    return time.monotonic() - start


def _with_nothing_to_do(halo_usm: Command) -> Iterator[Measured]:
    """CPU of whole commands, beside `import pyarrow`; a round is each of them once."""
    importing = replace(halo_usm, program=("-c", PYARROW))
    taken: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        taken.setdefault(PYARROW, []).append(cpu_seconds(importing))
        for what in COMMANDS:
            taken.setdefault(what, []).append(cpu_seconds(halo_usm, what))
    base = statistics.median(taken[PYARROW])
    yield Measured(f'python -c "{PYARROW}", start included', base, None, "CPU seconds")
    for what in COMMANDS:
        pairs = zip(taken[what], taken[PYARROW], strict=True)
        ratio = statistics.median([ours / theirs for ours, theirs in pairs])
        idle = "" if what == "--help" else " with nothing to do"
        yield Measured(
            f"{what}{idle}, start and end of the command in the clock",
            ratio,
            TIMES_PYARROW.get(what),
            f"times {PYARROW}",
            f"{ACCOUNTS} accounts, {statistics.median(taken[what]):.2f} CPU seconds",
            at_most=True,
        )
