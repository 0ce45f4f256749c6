"""Measures what syncs cost, by real runs against the stand-ins, on this machine."""

from __future__ import annotations

import math
import os
import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flows.cli.prefect_server import prefect_server
from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tests.bench import cpu_seconds
from tests.dask_cluster import dask_cluster
from tests.flows.command import Command, command_for
from tests.object_storage import KEYS, s3_proxy, s3_server
from tests.scale.model import Constants

INTERVAL = timedelta(minutes=5)
LOOKBACKS = 3
"""How many intervals the lookback covers."""
WARM = LOOKBACKS + 1
"""How many syncs it takes until each further one costs the same."""
STAGES = ("extract", "transform", "load")
_AT_ANOTHER_TIME = """
import os
from datetime import UTC, datetime, timedelta
from tasks.extract import account
shift = timedelta(seconds=float(os.environ["SHIFT"]))
account.extract_account.__kwdefaults__["clock"] = lambda: datetime.now(UTC) + shift
from flows.__main__ import main
main()
"""
"""A command whose machine's clock agrees with the API's, which is not at the present time."""


@dataclass(frozen=True)
class Run:
    """A sync, stage by stage, five minutes after the one before, and another one right after it.

    Attributes:
        new: Events that the first found.
        listed: Events that it listed, those that were known included.
        listed_again: Events that the second listed; none of them is new.
        calls: API calls of the first.
        calls_again: API calls of the second, which finds nothing new.
        cpu: CPU seconds of each stage of the first, and of the second under `again`.
        files: How many files the first added.
        staged: How many bytes it added.
        requests: To the object storage, of the first; 0 in a folder.
        requests_again: Of the second.
    """

    new: int
    listed: int
    listed_again: int
    calls: int
    calls_again: int
    cpu: dict[str, float]
    files: int
    staged: int
    requests: int = 0
    requests_again: int = 0


def run(accounts: int, events: int, *, batch: int = 1000, object_storage: bool = False) -> Run:
    """Let so many accounts be synced that have so many new events each at every sync."""
    begin = datetime.now(UTC) - timedelta(hours=1)
    until = begin + (WARM + 1) * INTERVAL
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        halo = stack.enter_context(
            HaloStandIn.spawn(
                accounts=accounts,
                events=accounts * events * (WARM + 1),
                days=(until - begin) / timedelta(days=1),
                until=until.isoformat(),
            )
        )
        receiver = stack.enter_context(Receiver("tcp", keep=False))
        halo_usm = command_for(folder, halo, receiver.url("tcp", batch=batch))
        halo_usm.settings["HALO_START"] = begin.isoformat()
        requests: list[str] = []
        if object_storage:
            s3 = stack.enter_context(s3_proxy(stack.enter_context(s3_server())))
            halo_usm.settings |= KEYS | {"HALO_STAGING": s3.staging("scale")}
            requests = s3.requests
        halo_usm.program = ("-c", _AT_ANOTHER_TIME)
        shift = begin - datetime.now(UTC)
        halo.advance(shift)
        for number in range(WARM + 1):
            shift += INTERVAL
            halo.advance(INTERVAL)
            halo_usm.settings["SHIFT"] = str(shift.total_seconds())
            if number < WARM:
                halo_usm("sync")
        before, known = _staged(folder), _events(halo_usm)
        halo.reset_counters()
        requests.clear()
        cpu = {stage: cpu_seconds(halo_usm, stage) for stage in STAGES}
        first, asked = halo.stats(), len(requests)
        after, found = _staged(folder), _events(halo_usm)
        halo.reset_counters()
        requests.clear()
        cpu["again"] = cpu_seconds(halo_usm, "sync")
        second = halo.stats()
        return Run(
            found - known,
            first["events"],
            second["events"],
            first["requests"],
            second["requests"],
            cpu,
            len(after) - len(before),
            sum(after.values()) - sum(before.values()),
            asked,
            len(requests),
        )


def _events(halo_usm: Command) -> int:
    return sum(account["staged"] for account in halo_usm.status()["accounts"].values())


def _staged(folder: Path) -> dict[Path, int]:
    files = (folder / "staging").rglob("*.parquet")
    return {path: path.stat().st_size for path in files if ".tmp" not in path.parts}


FEW, MANY = 400, 4000
ACCOUNTS = 10


