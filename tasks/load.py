"""Load: deliver to a destination what is normalized and not delivered; and replay.

What is to be done is normalized less what the ledger says is delivered, the oldest date first.
Names tell which days are settled; only others are opened. A batch holds events of one account
and day, in order of creation, and is in the ledger before the next one is sent, so that a crash
repeats at most one batch.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.choice import Choice
from tasks.days import days_of
from tasks.errors import InUseError, SensorError, SettingsError, StagingError
from tasks.staging.ledger import LedgerError
from tasks.staging.locks import hold
from tasks.windows import Window, isoformat

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.choice import Only
    from tasks.days import Day
    from tasks.delivery import Courier
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination

_AT_FAULT_FOR = np.timedelta64(1, "D")
_PAUSES = (1.0, 4.0)


@dataclass
class Loaded:
    """What a load or replay did for one destination.

    Attributes:
        subject: The destination's name.
        delivered: Events that were delivered.
        failed: Events that were tried and not delivered.
        pending: Events that stay to be delivered, of what was there at the start.
        batches: Attempts made.
        problems: What failed or stays pending: who, how many, where, what to do.
        notes: What is worth knowing and no failure.
        interrupted: Whether it ended early because it was asked to.
    """

    subject: str
    delivered: int = 0
    failed: int = 0
    pending: int = 0
    batches: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False


def load_destination(
    store: Store,
    destination: Destination,
    *,
    run_id: str,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
    pauses: tuple[float, ...] = _PAUSES,
) -> Loaded:
    """Deliver to a destination what is normalized and not delivered.

    An event that was shown to be at fault within the last day is left out, and stays pending.

    Args:
        store: The staging.
        destination: Where to.
        run_id: Kept in the ledger.
        stop: Set when the load is to end early: the batch in hand is finished first.
        progress: Told how many of how many events were tried.
        pauses: Seconds before a failed batch is tried again.

    Returns:
        What was done; expected faults are among its problems, and a destination in the hands of
        another run is left to it with a note.
    """
    choice = Choice("undelivered", destination.since, None, _now() - _AT_FAULT_FOR)
    return _run(_Job(store, destination, choice, run_id, stop, progress, pauses))


def replay_destination(
    store: Store,
    destination: Destination,
    window: Window,
    *,
    only: Only = "failed",
    run_id: str,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
    pauses: tuple[float, ...] = _PAUSES,
) -> Loaded:
    """Deliver the events of a range to a destination again, from staging.

    An event that was delivered and now fails is pending again. What is older than the
    destination's `since` is left out.

    Args:
        store: The staging.
        destination: Where to.
        window: Events created in it.
        only: Which of them.
        run_id: Kept in the ledger.
        stop: Set when the replay is to end early: the batch in hand is finished first.
        progress: Told how many of how many events were tried.
        pauses: Seconds before a failed batch is tried again.

    Returns:
        As `load_destination`; `pending` counts what of the range is still as `only` says, after
        `all` what is not delivered.
    """
    choice = Choice(only, destination.since, window)
    done = _run(_Job(store, destination, choice, run_id, stop, progress, pauses))
    if destination.since is not None and destination.since > window.since:
        done.notes.append(
            f"destination {destination.name}: nothing older is delivered than its since="
            + isoformat(destination.since)
        )
    return done


def _now() -> Any:
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")


@dataclass(frozen=True)
class _Job:
    """A load or a replay."""

    store: Store
    destination: Destination
    choice: Choice
    run_id: str
    stop: threading.Event | None
    progress: Callable[[int, int], None] | None
    pauses: tuple[float, ...]


def _run(job: _Job) -> Loaded:
    name = job.destination.name
    done = Loaded(name)
    try:
        with hold(job.store, "destination", name, run_id=job.run_id, stop=job.stop):
            done.problems += _strangers(job)
            days = sorted(_days(job, done), key=lambda day: (day.ledger.day, day.ledger.account))
            if days:
                _deliver(job, days, done)
                done.pending = sum(_left(job, day, done) for day in days)
    except InUseError as held:
        done.notes.append(str(held))
    except StagingError as fault:
        done.problems.append(f"destination {name} cannot be loaded: {fault}")
    if done.pending:
        done.problems = [_pending(done)]
    return done


def _pending(done: Loaded) -> str:
    """What stays pending, and why."""
    one = done.pending == 1
    stay = "1 event stays pending" if one else f"{done.pending:,} events stay pending"
    them = "it" if one else "them"
    if not done.problems and not done.interrupted:
        return (
            f"destination {done.subject}: {stay}: at fault {'itself' if one else 'themselves'}, "
            f"as `halo-usm audit --event` tells; loads try {them} once a day, "
            f"and `halo-usm replay` at once"
        )
    why = "; ".join(done.problems) or f"destination {done.subject}: the run was asked to end"
    return f"{why}; {stay}, a later load sends {them}"


def _strangers(job: _Job) -> list[str]:
    """What is foreign where a load looks."""
    store, name = job.store, job.destination.name
    found = [*store.strangers("normalized"), *store.strangers("deliveries", name)]
    return [f"destination {name}: {stranger}" for stranger in found]


def _days(job: _Job, done: Loaded) -> list[Day]:
    """The days that have something to deliver, by names; an account's trouble is its own."""
    found: list[Day] = []
    for account in job.store.accounts("normalized"):
        try:
            found += days_of(job.store, job.destination.name, account, job.choice)
        except StagingError as fault:
            done.problems.append(_unreadable(done, account, fault))
    return found


