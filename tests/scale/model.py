"""The model behind `docs/scale.md`: a function of measured constants.

    python -m tests.scale              # what some sites take, by the recorded constants
    python -m tests.scale --measure    # measure the constants, and record them

A sync of an account lists what is new and, again, what the lookback covers. What it costs is fixed
parts (a login, a look into the staging, a file) and parts that grow with the events. The steps are
put on the workers as the cluster does it; each destination is loaded by one of them.
"""

from __future__ import annotations

import heapq
import json
import math
from dataclasses import dataclass
from pathlib import Path

CONSTANTS = Path(__file__).with_name("constants.json")
DAY = 86_400


@dataclass(frozen=True)
class Constants:
    """What was measured: of one account or destination, one sync, one event. CPU in seconds.

    Attributes:
        calls_account: API calls of an account's sync, whatever there is to list.
        calls_event: API calls an event that is listed.
        requests_account: Requests to the object storage of an account's sync with nothing new.
        requests_busy: Those of an account's sync with something new, all its files included.
        requests_destination: Those of a load with nothing to do.
        cpu_account: CPU of an account's sync with nothing new.
        cpu_listed: CPU an event that is listed, and staged if it is new.
        cpu_transform: CPU to normalize an event.
        cpu_batch: CPU of a batch, confirmed and recorded.
        cpu_load: CPU an event delivered.
        cpu_step: CPU that a step costs more as a Prefect task on a Dask worker.
        bytes_busy: Bytes of the files of an account's sync, without its events.
        bytes_event: Bytes an event, in raw, normalized and the ledger of one destination.
        files_busy: Files of an account's sync with something new, its batches' ledgers left out.
    """

    calls_account: float
    calls_event: float
    requests_account: float
    requests_busy: float
    requests_destination: float
    cpu_account: float
    cpu_listed: float
    cpu_transform: float
    cpu_batch: float
    cpu_load: float
    cpu_step: float
    bytes_busy: float
    bytes_event: float
    files_busy: float

    @classmethod
    def recorded(cls) -> Constants:
        """Those of the machine that measured last."""
        return cls(**json.loads(CONSTANTS.read_text("utf-8"))["constants"])


def recorded_import_pyarrow() -> float:
    """CPU seconds that Python took to import pyarrow on the machine that measured last."""
    return float(json.loads(CONSTANTS.read_text("utf-8"))["import_pyarrow"])


@dataclass(frozen=True)
class Site:
    """Accounts, their events, and the machines.

    Attributes:
        accounts: How many.
        rate: Events a second of all of them together, spread evenly.
        interval: Seconds from one sync to the next.
        lookback: Seconds of covered time that a sync lists again.
        destinations: How many get every event.
        batch: Events a confirmation.
        api_latency: Seconds that the API takes to answer.
        concurrency: Requests in flight for one account.
        receiver_latency: Seconds from a batch's end to its confirmation.
        storage_latency: Seconds that the object storage takes for a request.
        workers: Dask workers, a core each.
        threads: Steps that a worker runs at a time.
    """

    accounts: int
    rate: float
    interval: float = 300
    lookback: float = 900
    destinations: int = 1
    batch: int = 1000
    api_latency: float = 0.05
    concurrency: int = 8
    receiver_latency: float = 0.01
    storage_latency: float = 0.02
    workers: int = 1
    threads: int = 4

    @property
    def new(self) -> float:
        """New events of an account at a sync."""
        return self.rate * self.interval / self.accounts

    @property
    def again(self) -> float:
        """Events of an account that a sync lists again."""
        return self.rate * self.lookback / self.accounts


@dataclass(frozen=True)
class Cost:
    """What one sync of all accounts takes.

    Attributes:
        calls: API calls.
        requests: Requests to the object storage.
        cpu: CPU seconds, of all processes.
        staged: Bytes.
        files: Files.
        seconds: From its begin to its end.
    """

    calls: float
    requests: float
    cpu: float
    staged: float
    files: float
    seconds: float

    def keeps_up(self, site: Site, share: float = 0.7) -> bool:
        """Whether a sync is over when a part of the interval is, so that the rest is a reserve."""
        return self.seconds <= share * site.interval


def cost(site: Site, one: Constants) -> Cost:
    """What a sync of a site takes."""
    busy = 1.0 if site.new >= 1 else site.new  # accounts that have something new
    batches = math.ceil(site.new / site.batch) if site.new >= 1 else site.new
    calls = one.calls_account + one.calls_event * (site.new + site.again)
    extract = one.cpu_account + one.cpu_listed * (site.new + site.again)
    transform = one.cpu_transform * site.new
    load = site.accounts * (one.cpu_batch * batches + one.cpu_load * site.new)
    steps = 2 * site.accounts + site.destinations
    idle = one.requests_account * (1 - busy) + one.requests_busy * busy
    return Cost(
        calls=site.accounts * calls,
        requests=site.accounts * (idle + max(batches - 1, 0) * site.destinations)
        + site.destinations * one.requests_destination,
        cpu=site.accounts * (extract + transform) + site.destinations * load + steps * one.cpu_step,
        staged=site.accounts * (one.bytes_busy * busy + one.bytes_event * site.new),
        files=site.accounts * (one.files_busy * busy + batches * site.destinations),
        seconds=_seconds(site, one, calls, idle, extract, transform, load, batches),
    )


