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

from tasks.errors import InUseError, SensorError, SettingsError, StagingError
from tasks.load.pending_days import PendingDay, pending_days, why_nothing
from tasks.load.result import (
    LoadResult,
    ReplayResult,
    Rest,
    pending_after_load,
    undelivered_by_replay,
)
from tasks.retry_policy import DELIVERY_PAUSES
from tasks.staging.ledger import LedgerError
from tasks.staging.locks import hold
from tasks.staging.pending import Selection
from tasks.time_window import Window, isoformat

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.load.batch_sender import BatchSender
    from tasks.staging.pending import Only
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination


def load_destination(
    store: Store,
    destination: Destination,
    *,
    run_id: str,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
    pauses: tuple[float, ...] = DELIVERY_PAUSES,
    wait: float = 0.0,
    say_why: bool = False,
) -> LoadResult:
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
    selection = Selection("undelivered", destination.since, None, _now())
    job = _Job(store, destination, selection, run_id, stop, progress, pauses, wait, say_why=say_why)
    return _run(job, LoadResult(destination.name))


def replay_destination(
    store: Store,
    destination: Destination,
    window: Window,
    *,
    only: Only = "failed",
    run_id: str,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
    pauses: tuple[float, ...] = DELIVERY_PAUSES,
    wait: float = 0.0,
    options: str = "",
) -> LoadResult:
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
    selection = Selection(only, destination.since, window)
    job = _Job(store, destination, selection, run_id, stop, progress, pauses, wait, options)
    return _run(job, ReplayResult(destination.name))


def _now() -> Any:
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")


@dataclass(frozen=True)
class _Job:
    """A load, or a replay: that one has a window to choose from."""

    store: Store
    destination: Destination
    selection: Selection
    run_id: str
    stop: threading.Event | None
    progress: Callable[[int, int], None] | None
    pauses: tuple[float, ...]
    wait: float
    options: str = ""
    say_why: bool = True


def _run(job: _Job, done: LoadResult) -> LoadResult:
    name = job.destination.name
    try:
        lock = hold(job.store, "destination", name, run_id=job.run_id, wait=job.wait, stop=job.stop)
        with lock:
            done.problems += _unexpected_entries(job)
            days = sorted(_days(job, done), key=lambda day: (day.ledger.day, day.ledger.account))
            complete = not days or _deliver(job, days, done)
            if job.selection.window is None:
                pending = sum(_count(day, job.selection, day.left, done) for day in days)
                done.not_tried = max(pending - done.failed, 0)
                done.asked = done.tried + done.not_tried
                if done.pending:
                    done.problems = [pending_after_load(done, complete=complete)]
            else:
                rest = _rest(job, days, job.selection.window, done)
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


def _notes(job: _Job, done: LoadResult) -> list[str]:
    """What is worth knowing of how little was to be done."""
    name, since, window = done.subject, job.destination.since, job.selection.window
    if job.say_why and not (done.asked or done.problems):
        return [why_nothing(job.store, name, job.selection)]
    if since is not None and window is not None and since > window.since:
        return [f"destination {name}: nothing older is delivered than its since={isoformat(since)}"]
    return []


def _unexpected_entries(job: _Job) -> list[str]:
    """What is foreign where a load looks."""
    store, name = job.store, job.destination.name
    found = [*store.unexpected_entries("normalized"), *store.unexpected_entries("deliveries", name)]
    return [f"destination {name}: {unexpected}" for unexpected in found]


def _days(job: _Job, done: LoadResult) -> list[PendingDay]:
    """The days that have something to deliver, by names; an account's trouble is its own."""
    found: list[PendingDay] = []
    for account in job.store.accounts("normalized"):
        try:
            found += pending_days(job.store, job.destination.name, account, job.selection)
        except StagingError as fault:
            done.problems.append(_unreadable(done, account, fault))
    return found


def _unreadable(done: LoadResult, what: object, fault: StagingError) -> str:
    return f"destination {done.subject}: account {what} cannot be loaded: {fault}"


