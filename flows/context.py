"""What every step needs to run: settings checked as a whole, before anything is touched."""

from __future__ import annotations

import os
import threading
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tasks.errors import SettingsError
from tasks.redaction import foreign_text
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tasks.accounts import Account
    from tasks.settings import Settings
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination


class Progress(Protocol):
    """Receives how far a step is."""

    def __call__(self, stage: str, subject: str, done: int, total: int) -> None:
        """`done` of `total` of the step's pieces (windows, files, events) are complete."""


def silent(stage: str, subject: str, done: int, total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class RunContext:
    """One run: its settings, its accounts and destinations, and the event that stops it.

    A step in the same process gets the object itself. Elsewhere it gets a context that is prepared
    anew from the same settings file, flags and blocks, so no secret is pickled.

    Attributes:
        run_id: Identifies the run in the ledger and among rejected events; of a flow run, its id.
        stop: Set when the run is to end early, in order.
        prepare_again: Prepares the same run in another process.
        sensor_blocks: Names of the Prefect blocks that stand in for USM_SENSOR.
    """

    settings: Settings
    store: Store
    accounts: list[Account]
    destinations: list[Destination]
    run_id: str
    stop: threading.Event
    progress: Progress
    prepare_again: Callable[..., RunContext]
    sensor_blocks: Sequence[str] = ()

    def under(self, run_id: str) -> RunContext:
        """The same run under another id."""
        again = partial(self.prepare_again, run_id=run_id)
        return replace(self, run_id=run_id, prepare_again=again)

    def account(self, name: str) -> Account:
        """The account of this name, one of `accounts`."""
        return next(account for account in self.accounts if account.name == name)

    def destination(self, name: str) -> Destination:
        """The destination of this name, one of `destinations`."""
        return next(one for one in self.destinations if one.name == name)

    def __reduce__(self) -> tuple[Callable[..., RunContext], tuple[()]]:
        """Pickle how to prepare this run, not what was prepared."""
        return self.prepare_again, ()


def prepare(
    env_file: Path | None = None,
    flags: dict[str, Any] | None = None,
    *,
    accounts: bool = False,
    sensors: bool | None = False,
    writes: bool = False,
    destination: str | None = None,
    account_blocks: Sequence[str] = (),
    sensor_blocks: Sequence[str] = (),
    run_id: str | None = None,
    stop: threading.Event | None = None,
    progress: Progress = silent,
) -> RunContext:
    """Read and check the settings that a run needs, and open the staging.

    Args:
        env_file: The settings file; `.env` by default.
        flags: Settings given on the command line; see `tasks.settings.read_settings`.
        accounts: Whether the run reads from Halo, and so needs the auth file.
        sensors: Whether the run delivers, and so needs a sensor; None where it only asks about
            those that are set up.
        writes: Whether to check that the staging's locks keep other runs out.
        destination: The one destination that is wanted, by name; all by default.
        account_blocks: Names of Prefect blocks in the place of the auth file; see `flows.blocks`.
        sensor_blocks: Names of Prefect blocks in the place of USM_SENSOR.
        run_id: The run's id; a new one by default.
        stop: The event that stops the run; one that nothing sets by default.
        progress: Receives how far each step is.

    Raises:
        SettingsError: A setting is missing or cannot be used; nothing was touched.
        StagingError: The staging's locks cannot be checked.
    """
    from tasks.staging.store import open_store

    settings = settings_for(env_file, flags, sensor_blocks)
    run_id = run_id or uuid.uuid4().hex
    if sensors is None:
        sensors = settings.usm_sensor is not None
    context = RunContext(
        settings,
        open_store(settings.halo_staging, settings.halo_staging_locks),
        accounts=accounts_of(settings, account_blocks) if accounts else [],
        destinations=destinations_of(settings, destination) if sensors else [],
        run_id=run_id,
        stop=stop or threading.Event(),
        progress=progress,
        prepare_again=partial(
            prepare,
            env_file,
            flags,
            accounts=accounts,
            sensors=sensors,
            destination=destination,
            account_blocks=account_blocks,
            sensor_blocks=sensor_blocks,
            run_id=run_id,
        ),
        sensor_blocks=sensor_blocks,
    )
    if writes:
        context.store.backend.check_locks()
    return context


def settings_for(
    env_file: Path | None, flags: dict[str, Any] | None, sensor_blocks: Sequence[str] = ()
) -> Settings:
    """The settings of a run, USM_SENSOR from the blocks of these names where there are any.

    Raises:
        SettingsError: A setting or a block cannot be used.
    """
    from tasks.settings import read_settings

    settings = read_settings(env_file, **flags or {})
    if not sensor_blocks:
        return settings
    from flows.blocks import sensors_in_blocks

    return sensors_in_blocks(sensor_blocks, settings, env_file)


def export_prefect_settings(settings: Settings) -> None:
    """Put Prefect's own settings from the settings file into the environment, where it looks.

    The environment wins over the file. To be called before Prefect is imported.
    """
    for name, value in settings.prefect.items():
        os.environ.setdefault(name, value)


def first_sync_windows(
    settings: Settings, accounts: list[Account] | None = None
) -> dict[str, Window]:
    """The window that a first sync reads of each account.

    Args:
        settings: Where the first sync begins.
        accounts: Those of the auth file by default; none of them if it cannot be used.
    """
    from tasks.accounts import read_accounts
    from tasks.halo_history import HALO_KEEPS

    if accounts is None:
        try:
            accounts = read_accounts(settings.halo_auth_file)
        except SettingsError:
            return {}  # looking at a staging needs no keys
    now = datetime.now(UTC)
    since = settings.halo_start or now - HALO_KEEPS
    return {account.name: Window(since, now) for account in accounts} if since < now else {}


def accounts_of(settings: Settings, blocks: Sequence[str] = ()) -> list[Account]:
    """The accounts of these blocks, or else of the auth file.

    Raises:
        SettingsError: There is none, or one cannot be used.
    """
    if blocks:
        from flows.blocks import accounts_in_blocks

        return accounts_in_blocks(blocks)
    from tasks.accounts import read_accounts

    return read_accounts(settings.halo_auth_file)


def destinations_of(settings: Settings, wanted: str | None = None) -> list[Destination]:
    """The destinations in USM_SENSOR, or the one that is wanted.

    Raises:
        SettingsError: There is none, or the URL of one cannot be used.
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
            f"--destination: there is no destination '{foreign_text(wanted)}'; there is "
            + ", ".join(destination.name for destination in destinations)
        )
    return named
