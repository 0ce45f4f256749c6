"""Load: deliver to a destination what is normalized and not delivered; and replay.

What is to be done is normalized less what the ledger says is delivered, the oldest date first.
Names tell which days are settled; only others are opened. A batch holds events of one account
and day, in order of creation, and is in the ledger before the next one is sent, so that a crash
repeats at most one batch.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.choice import Choice
from tasks.days import Day, days_of, why_nothing
from tasks.errors import InUseError, SensorError, SettingsError, StagingError
from tasks.loaded import Loaded, Replayed, Rest, pending_after_load, undelivered_by_replay
from tasks.staging.ledger import LedgerError
from tasks.staging.locks import hold
from tasks.windows import Window, isoformat

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.choice import Only
    from tasks.delivery import Courier
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination

_PAUSES = (1.0, 4.0)


def load_destination(
    store: Store,
    destination: Destination,
    *,
    run_id: str,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
    pauses: tuple[float, ...] = _PAUSES,
    wait: float = 0.0,
    say_why: bool = False,
) -> Loaded:
    """Deliver to a destination what is normalized and not delivered.

    An event that failed alone in three runs, while others were delivered right before and right
    after it, is put off for an hour, later for a day, and stays pending.

    Args:
        store: The staging.
        destination: Where to.
        run_id: Kept in the ledger.
        stop: Set when the load is to end early: the batch in hand is finished first.
        progress: Told how many of how many events were tried.
        pauses: Seconds before a failed batch is tried again.
        wait: Seconds to wait for another run that holds the destination.
        say_why: Whether to note why there was nothing to do.

    Returns:
        What was done; expected faults are among its problems, and a destination in the hands of
        another run is left to it with a note.
    """
    choice = Choice("undelivered", destination.since, None, _now())
    job = _Job(store, destination, choice, run_id, stop, progress, pauses, wait, say_why=say_why)
    return _run(job, Loaded(destination.name))


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
    wait: float = 0.0,
    options: str = "",
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
        wait: Seconds to wait for another run that holds the destination.
        options: Further options of the command that goes on where this replay ends early.

    Returns:
        As `load_destination`; anything asked for and not delivered is a problem.
    """
    choice = Choice(only, destination.since, window)
    job = _Job(store, destination, choice, run_id, stop, progress, pauses, wait, options)
    return _run(job, Replayed(destination.name))


def _now() -> Any:
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")


@dataclass(frozen=True)
class _Job:
    """A load, or a replay: that one has a window to choose from."""

    store: Store
    destination: Destination
    choice: Choice
    run_id: str
    stop: threading.Event | None
    progress: Callable[[int, int], None] | None
    pauses: tuple[float, ...]
    wait: float
    options: str = ""
    say_why: bool = True


def _run(job: _Job, done: Loaded) -> Loaded:
    name = job.destination.name
    try:
        lock = hold(job.store, "destination", name, run_id=job.run_id, wait=job.wait, stop=job.stop)
        with lock:
            done.problems += _strangers(job)
            days = sorted(_days(job, done), key=lambda day: (day.ledger.day, day.ledger.account))
            complete = not days or _deliver(job, days, done)
            if job.choice.window is None:
                pending = sum(_count(day, job.choice, day.left, done) for day in days)
                done.not_tried = max(pending - done.failed, 0)
                done.asked = done.tried + done.not_tried
                if done.pending:
                    done.problems = [pending_after_load(done, complete=complete)]
            else:
                rest = _rest(job, days, job.choice.window, done)
                done.asked = done.tried + done.not_tried
                if done.pending:
                    done.problems = [undelivered_by_replay(done, rest)]
            done.notes += _notes(job, done)
    except InUseError as held:
        done.held = True
        done.notes.append(str(held))
        done.interrupted = job.stop is not None and job.stop.is_set()
    except StagingError as fault:
        done.problems.append(f"destination {name} cannot be loaded: {fault}")
    return done


def _notes(job: _Job, done: Loaded) -> list[str]:
    """What is worth knowing of how little was to be done."""
    name, since, window = done.subject, job.destination.since, job.choice.window
    if job.say_why and not (done.asked or done.problems):
        return [why_nothing(job.store, name, job.choice)]
    if since is not None and window is not None and since > window.since:
        return [f"destination {name}: nothing older is delivered than its since={isoformat(since)}"]
    return []


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