def _seconds(  # noqa: PLR0917 - what `cost` has reckoned
    site: Site,
    one: Constants,
    calls: float,
    requests: float,
    extract: float,
    transform: float,
    load: float,
    batches: float,
) -> float:
    """How long a sync takes: accounts first, a step each and another, then destinations."""
    waits = calls * site.api_latency / site.concurrency + requests * site.storage_latency
    cpu = extract + transform + 2 * one.cpu_step
    steps = [extract + waits + one.cpu_step, transform + one.cpu_step]
    slots = site.workers * site.threads
    in_slots = scheduled([sum(steps)] * site.accounts, slots)
    accounts = max(in_slots, cpu * site.accounts / site.workers)
    a_batch = site.receiver_latency + site.storage_latency
    loading = load + site.accounts * batches * a_batch + one.cpu_step
    loads = max(
        scheduled([loading] * site.destinations, slots),
        (load + one.cpu_step) * site.destinations / site.workers,
    )
    return accounts + loads


def scheduled(durations: list[float], slots: int) -> float:
    """How long it takes until all are done, each begun in turn in the slot that is free first."""
    free = [0.0] * slots
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def fewest_workers(site: Site, one: Constants, most: int = 1000) -> int | None:
    """The fewest workers with which a site keeps up; None where no number is enough."""
    for workers in range(1, most + 1):
        with_them = Site(**vars(site) | {"workers": workers})
        if cost(with_them, one).keeps_up(with_them):
            return workers
    return None


SITES = (
    Site(20, 10),
    Site(200, 200),
    Site(1000, 1000),
    Site(1000, 10_000),
    Site(1000, 10_000, lookback=0),
    Site(1000, 10_000, batch=10_000),
    Site(1000, 10_000, batch=10_000, destinations=2),
)
"""What the page shows."""


def constants_table(one: Constants) -> str:
    """The constants, in units that people read."""
    rows = [
        ("an account's sync, whatever is new", one.calls_account, "API calls"),
        ("100 events that are listed", 100 * one.calls_event, "API calls"),
        ("an account's sync with nothing new", one.requests_account, "storage requests"),
        ("an account's sync with something new", one.requests_busy, "storage requests"),
        ("an account's sync with nothing new", 1e3 * one.cpu_account, "ms CPU"),
        ("an event that is listed, and staged if new", 1e6 * one.cpu_listed, "µs CPU"),
        ("an event normalized", 1e6 * one.cpu_transform, "µs CPU"),
        ("an event delivered", 1e6 * one.cpu_load, "µs CPU"),
        ("a batch delivered", 1e3 * one.cpu_batch, "ms CPU"),
        ("a step as a Prefect task on Dask", 1e3 * one.cpu_step, "ms CPU"),
        ("an event staged, with one ledger", one.bytes_event, "bytes"),
        ("the files of an account's sync", one.bytes_busy / 1e3, "kB"),
        ("an account's sync with something new", one.files_busy, "files, and one a batch"),
    ]
    lines = ["| of | measured | unit |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {of} | {figure:,.3g} | {unit} |" for of, figure, unit in rows)])


_COLUMNS = (
    *("accounts", "events a second", "sensors", "batch", "lookback, minutes"),
    *("API calls a second", "storage requests a second", "cores busy", "GB a day", "files a day"),
    *("workers", "seconds a sync"),
)


def scale_table(one: Constants) -> str:
    """The sites of the page, a line each."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|" + " --- |" * len(_COLUMNS)]
    for site in SITES:
        workers = fewest_workers(site, one)
        found = cost(Site(**vars(site) | {"workers": workers or 1000}), one)
        syncs = DAY / site.interval
        lines.append(
            f"| {site.accounts:,} | {site.rate:,.0f} | {site.destinations} | {site.batch:,} "
            f"| {site.lookback / 60:g} | {found.calls / site.interval:,.1f} "
            f"| {found.requests / site.interval:,.1f} | {found.cpu / site.interval:,.2f} "
            f"| {found.staged * syncs / 1e9:,.1f} | {found.files * syncs:,.0f} "
            f"| {workers or 'no number is enough'} | {found.seconds:,.0f} |"
        )
    return "\n".join(lines)