def _unreadable(done: Loaded, what: object, fault: StagingError) -> str:
    return f"destination {done.subject}: account {what} cannot be loaded: {fault}"


def _deliver(job: _Job, days: list[Day], done: Loaded) -> None:
    """Deliver what the days hold, the oldest first, until the receiver is given up."""
    from tasks.delivery import Courier, GivenUp, Stopped
    from tasks.syslog.transport import open_transport

    try:
        transport = open_transport(job.destination)
    except (SensorError, SettingsError) as fault:
        done.problems.append(f"destination {done.subject}: {fault}")
        return
    stop = job.stop or threading.Event()
    courier = Courier(job.destination, transport, job.run_id, stop, job.pauses)
    total = sum(day.events for day in days)
    given_up = False
    try:
        for day in days:
            try:
                day.steadily(partial(_deliver_day, job, day, courier, total))
            except LedgerError:
                raise
            except StagingError as fault:
                day.told = True
                done.problems.append(_unreadable(done, day, fault))
    except LedgerError as fault:
        given_up = True
        done.problems.append(f"destination {done.subject} cannot be loaded: {fault}")
        for day in days:
            day.told = True
    except GivenUp as fault:
        given_up = True
        done.problems.append(
            f"destination {done.subject} is given up for this run: {fault}; "
            "`halo-usm check` tells whether it can be reached"
        )
    except Stopped:
        done.interrupted = True
    finally:
        done.delivered, done.batches = courier.delivered, courier.batches
        done.failed = courier.tried - courier.delivered
    if done.failed and not given_up:
        count = "1 event" if done.failed == 1 else f"{done.failed:,} events"
        done.problems.append(f"destination {done.subject}: {count} failed: {courier.error}")


def _deliver_day(job: _Job, day: Day, courier: Courier, total: int) -> None:
    from tasks.parcels import parcels

    choice = job.choice
    if day.begun is None:
        day.begun = _now()
    else:
        # what was tried before the files were replaced is done, or put aside by the courier
        choice = replace(choice, tried_before=day.begun)
    segments = day.ledger.segments(day.normalized, day.ledger.names(), choice.since)
    files = choice.files(segments, day.ledger.day)
    for parcel in parcels(day.ledger, files, job.destination, choice.select):
        courier.deliver(parcel)
        if job.progress is not None:
            job.progress(courier.tried, max(total, courier.tried))


def _left(job: _Job, day: Day, done: Loaded) -> int:
    """How many events of a day are still to be delivered; as names told where files don't."""
    try:
        return day.steadily(partial(day.left, job.choice))
    except StagingError as fault:
        if not day.told:
            done.problems.append(_unreadable(done, day, fault))
        return day.events
