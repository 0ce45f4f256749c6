"""What a year of syncs costs: a staging of 365 days beside one of a day, in turns.

A day has 288 syncs of ten events each. *Unmaintained* is as they leave it, *maintained* has all but
the newest day compacted. Nothing is new, so that all a command does is to find that out. Whole
commands are measured by their CPU, start included; of `audit` and `replay` the CPU of their own.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.halo_api import HaloStandIn, account_names
from sandbox.receiver import Receiver
from tasks.load.replay import replay_destination
from tasks.reports.audit import audit_range
from tasks.reports.event_history import audit_event
from tasks.staging.store import open_store
from tasks.time_window import Window
from tests.bench import Measured, cpu_seconds
from tests.bench.grown_staging import DESTINATION, GrownStaging
from tests.flows.command import command_for
from tests.load.helpers import closed_port
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sandbox.halo_api import StandInProcess
    from tasks.staging.store import Store
    from tests.flows.command import Command

DAYS = 365
ACCOUNTS = 200
ROUNDS = 5
PAUSE = 300
"""Seconds from one sync to the next."""
EVENTS_A_MINUTE = 300
QUIET_SOON = (
    "from flows.cli.startup import start_lightly; start_lightly()\n"
    "from tasks.staging import day_cache; day_cache.QUIET_NS = 10**9\n"
    "from flows.__main__ import main; main()"
)
"""The command line for days that were made just now: they count as quiet after a second."""


@dataclass(frozen=True)
class Target:
    """At most so many times what it costs with one day."""

    name: str
    maintained: float
    unmaintained: float


COMMANDS = (Target("sync", 1.2, 1.3), Target("status", 1.3, 2.0))
NEW_EVENTS = Target("sync of some new events", 1.3, 1.5)
REPORTS = (Target("audit of one day", 1.5, 2.0), Target("replay --only failed of 1 h", 1.5, 2.0))
OLD_EVENT = 1.0
"""CPU seconds of an audit of an event of the oldest day."""


def measure() -> Iterator[Measured]:
    """Measure one account of three stagings, then many accounts."""
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=number) for number in range(DAYS, 0, -1)]
    with tempfile.TemporaryDirectory() as name:
        grown = GrownStaging(Path(name), days)
        url = f"udp://127.0.0.1:{closed_port()}?name={DESTINATION}"
        stagings = {"one day": grown.newest, "maintained": grown.maintained}
        stagings["unmaintained"] = grown.unmaintained
        for kind, make in stagings.items():
            make(Path(name) / kind)
        with HaloStandIn.spawn(accounts=1) as halo:
            for target in COMMANDS:
                work = _commands(Path(name), halo, url, stagings, target.name)
                yield from _ratios(target, _in_turns(work), "whole command, nothing new")
        with (
            HaloStandIn.spawn(accounts=1, events_per_minute=EVENTS_A_MINUTE) as halo,
            Receiver("udp", keep=False) as receiver,
        ):
            sensor = receiver.url("udp", name=DESTINATION)
            work = _commands(Path(name), halo, sensor, stagings, "sync")
            yield from _ratios(NEW_EVENTS, _in_turns(work), "whole command")
        stores = {kind: open_store(str(Path(name) / kind)) for kind in stagings}
        yield from _reports(stores, url, Window.of_day(days[-1]))
        yield from _old_event(stores, Window.of_day(days[0]))
        with HaloStandIn.spawn(accounts=ACCOUNTS) as halo:
            yield from _many_accounts(grown, command_for(Path(name), halo, url))


def _in_turns(
    work: Mapping[str, Callable[[], float]], rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """What each took in each round; two rounds before, which fill caches, are not counted."""
    taken = [{kind: each() for kind, each in work.items()} for _ in range(rounds + 2)][2:]
    return {kind: [one[kind] for one in taken] for kind in work}


def _ratios(target: Target, taken: dict[str, list[float]], note: str) -> Iterator[Measured]:
    for kind in ("maintained", "unmaintained"):
        pairs = zip(taken[kind], taken["one day"], strict=True)
        seconds = statistics.median(taken[kind])
        yield Measured(
            f"{target.name}, {DAYS} days {kind} beside one day",
            statistics.median([many / one for many, one in pairs]),
            getattr(target, kind),
            "times one day",
            f"{note}; {seconds:.3f} CPU seconds",
            at_most=True,
        )


def _commands(
    folder: Path, halo: StandInProcess, sensor: str, stagings: Iterable[str], name: str
) -> dict[str, Callable[[], float]]:
    command = replace(command_for(folder, halo, sensor), program=("-c", QUIET_SOON))
    return {
        kind: partial(
            cpu_seconds, replace(command, settings=command.settings | {"HALO_STAGING": kind}), name
        )
        for kind in stagings
    }


def _reports(stores: dict[str, Store], url: str, day: Window) -> Iterator[Measured]:
    sensor = destination(url)
    hour = Window(day.since, day.since + timedelta(hours=1))

    def audit(store: Store) -> None:
        assert audit_range(store, day, [sensor]).consistent

    def replay(store: Store) -> None:
        assert not replay_destination(store, sensor, hour, run_id="bench").problems

    for target, report in zip(REPORTS, (audit, replay), strict=True):
        work = {kind: partial(_own_cpu, report, store) for kind, store in stores.items()}
        yield from _ratios(target, _in_turns(work), "own CPU")


def _own_cpu(report: Callable[[Store], None], store: Store) -> float:
    begun = time.process_time()
    report(store)
    return time.process_time() - begun


def _old_event(stores: dict[str, Store], day: Window) -> Iterator[Measured]:
    for kind, store in stores.items():
        if kind == "one day":
            continue
        [first, *_] = store.files("raw", "alpha", day.day)
        path = f"{store.folder('raw', 'alpha', day.day)}/{first}"
        event = store.read(path, ["event_id"])["event_id"][0].as_py()

        def audit(store: Store, event: str = event) -> None:
            assert len(audit_event(store, event).deliveries) == 1

        taken = _in_turns({kind: partial(_own_cpu, audit, store)})[kind]
        yield Measured(
            f"audit --event of {DAYS} days ago, {kind}",
            statistics.median(taken),
            OLD_EVENT,
            "CPU seconds",
            "own CPU",
            at_most=True,
        )


def _many_accounts(grown: GrownStaging, halo_usm: Command) -> Iterator[Measured]:
    staging = Path(halo_usm.settings["HALO_STAGING"])
    for account in account_names(ACCOUNTS):
        grown.maintained(staging, account)
    halo_usm("sync")  # has read up to now
    begun = time.monotonic()
    cpu = cpu_seconds(halo_usm, "sync")
    yield Measured(
        f"sync of {ACCOUNTS} accounts with {DAYS} days each, maintained, nothing new",
        (time.monotonic() - begun) / PAUSE,
        1 / 5,
        "of five minutes",
        f"whole command; {cpu:.1f} CPU seconds",
        at_most=True,
    )
