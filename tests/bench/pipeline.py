"""The whole pipeline: a sync of 100,000 events to a real syslog-ng, and one with nothing to do."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.halo_api import HaloStandIn
from tests.bench import Measured
from tests.flows.command import Command, command_for
from tests.syslog_ng import SyslogNG

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNTS = 3
EVENTS = 100_000
LATENCY_MS = 50
REPEATS = 3


def measure() -> Iterator[Measured]:
    """Sync everything, then sync again with nothing to do."""
    with (
        tempfile.TemporaryDirectory() as name,
        HaloStandIn.spawn(accounts=ACCOUNTS, events=EVENTS, days=3, latency_ms=LATENCY_MS) as halo,
        SyslogNG(Path(name) / "syslog-ng") as sensor,
    ):
        halo_usm = command_for(Path(name), halo, sensor.url("tcp-rfc3164", batch=10_000))
        halo_usm.settings["HALO_CONCURRENCY"] = "32"
        wall, _ = _sync(halo_usm)
        arrived = len(sensor.messages("tcp-rfc3164"))
        if arrived != EVENTS:
            raise AssertionError(f"{arrived} of {EVENTS} events arrived")
        yield Measured(
            "sync of 100,000 events, everything included",
            EVENTS / wall,
            10_000,
            "events/s",
            f"{ACCOUNTS} accounts, {LATENCY_MS} ms a request, confirmed TCP to syslog-ng",
        )
        idle = min(_sync(halo_usm)[1] for _ in range(REPEATS))
        yield Measured(
            "sync with nothing to do", idle, 1.5, "CPU seconds", "start-up included", at_most=True
        )


def _sync(halo_usm: Command) -> tuple[float, float]:
    """Run `halo-usm sync`; its wall and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    halo_usm("sync")
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