def _deliver(job: _Job, days: list[Day], done: Loaded) -> bool:
    """Deliver what the days hold, the oldest first; False where that ended early."""
    from tasks.delivery import Courier
    from tasks.sending import Sender
    from tasks.syslog.transport import open_transport

    try:
        transport = open_transport(job.destination)
    except (SensorError, SettingsError) as fault:
        done.problems.append(f"destination {done.subject}: {fault}")
        return False
    stop = job.stop or threading.Event()
    sender = Sender(job.destination, transport, job.run_id, stop)
    courier = Courier(sender, job.pauses)
    try:
        complete = _deliver_days(job, days, courier, done)
    finally:
        done.tried, done.delivered, done.batches = sender.tried, sender.delivered, sender.batches
        done.failed = sender.tried - sender.delivered
    for parcel in courier.deferred:
        for day in days:
            day.done &= day.ledger is not parcel.ledger
    if done.failed and (complete or done.interrupted):
        count = "1 event" if done.failed == 1 else f"{done.failed:,} events"
        done.problems.append(f"destination {done.subject}: {count} failed: {sender.error}")
    return complete


def _deliver_days(job: _Job, days: list[Day], courier: Courier, done: Loaded) -> bool:
    from tasks.delivery import GivenUp
    from tasks.sending import Stopped

    total = sum(day.events for day in days)
    try:
        for day in days:
            try:
                day.steadily(partial(_deliver_day, job, day, courier, total))
            except LedgerError:
                raise
            except StagingError as fault:
                day.told = True
                done.problems.append(_unreadable(done, day, fault))
        courier.finish()
    except LedgerError as fault:
        done.problems.append(f"destination {done.subject} cannot be loaded: {fault}")
        for day in days:
            day.told = True
    except GivenUp as fault:
        done.problems.append(
            f"destination {done.subject} is given up for this run: {fault}; "
            "`halo-usm check` tells whether it can be reached"
        )
    except Stopped:
        done.interrupted = True
    else:
        return True
    return False


def _deliver_day(job: _Job, day: Day, courier: Courier, total: int) -> None:
    from tasks.parcels import parcels

    choice = job.choice
    if day.begun is None:
        day.begun = _now()
    else:
        # what was tried before the files were replaced is done, or put aside by the courier
        choice = replace(choice, tried_before=day.begun)
        courier.forget(day.ledger)
    for parcel in parcels(day.ledger, day.files(choice), job.destination, choice.select):
        courier.deliver(parcel)
        if job.progress is not None:
            tried = courier.sender.tried
            job.progress(tried, max(total, tried))
    day.done = True


def _rest(job: _Job, days: list[Day], window: Window, done: Loaded) -> Rest | None:
    """Count what a replay did not try; how another one goes on from there, None where all was."""
    choice = job.choice
    left = [
        (day, count)
        for day in days
        if not day.done and (count := _count(day, choice, day.not_tried, done))
    ]
    if not left:
        return None
    done.not_tried = sum(count for _, count in left)
    dates = [day.ledger.day for day, _ in left]
    first = min(_first(day, choice, window) for day, _ in left if day.ledger.day == dates[0])
    repeated = 0
    if choice.only == "all":
        for day in days:
            if dates[0] <= day.ledger.day <= dates[-1]:
                repeated += _count(day, choice, partial(day.delivered_since, first), done)
    until = min(window.until, Window.of_day(dates[-1]).until)
    return Rest(first, until, choice.only, repeated, job.options)


def _first(day: Day, choice: Choice, window: Window) -> datetime:
    """When the first event of a day that was not tried was created, or a time before that."""
    try:
        first = day.steadily(partial(day.first_not_tried, choice))
    except StagingError:  # which was said when they were counted
        first = None
    return first or max(window.since, Window.of_day(day.ledger.day).since)


def _count(day: Day, choice: Choice, count: Callable[[Choice], int], done: Loaded) -> int:
    """Count events of a day; as names told where files don't."""
    try:
        return day.steadily(partial(count, choice))
    except StagingError as fault:
        if not day.told:
            day.told = True
            done.problems.append(_unreadable(done, day, fault))
        return day.events