def _deliver(job: _Job, days: list[PendingDay], done: LoadResult) -> bool:
    """Deliver what the days hold, the oldest first; False where that ended early."""
    from tasks.load.batch_sender import BatchSender
    from tasks.load.recorded_transport import RecordedTransport

    try:
        transport = job.destination.open_transport()
    except (SensorError, SettingsError) as fault:
        done.problems.append(f"destination {done.subject}: {fault}")
        return False
    stop = job.stop or threading.Event()
    recorded = RecordedTransport(job.destination, transport, job.run_id, stop)
    sender = BatchSender(recorded, job.pauses)
    try:
        complete = _deliver_days(job, days, sender, done)
    finally:
        done.tried, done.delivered = recorded.tried, recorded.delivered
        done.batches = recorded.batches
        done.failed = recorded.tried - recorded.delivered
    for batch in sender.deferred:
        for day in days:
            day.done &= day.ledger is not batch.ledger
    if done.failed and (complete or done.interrupted):
        count = "1 event" if done.failed == 1 else f"{done.failed:,} events"
        done.problems.append(f"destination {done.subject}: {count} failed: {recorded.error}")
    return complete


def _deliver_days(job: _Job, days: list[PendingDay], sender: BatchSender, done: LoadResult) -> bool:
    from tasks.load.batch_sender import GivenUp
    from tasks.load.recorded_transport import Stopped

    total = sum(day.events for day in days)
    try:
        for day in days:
            try:
                day.steadily(partial(_deliver_day, job, day, sender, total))
            except LedgerError:
                raise
            except StagingError as fault:
                day.reported = True
                done.problems.append(_unreadable(done, day, fault))
        sender.finish()
    except LedgerError as fault:
        done.problems.append(f"destination {done.subject} cannot be loaded: {fault}")
        for day in days:
            day.reported = True
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


def _deliver_day(job: _Job, day: PendingDay, sender: BatchSender, total: int) -> None:
    from tasks.load.batches import batches

    selection = job.selection
    if day.begun is None:
        day.begun = _now()
    else:
        # what was tried before the files were replaced is done, or put aside by the sender
        selection = replace(selection, tried_before=day.begun)
        sender.forget(day.ledger)
    for batch in batches(day.ledger, day.files(selection), job.destination, selection.select):
        sender.deliver(batch)
        if job.progress is not None:
            tried = sender.transport.tried
            job.progress(tried, max(total, tried))
    day.done = True


def _rest(job: _Job, days: list[PendingDay], window: Window, done: LoadResult) -> Rest | None:
    """Count what a replay did not try; how another one goes on from there, None where all was."""
    selection = job.selection
    left = [
        (day, count)
        for day in days
        if not day.done and (count := _count(day, selection, day.not_tried, done))
    ]
    if not left:
        return None
    done.not_tried = sum(count for _, count in left)
    dates = [day.ledger.day for day, _ in left]
    first = min(_first(day, selection, window) for day, _ in left if day.ledger.day == dates[0])
    repeated = 0
    if selection.only == "all":
        for day in days:
            if dates[0] <= day.ledger.day <= dates[-1]:
                repeated += _count(day, selection, partial(day.delivered_since, first), done)
    until = min(window.until, Window.of_day(dates[-1]).until)
    return Rest(first, until, selection.only, repeated, job.options)


def _first(day: PendingDay, selection: Selection, window: Window) -> datetime:
    """When the first event of a day that was not tried was created, or a time before that."""
    try:
        first = day.steadily(partial(day.first_not_tried, selection))
    except StagingError:  # which was said when they were counted
        first = None
    return first or max(window.since, Window.of_day(day.ledger.day).since)


def _count(
    day: PendingDay, selection: Selection, count: Callable[[Selection], int], done: LoadResult
) -> int:
    """Count events of a day; as names told where files don't."""
    try:
        return day.steadily(partial(count, selection))
    except StagingError as fault:
        if not day.reported:
            day.reported = True
            done.problems.append(_unreadable(done, day, fault))
        return day.events
