"""Whether everything that a sync needs is usable; asks for it in turn, and sends no event.

`halo-usm check` shows the findings on a terminal, the flow `check` in its log.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from flows.context import accounts_of, destinations_of
from flows.dask_scheduler import count_workers, scheduler_address
from tasks.accounts import open_to_others
from tasks.errors import HaloUsmError, StagingError
from tasks.extract.account import check_account
from tasks.plurals import counted
from tasks.redaction import redact_address
from tasks.reports.status import Status, status
from tasks.retry_policy import RetryPolicy
from tasks.staging.store import open_store
from tasks.syslog.transport import check as check_sensor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from tasks.accounts import Account
    from tasks.settings import Settings
    from tasks.staging.deliveries.pending import DeliveryCounts
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination

T = TypeVar("T")

# Somebody waits for the answer.
_RETRY_POLICY = RetryPolicy(total=10.0)


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes:
        what: What was looked at.
        text: What is to be said of it: where it is not usable, why, and what to do.
        usable: Whether it is.
    """

    what: str
    text: str
    usable: bool = True

    def __str__(self) -> str:
        return f"{'ok  ' if self.usable else 'FAIL'} {self.what}: {self.text}"


def findings(settings: Settings, account_blocks: Sequence[str] = ()) -> Iterator[Finding]:
    """Look at the auth file, each account's key, the staging, Dask and each sensor, one by one.

    Args:
        settings: Where they are.
        account_blocks: Names of Prefect blocks in the place of the auth file.
    """
    accounts = yield from _accounts(settings, account_blocks)
    for account in accounts or []:
        yield from _ask(
            f"account {account.name} at {settings.halo_api_url}",
            partial(check_account, account, settings, _RETRY_POLICY),
            str,
        )
    store = yield from _ask(
        f"staging {_in_full(settings.halo_staging)}",
        lambda: open_store(settings.halo_staging, settings.halo_staging_locks),
        _check_staging,
    )
    if settings.halo_task_runner == "dask":
        yield from _ask(
            "task runner dask",
            lambda: count_workers(scheduler_address(settings) or ""),
            str,
        )
    destinations = yield from _ask(
        "sensors",
        lambda: destinations_of(settings),
        lambda found: ", ".join(destination.name for destination in found),
    )
    found = status(store, destinations) if store and destinations else Status()
    for problem in found.problems:
        yield Finding("what is in the staging", problem, usable=False)
    pending = found.destinations
    known = store.destinations() if store else []
    for destination in destinations or []:
        name = destination.name
        remarks = _waiting(pending[name], new=name not in known) if pending else ""
        remarks += _unknown_types(destination)
        yield from _ask(
            f"sensor {name}",
            partial(check_sensor, destination),
            lambda found, remarks=remarks: found + remarks,  # type: ignore[misc]
        )


def _ask(
    what: str, answer: Callable[[], T], describe: Callable[[T], str]
) -> Generator[Finding, None, T | None]:
    """Yield what was found, and return the answer; None where there is none."""
    try:
        found = answer()
        text = describe(found)
    except HaloUsmError as error:
        yield Finding(what, str(error), usable=False)
        return None
    yield Finding(what, text)
    return found


def _accounts(
    settings: Settings, blocks: Sequence[str]
) -> Generator[Finding, None, list[Account] | None]:
    auth = settings.halo_auth_file.absolute()
    return _ask(
        f"account blocks {', '.join(blocks)}" if blocks else f"auth file {auth}",
        partial(accounts_of, settings.model_copy(update={"halo_auth_file": auth}), blocks),
        lambda found: "; ".join(
            filter(
                None,
                [
                    ", ".join(account.name for account in found),
                    "" if blocks else open_to_others(auth),
                ],
            )
        ),
    )


def _in_full(staging: str) -> str:
    return redact_address(staging) if "://" in staging else str(Path(staging).absolute())


def _check_staging(store: Store) -> str:
    """Check that the staging can be read and written; if it does not exist, the folder above it.

    On object storage this writes a probe that shows whether locks keep two runs apart.

    Returns:
        What there is to say of it.

    Raises:
        HaloUsmError: It cannot be read or written, or its locks do not keep two runs apart.
    """
    store.accounts("raw")
    if store.root is not None:
        there = next(folder for folder in (store.root, *store.root.parents) if folder.exists())
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            raise StagingError(f"{there} cannot be written by this user; change HALO_STAGING")
    return "; ".join(filter(None, ["can be written", store.backend.check_locks()]))


def _waiting(counts: DeliveryCounts, *, new: bool) -> str:
    left_out = f"; {counts.excluded:,} left out by its options" if counts.excluded else ""
    return (
        f"; new: it would get {counted(counts.pending, 'event')} from the staging{left_out}"
        if new
        else f"; {counted(counts.pending, 'event is', 'events are')} pending{left_out}"
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
