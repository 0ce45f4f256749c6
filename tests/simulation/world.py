"""The world of a simulation: an API stand-in, two receivers, a staging, and what must hold of them.

The time is the history's, told to whatever takes a clock; everything else is real: HTTP and TCP on
loopback, files, processes that are killed.
"""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import patch

from sandbox import faults
from sandbox.halo_api import HaloStandIn
from tasks.accounts import read_accounts
from tasks.extract.account import extract_account
from tasks.load.destination import load_destination
from tasks.load.replay import replay_destination
from tasks.maintain.account import maintain_account
from tasks.maintain.retention import Rules
from tasks.notebook import staging
from tasks.reports.audit import audit_range
from tasks.reports.status import status
from tasks.reports.verification import verify
from tasks.retry_policy import RetryPolicy
from tasks.settings import Settings
from tasks.staging import day_cache
from tasks.staging.store import open_store
from tasks.syslog import end_delay
from tasks.syslog.sensor_url import parse_destinations
from tasks.time_window import Window
from tasks.transform.account import transform_account
from tests.extract.harness import event
from tests.simulation.history import ACCOUNTS, BEGIN, Moment
from tests.staging.crashing import start
from tests.staging.rejecting_receiver import RejectingReceiver

if TYPE_CHECKING:
    from sandbox.faults import Fault
    from tasks.staging.deliveries.pending import Only
    from tests.simulation.history import HaloFault, NewEvent

BATCH = 40
_DEEP = timedelta(days=6)
"""What a deep look reads again: some of the looks before an event's day is dropped may fail."""
RULES = Rules(days=7, ledger_days=9)
DESTINATIONS = ("steady", "unsteady")
_QUICK = RetryPolicy(total=0.3, attempt=5, connect=5, read=2, first_pause=0.005, longest_pause=0.02)
_FAULTS: dict[HaloFault, Fault] = {
    "unavailable": faults.status(503),
    "reset": faults.reset(),
    "cut off": faults.cut_off(),
    "no JSON": faults.not_json(),
    "error inside": faults.error_inside(),
}


@dataclass(frozen=True)
class Job:
    """One run of the product: what a process needs to do it.

    Attributes:
        keys: The auth file.
        api_url: HALO_API_URL.
        moment: When it is, and what is run.
    """

    keys: Path
    api_url: str
    moment: Moment

    def run(self, folder: str, sensors: str) -> None:
        """Do what the moment asks for; faults are the next runs' business."""
        # both receivers are honest, and half a second for each of 10,000 loads makes hours
        # a simulated day takes seconds: what did not change for two ticks of a kernel is old there
        with (
            patch.object(end_delay, "UNPROVEN_SECONDS", 0.01),
            patch.object(day_cache, "QUIET_NS", 20_000_000),
        ):
            self._run(folder, sensors)

    def _run(self, folder: str, sensors: str) -> None:
        now, action = self.moment.now, self.moment.action
        store = open_store(folder)
        destinations = parse_destinations(sensors, Path())
        last_days = Window(max(BEGIN, now - timedelta(days=2)), now)
        common: dict[str, Any] = {"run_id": f"{now:%Y%m%dT%H%M}"}
        if action == "maintain":
            for name in ACCOUNTS:
                maintain_account(
                    store,
                    name,
                    destinations,
                    RULES,
                    now=now,
                    grace=0.0,
                    **common,
                )
            return
        if action.startswith("replay"):
            only: Only = "all" if action == "replay all" else "failed"
            hour = Window(now - timedelta(hours=1), now)
            for to in destinations:
                replay_destination(
                    store,
                    to,
                    hour if only == "all" else last_days,
                    only=only,
                    pauses=(0.0, 0.0),
                    **common,
                )
            return
        given: dict[str, Any] = {"halo_api_url": self.api_url, "halo_start": BEGIN}
        if action == "deep look":
            given["halo_lookback_minutes"] = _DEEP // timedelta(minutes=1)
        settings = Settings(**given)
        for account in read_accounts(self.keys):
            extract_account(
                store,
                account,
                settings,
                retry_policy=_QUICK,
                clock=lambda: now,
                **common,
            )
            transform_account(
                store,
                account.name,
                device_address=settings.halo_device_address,
                window=last_days if action == "transform" else None,
                **common,
            )
        for to in destinations:
            load_destination(store, to, pauses=(0.0, 0.0), **common)


