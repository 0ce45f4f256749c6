"""What a flow run costs: a sync with nothing to do, beside an empty flow and a plain command.

CPU of whole processes, start included; the Prefect server's own is not in it.
"""

from __future__ import annotations

import statistics
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.prefect_server import prefect_server
from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tests.bench import Measured, cpu_seconds
from tests.flows.command import command_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.cli.prefect_server import PrefectServer
    from tests.flows.command import Command

FEW, MANY = 3, 200
"""How many accounts a sync has."""
ROUNDS = 5
EMPTY_FLOW = "from prefect import flow; flow(lambda: None, name='empty')()"


def measure() -> Iterator[Measured]:
    """A flow run that does nothing, with few accounts and with many."""
    with tempfile.TemporaryDirectory() as home, prefect_server(home=Path(home)) as server:
        server.wait_until_ready()
        with _synced(FEW) as halo_usm:
            yield from _beside_an_empty_flow(halo_usm, server)
        with _synced(MANY) as halo_usm:
            yield from _beside_a_plain_command(halo_usm, server)


@contextmanager
def _synced(accounts: int) -> Iterator[Command]:
    """A command that has nothing to do: all accounts were synced a moment ago."""
    with (
        tempfile.TemporaryDirectory() as folder,
        HaloStandIn.spawn(accounts=accounts, events=10 * accounts, days=1) as halo,
        Receiver("tcp") as receiver,
    ):
        halo_usm = command_for(Path(folder), halo, receiver.url("tcp"), days=1)
        halo_usm("sync")
        yield halo_usm


def _beside_an_empty_flow(halo_usm: Command, server: PrefectServer) -> Iterator[Measured]:
    flow_run = replace(halo_usm, settings=halo_usm.settings | server.environment)
    empty = replace(flow_run, program=("-c", EMPTY_FLOW))
    pairs = [(cpu_seconds(flow_run, "sync"), cpu_seconds(empty)) for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    yield Measured(
        "flow run of a sync with nothing to do, beside that of an empty flow",
        statistics.median(mine / other for mine, other in pairs),
        2.0,
        "times an empty flow",
        f"{FEW} accounts; {ours:.2f} and {theirs:.2f} CPU seconds, start of Python included",
        at_most=True,
    )


def _beside_a_plain_command(halo_usm: Command, server: PrefectServer) -> Iterator[Measured]:
    flow_run = replace(halo_usm, settings=halo_usm.settings | server.environment)
    pairs = [(cpu_seconds(flow_run, "sync"), cpu_seconds(halo_usm, "sync")) for _ in range(3)]
    ours, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
    yield Measured(
        "flow run of a sync with nothing to do, above the plain command, for each account",
        (ours - plain) / MANY * 1000,
        50.0,
        "ms of CPU",
        f"{MANY} accounts; {ours:.2f} and {plain:.2f} CPU seconds",
        at_most=True,
    )
