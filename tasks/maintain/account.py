"""Maintain one account: compact its small files, seal its days, drop the old ones."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from tasks.maintain.compaction import GRACE, compact_account
from tasks.maintain.maintenance_run import LOCK_WAIT, MaintenanceRun
from tasks.maintain.retention import drop_account
from tasks.maintain.sealing import seal_account
from tasks.plurals import counted
from tasks.results import StageResult
from tasks.staging.seals.signatures import read_signing_key
from tasks.time_window import Window, isoformat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tasks.maintain.retention import Rules
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination


_ONE_ACCOUNT = threading.Lock()
"""A process maintains one account at a time: each locks destinations, and has a day in memory."""


@dataclass
class MaintainResult(StageResult):
    """What the maintenance of one account did.

    Attributes:
        days_compacted: Days of which raw, normalized and rejected became a file each.
        ledger_days_compacted: Days of ledgers that did.
        files_removed: Files that others replace.
        days_sealed: Days that were sealed.
        days_dropped: Days of which raw, normalized and rejected were dropped.
        undelivered_dropped: Events among them that a destination had not got, added up.
        ledger_days_dropped: Days of ledgers that were dropped.
    """

    DONE = "maintained"

    days_compacted: int = 0
    ledger_days_compacted: int = 0
    files_removed: int = 0
    days_sealed: int = 0
    days_dropped: int = 0
    undelivered_dropped: int = 0
    ledger_days_dropped: int = 0


@dataclass
class PlannedMaintenance(MaintainResult):
    """What it would do."""

    DONE = "would maintain"


def maintain_account(
    store: Store,
    account: str,
    destinations: Sequence[Destination],
    rules: Rules,
    *,
    run_id: str,
    now: datetime,
    lookback: timedelta = timedelta(minutes=15),
    dry_run: bool = False,
    sign: Path | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
    wait: float = LOCK_WAIT,
    grace: float = GRACE,
) -> MaintainResult:
    """Maintain one account.

    Args:
        store: The staging.
        account: Whose days.
        destinations: Those that are set up: what one of them has not got stays as it is.
        rules: What is kept for how long.
        run_id: Shown to other runs that want a lock.
        now: The time that ages count from; see `ages_count_from`.
        lookback: How much of covered time every sync reads again, for late events.
        dry_run: Only say what would be done.
        sign: The file of the key that seals are signed with.
        stop: Set when the work is to end early, in order; the next one goes on.
        progress: Told how many of how many days are done.
        wait: Seconds to wait for another run; what it then still holds is left to it.
        grace: Seconds before replaced files are removed.

    Returns:
        What was done. What is left, because something of it is still to be done or because another
        run holds it, is among the notes; expected faults are among the problems.
    """
    done = (PlannedMaintenance if dry_run else MaintainResult)(account)
    stop = stop or threading.Event()
    if datetime.now(UTC) - now > timedelta(days=1):
        done.notes.append(
            f"nothing is staged that is newer than {isoformat(now)}: the age of days counts from "
            "there"
        )
    key = read_signing_key(sign) if sign else None
    done.warnings += [key.warning] if key and key.warning else []
    run = MaintenanceRun(store, account, destinations, now, lookback, run_id, dry_run, stop, wait)
    with _ONE_ACCOUNT:
        compacted = compact_account(run, grace=grace, pause=partial(_pause, stop))
        sealed = seal_account(run, key)
        dropped = drop_account(run, rules, unsealed=sealed.unsealed, progress=progress)
    done.days_compacted, done.ledger_days_compacted = compacted.days, compacted.ledgers
    done.files_removed = compacted.removed
    done.days_sealed = sealed.sealed
    done.days_dropped, done.ledger_days_dropped = dropped.days, dropped.ledger_days
    done.undelivered_dropped = dropped.undelivered
    for part in (compacted, sealed, dropped):
        done.notes += part.notes
        done.problems += part.problems
    if done.undelivered_dropped and not dry_run:
        many = counted(done.undelivered_dropped, "pending delivery was", "pending deliveries were")
        done.warnings.append(
            f"account {account}: {many} dropped with their events, as --drop-undelivered says"
        )
    done.interrupted = stop.is_set()
    return done


def _pause(stop: threading.Event, seconds: float) -> bool:
    """Wait, while another account may be maintained; whether to end early."""
    _ONE_ACCOUNT.release()
    try:
        return stop.wait(seconds)
    finally:
        _ONE_ACCOUNT.acquire()


def ages_count_from(store: Store) -> datetime:
    """The time that ages count from: now, or the end of the newest day that is staged.

    So a clock that is wrong drops nothing, and what a sync last read stays while no other comes.

    Raises:
        StagingError: The staging cannot be listed.
    """
    now = datetime.now(UTC)
    newest = [days[-1] for name in store.accounts("raw") if (days := store.dates("raw", name))]
    return min(now, Window.of_day(max(newest)).until) if newest else now