@dataclass
class World:
    """A simulation's world, while the context is entered.

    Attributes:
        folder: An empty folder.
        killed: Runs that were killed in the middle.
        resets: Connections whose batch was read and then not confirmed.
        sent_again: Events that replays of all events were asked to send again, at most.
    """

    folder: Path
    events: list[NewEvent] = field(default_factory=list)
    killed: int = 0
    sent_again: int = 0
    random: Random = field(default_factory=lambda: Random(0))
    state: str = "accepts"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as exits:
            self.halo = exits.enter_context(HaloStandIn(ACCOUNTS))
            self.halo.clock.set(BEGIN)
            self.halo.write_auth(self.folder / "keys")
            self.steady = exits.enter_context(RejectingReceiver(lambda _: True))
            self.unsteady = exits.enter_context(RejectingReceiver(self._accepts))
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._exits.close()

    def _accepts(self, _ids: list[str]) -> bool:
        if self.state == "resets some":
            return self.random.random() < 0.6
        return self.state == "accepts"

    @property
    def sensors(self) -> str:
        """USM_SENSOR."""
        unsteady = self.unsteady.url(name="unsteady", batch=BATCH, timeout=2)
        if self.state == "absent":  # nothing listens on port 1
            unsteady = unsteady.replace(f":{self.unsteady.port}?", ":1?")
        return f"{self.steady.url(name='steady', batch=BATCH, timeout=2)} {unsteady}"

    def live(self, moment: Moment) -> None:
        """Let a moment happen."""
        self.events += moment.events
        for new in moment.events:
            self.halo[new.account].add(
                [event(new.number, new.created_at)], late=new.appears - new.created_at
            )
        self.halo.clock.set(moment.now)
        self.halo.heal()
        self.random = Random(moment.seed)
        self.state = moment.receiver
        if moment.halo:
            self.halo.fail(_FAULTS[moment.halo], times=None, every=1 + moment.seed % 3)
        job = Job(self.folder / "keys", self.halo.url, moment)
        folder = self.folder / "data"
        if moment.action == "replay all":
            hour = moment.now - timedelta(hours=1)
            self.sent_again += sum(hour <= new.created_at < moment.now for new in self.events)
        if moment.dies_at is None:
            job.run(str(folder), self.sensors)
            return
        child = start(folder, self.sensors, moment.dies_at, work=job.run)
        child.join()
        assert child.exitcode in {0, -signal.SIGKILL}
        self.killed += child.exitcode != 0

    def end(self, now: datetime) -> None:
        """Let the world be well, and everything be done that is left to do."""
        for action in ("deep look", "maintain", "sync"):
            self.live(Moment(now, action, (), "", "accepts", None, 0))

    def check(self, now: datetime) -> None:
        """Every event is delivered, or pending by name; none is lost, and repeats are counted."""
        data = staging(self.folder / "data")
        store = open_store(str(self.folder / "data"))
        destinations = parse_destinations(self.sensors, Path())
        found = audit_range(store, Window(BEGIN, now), destinations)
        assert found.problems == []
        seals = verify(store)
        assert seals.problems == []
        assert all(counts.seals for counts in seals.accounts.values())
        created = {f"{new.number:032x}": new for new in self.events if new.appears <= now}
        dropped = {name: found.dropped for name, found in status(store).accounts.items()}
        kept = {
            event_id
            for event_id, new in created.items()
            if not any(new.created_at in window for window in dropped[new.account])
        }
        staged = Counter(data.raw(columns=["event_id"])["event_id"])
        assert (kept - staged.keys(), staged - Counter(kept)) == (set(), Counter()), "each once"
        deliveries = data.deliveries(columns=["event_id", "status", "destination"], last=True)
        for name, receiver in zip(DESTINATIONS, (self.steady, self.unsteady), strict=True):
            received = Counter(receiver.received)
            last = deliveries[deliveries["destination"] == name].set_index("event_id")["status"]
            missing = created.keys() - received.keys()
            pending = missing & kept
            assert missing == pending, "what was dropped was delivered"
            assert received.keys() <= created.keys()
            assert all(last.get(event_id) != "confirmed" for event_id in missing)
            assert found.destinations[name].pending == len(pending)
            assert not pending, "all is well in the end, so nothing waits"
            repeats = received.total() - len(received)
            assert repeats <= BATCH * self.killed + self.sent_again
