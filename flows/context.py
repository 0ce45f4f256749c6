"""What every stage needs to run: settings checked as a whole, before anything is touched."""

from __future__ import annotations

import math
import os
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from tasks.errors import SettingsError
from tasks.redaction import foreign_text
from tasks.time_window import Window, isoformat, parse_time

if TYPE_CHECKING:
    from tasks.accounts import Account
    from tasks.settings import Settings
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination


_WAIT_MINUTES = 10.0


class Progress(Protocol):
    """Told how far a step is."""

    def __call__(self, stage: str, subject: str, done: int, total: int) -> None:
        """`done` of `total` of the step's pieces (windows, files, events) are complete."""


def silent(stage: str, subject: str, done: int, total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class RunContext:
    """One run: its settings, its accounts and destinations, and how it is told to stop.

    Attributes:
        run_id: Identifies the run in the ledger and among rejected events.
        stop: Set when the run is to end early, in order.
    """

    settings: Settings
    store: Store
    accounts: list[Account] = field(default_factory=list)
    destinations: list[Destination] = field(default_factory=list)
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    stop: threading.Event = field(default_factory=threading.Event)
    progress: Progress = silent


def prepare(
    settings: Settings,
    *,
    accounts: bool = False,
    sensors: bool = False,
    writes: bool = False,
    destination: str | None = None,
    stop: threading.Event | None = None,
    progress: Progress = silent,
) -> RunContext:
    """Check the settings that a command needs, and open the staging.

    Args:
        settings: The settings.
        accounts: Whether the command reads from Halo, and so needs the auth file.
        sensors: Whether the command delivers, and so needs a sensor.
        writes: Whether the command writes to the staging, and so needs its locks.
        destination: The one destination that is wanted, by name; all by default.
        stop: Set by whoever may interrupt the run.
        progress: Told how far each step is.

    Raises:
        SettingsError: A setting is missing or cannot be used; nothing was touched.
        StagingError: Whether the staging's locks keep other runs out cannot be told.
    """
    from tasks.accounts import read_accounts
    from tasks.staging.store import open_store

    context = RunContext(
        settings=settings,
        accounts=read_accounts(settings.halo_auth_file) if accounts else [],
        destinations=destinations_of(settings, destination) if sensors else [],
        store=open_store(settings.halo_staging, settings.halo_staging_locks),
        stop=stop or threading.Event(),
        progress=progress,
    )
    if writes:
        context.store.backend.check_locks()
    return context


def export_prefect_settings(settings: Settings) -> None:
    """Put Prefect's own settings from the settings file into the environment, where it looks.

    The environment wins over the file. To be called before Prefect is imported.
    """
    for name, value in settings.prefect.items():
        os.environ.setdefault(name, value)


def first_readings(settings: Settings) -> dict[str, Window]:
    """What a first sync reads of each account in the auth file; nothing where it has none."""
    from tasks.accounts import read_accounts
    from tasks.extract.plan import HALO_KEEPS

    try:
        accounts = read_accounts(settings.halo_auth_file)
    except SettingsError:
        return {}  # who only looks at a staging needs no keys
    now = datetime.now(UTC)
    since = settings.halo_start or now - HALO_KEEPS
    return {account.name: Window(since, now) for account in accounts} if since < now else {}


def parse_range(since: str, until: str | None) -> Window:
    """The range `[since, until)` that a command was given; `until` is now by default.

    Raises:
        SettingsError: A bound is no time, or the range is empty or backward.
    """
    first = parse_time(since, "--since")
    last = parse_time(until, "--until") if until is not None else datetime.now(UTC)
    if first >= last:
        raise SettingsError(
            f"--since {isoformat(first)} is not before --until {isoformat(last)}: "
            "the range is empty or backward; exchange or change them"
        )
    return Window(first, last)


def check_halo_has(window: Window) -> None:
    """Refuse a range of which Halo can have nothing.

    Raises:
        SettingsError: It begins before there was Halo, or in the future.
    """
    from tasks.extract.plan import HALO_BEGAN

    since = isoformat(window.since)
    if window.since < HALO_BEGAN:
        raise SettingsError(
            f"--since {since}: there was no Halo before {HALO_BEGAN.year}; write a later time"
        )
    if window.since > (now := datetime.now(UTC)):
        raise SettingsError(
            f"--since {since} is in the future, by this machine's clock, which says "
            f"{now:%Y-%m-%dT%H:%M:%SZ}; write an earlier time, or set the clock (NTP)"
        )


def wait_seconds(minutes: float | None, *, asked: bool) -> float:
    """How long a command waits for another run that holds what it needs.

    Args:
        minutes: What it was told; None where nothing was said.
        asked: Whether it was asked for something of its own, such as a range: that waits for ten
            minutes by default. What is left to the other run does not wait.

    Raises:
        SettingsError: It is no time.
    """
    if minutes is None:
        minutes = _WAIT_MINUTES if asked else 0.0
    if not 0 <= minutes < math.inf:
        raise SettingsError(f"--wait: {minutes:g} is no number of minutes; say 0 or more")
    return minutes * 60


def destinations_of(settings: Settings, wanted: str | None = None) -> list[Destination]:
    """The destinations that USM_SENSOR names, or the one that is wanted.

    Raises:
        SettingsError: There is none, or one cannot be understood.
    """
    from tasks.syslog.sensor_url import parse_destinations

    if settings.usm_sensor is None:
        raise SettingsError(
            "USM_SENSOR is not set: say where events go, for example "
            "USM_SENSOR=tls://sensor.example.com:6514?ca=sensor-ca.pem"
        )
    destinations = parse_destinations(settings.usm_sensor.text, settings.usm_sensor.folder)
    if wanted is None:
        return destinations
    named = [destination for destination in destinations if destination.name == wanted]
    if not named:
        raise SettingsError(
            f"--destination: USM_SENSOR has no destination '{foreign_text(wanted)}'; it has "
            + ", ".join(destination.name for destination in destinations)
        )
    return named