def measured() -> Constants:
    """The constants."""
    none, idle = run(ACCOUNTS, 0), run(4 * ACCOUNTS, 0)
    few, many = run(ACCOUNTS, FEW), run(ACCOUNTS, MANY)
    small = run(ACCOUNTS, MANY, batch=100)
    more = many.new - few.new
    listed = many.listed - few.listed + many.listed_again - few.listed_again
    reading = sum(many.cpu[stage] - few.cpu[stage] for stage in ("extract", "again"))
    batches = _batches(many, 1000) - _batches(few, 1000)
    # the two runs of many events have not exactly as many
    cpu_small = small.cpu["load"] * many.new / small.new
    batch = (cpu_small - many.cpu["load"]) / (_batches(small, 100) - _batches(many, 1000))
    bytes_event = (many.staged - few.staged) / more
    two, four = (run(accounts, 50, object_storage=True) for accounts in (2, 4))
    two_idle, four_idle = (run(accounts, 0, object_storage=True) for accounts in (2, 4))
    idle_account = (four_idle.requests_again - two_idle.requests_again) / 2
    return Constants(
        calls_account=none.calls_again / ACCOUNTS,
        calls_event=(many.calls_again - few.calls_again) / (many.listed_again - few.listed_again),
        requests_account=idle_account,
        requests_busy=(four.requests - two.requests) / 2,
        requests_destination=two_idle.requests_again - 2 * idle_account,
        cpu_account=(idle.cpu["again"] - none.cpu["again"]) / (3 * ACCOUNTS),
        cpu_listed=reading / listed,
        cpu_transform=(many.cpu["transform"] - few.cpu["transform"]) / more,
        cpu_batch=batch,
        cpu_load=(many.cpu["load"] - few.cpu["load"] - batches * batch) / more,
        cpu_step=cpu_of_a_step(),
        bytes_busy=(few.staged - few.new * bytes_event) / ACCOUNTS,
        bytes_event=bytes_event,
        files_busy=few.files / ACCOUNTS - 1,
    )


def import_pyarrow() -> float:
    """CPU seconds that Python takes to import pyarrow, the median of some."""
    command = Command(Path.cwd(), program=("-c", "import pyarrow"))
    return statistics.median(cpu_seconds(command) for _ in range(5))


def _batches(run: Run, size: int) -> float:
    return ACCOUNTS * math.ceil(run.new / ACCOUNTS / size)


def cpu_of_a_step() -> float:
    """CPU that a step costs more as a task on a Dask worker, that of the flow run included.

    Of syncs with nothing to do, all accounts less one, on object storage as plain commands.
    """
    by_accounts = [_idle_sync(accounts) for accounts in (1, 2 * ACCOUNTS)]
    (few_plain, few_dask), (many_plain, many_dask) = by_accounts
    more = 2 * (2 * ACCOUNTS - 1)
    return ((many_dask - few_dask) - (many_plain - few_plain)) / more


def _idle_sync(accounts: int) -> tuple[float, float]:
    """CPU of a sync with nothing to do: of a plain command, and of a flow run on Dask workers."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        halo = stack.enter_context(HaloStandIn.spawn(accounts=accounts))
        receiver = stack.enter_context(Receiver("tcp"))
        s3 = stack.enter_context(s3_proxy(stack.enter_context(s3_server())))
        halo_usm = command_for(folder, halo, receiver.url("tcp"), days=1)
        halo_usm.settings |= KEYS | {"HALO_STAGING": s3.staging("scale")}
        halo_usm("sync")
        plain = cpu_seconds(halo_usm, "sync")
        server = stack.enter_context(prefect_server(home=folder / "prefect"))
        server.wait_until_ready()
        halo_usm.settings |= server.environment
        dask = stack.enter_context(dask_cluster(folder / "dask", halo_usm.environment))
        halo_usm.settings |= {"HALO_TASK_RUNNER": "dask", "HALO_DASK_ADDRESS": dask.address}
        halo_usm("sync")  # the workers import what they need
        before = sum(_cpu_of(worker.pid) for worker in dask.workers)
        flow_run = cpu_seconds(halo_usm, "sync")
        return plain, flow_run + sum(_cpu_of(worker.pid) for worker in dask.workers) - before


def _cpu_of(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
