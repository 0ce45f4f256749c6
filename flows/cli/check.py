"""`halo-usm check`: whether everything a sync needs is usable, line by line; sends no event."""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from flows.cli.output import say, warn
from flows.context import destinations_of
from tasks.accounts import open_to_others, read_accounts
from tasks.errors import HaloUsmError, StagingError
from tasks.extract.account import check_account
from tasks.redaction import redact_address
from tasks.reports.status import Status, status
from tasks.retry_policy import RetryPolicy
from tasks.staging.store import open_store
from tasks.syslog.transport import check as check_sensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.settings import Settings
    from tasks.staging.pending import DeliveryCounts
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination

T = TypeVar("T")

# A person waits for the answer.
_RETRY_POLICY = RetryPolicy(total=10.0)


def run_check(settings: Settings) -> bool:
    """Check the auth file, each account's key, the staging and each sensor, a line for each.

    Returns:
        Whether all of it is usable.
    """
    faulty: list[str] = []

    def check(what: str, answer: Callable[[], T], describe: Callable[[T], str]) -> T | None:
        try:
            found = answer()
        except HaloUsmError as error:
            faulty.append(what)
            say(f"FAIL {what}: {error}")
            return None
        say(f"ok   {what}: {describe(found)}")
        sys.stdout.flush()
        return found

    auth = settings.halo_auth_file.absolute()
    accounts = check(
        f"auth file {auth}",
        lambda: read_accounts(auth),
        lambda found: "; ".join(
            filter(None, [", ".join(account.name for account in found), open_to_others(auth)])
        ),
    )
    for account in accounts or []:
        check(
            f"account {account.name} at {settings.halo_api_url}",
            lambda account=account: check_account(account, settings, _RETRY_POLICY),  # type: ignore[misc]
            str,
        )
    usable = check(
        f"staging {_in_full(settings.halo_staging)}",
        lambda: _usable(open_store(settings.halo_staging, settings.halo_staging_locks)),
        lambda found: "; ".join(filter(None, ["can be written", found[1]])),
    )
    store = usable[0] if usable else None
    destinations = check(
        "sensors",
        lambda: destinations_of(settings),
        lambda found: ", ".join(destination.name for destination in found),
    )
    found = status(store, destinations) if store and destinations else Status()
    for problem in found.problems:
        faulty.append("what is in the staging")
        say(f"FAIL in the staging: {problem}")
    pending = found.destinations
    known = store.destinations() if store else []
    for destination in destinations or []:
        check(
            f"sensor {destination.name}",
            lambda destination=destination: check_sensor(destination),  # type: ignore[misc]
            lambda found, destination=destination, name=destination.name: (
                found  # type: ignore[misc]
                + (_waiting(pending[name], new=name not in known) if pending else "")
                + _unknown_types(destination)
            ),
        )
    if faulty:
        warn(f"error: not usable: {', '.join(faulty)}")
    return not faulty


def _in_full(staging: str) -> str:
    return redact_address(staging) if "://" in staging else str(Path(staging).absolute())


def _usable(store: Store) -> tuple[Store, str]:
    """Check that the staging can be read and written; if it does not exist, the folder above it.

    On object storage this writes a probe that shows whether locks keep two runs apart.

    Returns:
        The staging, and a remark about its locks.

    Raises:
        HaloUsmError: It cannot be read or written, or its locks do not keep two runs apart.
    """
    store.accounts("raw")
    if store.root is not None:
        there = next(folder for folder in (store.root, *store.root.parents) if folder.exists())
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            raise StagingError(f"{there} cannot be written by this user; change HALO_STAGING")
    return store, store.backend.check_locks()


def _waiting(counts: DeliveryCounts, *, new: bool) -> str:
    left_out = f"; {counts.excluded:,} are left out by its options" if counts.excluded else ""
    return (
        f"; new: it would get {counts.pending:,} events that are staged{left_out}"
        if new
        else f"; {counts.pending:,} events are pending{left_out}"
    )


def _unknown_types(destination: Destination) -> str:
    """A warning about types in `types=` that the catalogue does not know."""
    from tasks.plugin.catalogue import TYPES

    unknown = sorted(destination.takes.types.difference(TYPES))
    if not unknown:
        return ""
    similar = [get_close_matches(name, TYPES, n=1) for name in unknown]
    named = [
        f"{name} (did you mean {close[0]}?)" if close else name
        for name, close in zip(unknown, similar, strict=True)
    ]
    return f"; warning: types= names what the catalogue does not know: {', '.join(named)}"
