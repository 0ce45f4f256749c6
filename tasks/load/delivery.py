"""The delivery of what is selected to one destination: a load, or a replay."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tasks.errors import InUseError, SensorError, SettingsError, StagingError
from tasks.load.pending_days import PendingDay, pending_days, why_nothing
from tasks.load.result import LoadResult, Rest, pending_after_load, undelivered_by_replay
from tasks.staging.dropped import no_longer_staged
from tasks.staging.ledger import LedgerError
from tasks.staging.locks import hold
from tasks.time_window import Window, isoformat

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.load.batch_sender import BatchSender
    from tasks.staging.pending import Selection
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination


def now() -> np.datetime64:
    """The time in UTC, in microseconds."""
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")


@dataclass(frozen=True)
class Delivery:
    """A load or a replay of one destination; only a replay's selection has a window.

    Attributes:
        selection: Which events are to be delivered.
        done: What was done so far.
        pauses: Seconds before a failed batch is tried again.
        options: Further options of the command that goes on with a replay.
    """

    store: Store
    destination: Destination
    selection: Selection
    done: LoadResult
    run_id: str
    stop: threading.Event | None
    progress: Callable[[int, int], None] | None
    pauses: tuple[float, ...]
    wait: float
    options: str = ""
    say_why: bool = True

    def run(self) -> LoadResult:
        """Deliver while the destination is locked, and return what was done."""
        done = self.done
        name = self.destination.name
        try:
            lock = hold(
                self.store, "destination", name, run_id=self.run_id, wait=self.wait, stop=self.stop
            )
            with lock:
                done.problems += self._unexpected_entries()
                days = sorted(self._days(), key=lambda day: (day.ledger.day, day.ledger.account))
                complete = not days or self._deliver(days)
                if self.selection.window is None:
                    pending = sum(self._count(day, day.left) for day in days)
                    done.not_tried = max(pending - done.failed, 0)
                    done.asked = done.tried + done.not_tried
                    if done.pending:
                        done.problems = [pending_after_load(done, complete=complete)]
                else:
                    done.rest = self._rest(days, self.selection.window)
                    done.asked = done.tried + done.not_tried
                    if done.pending:
                        done.problems = [undelivered_by_replay(done)]
                    done.problems += no_longer_staged(self.store, self.selection.window)
                done.notes += self._notes()
        except InUseError as held:
            done.held, done.held_by = True, held.run
            if self.selection.window is None:
                done.notes.append(str(held))
            else:  # the other run does not do what was asked for
                done.problems.append(f"{held}; nothing is replayed: run again, or with --wait")
            done.interrupted = self.stop is not None and self.stop.is_set()
        except StagingError as fault:
            done.problems.append(f"destination {name} cannot be loaded: {fault}")
        return done

    def _notes(self) -> list[str]:
        """What is worth knowing where little or nothing was to be delivered."""
        name, takes, window = self.done.subject, self.selection.takes, self.selection.window
        if self.say_why and not (self.done.asked or self.done.problems):
            return [why_nothing(self.store, name, self.selection)]
        if window is None:
            return []
        notes = []
        if takes.since is not None and takes.since > window.since:
            since = isoformat(takes.since)
            notes.append(f"destination {name}: nothing older is delivered than its since={since}")
        if takes.by_content:
            only = replace(takes, since=None)
            notes.append(f"destination {name}: only what it takes is delivered: {only}")
        return notes

    def _unexpected_entries(self) -> list[str]:
        """What is foreign in the folders that a load reads."""
        store, name = self.store, self.destination.name
        found = [
            *store.unexpected_entries("normalized"),
            *store.unexpected_entries("deliveries", name),
        ]
        return [f"destination {name}: {unexpected}" for unexpected in found]

    def _days(self) -> list[PendingDay]:
        """The days that have events to deliver, by names; an unreadable account stops no other."""
        found: list[PendingDay] = []
        for account in self.store.accounts("normalized"):
            try:
                found += pending_days(self.store, self.destination.name, account, self.selection)
            except StagingError as fault:
                self.done.problems.append(self._unreadable(account, fault))
        return found

    def _unreadable(self, what: object, fault: StagingError) -> str:
        return f"destination {self.done.subject}: account {what} cannot be loaded: {fault}"

    def _deliver(self, days: list[PendingDay]) -> bool:
        """Deliver what the days hold, the oldest first; False where that ended early."""
        from tasks.load.batch_sender import BatchSender
        from tasks.load.recorded_transport import RecordedTransport

        try:
            transport = self.destination.open_transport()
        except (SensorError, SettingsError) as fault:
            self.done.problems.append(f"destination {self.done.subject}: {fault}")
            return False
        stop = self.stop or threading.Event()
        recorded = RecordedTransport(self.destination, transport, self.run_id, stop)
        sender = BatchSender(recorded, self.pauses)
        try:
            complete = self._deliver_days(days, sender)
        finally:
            transport.close()
            self.done.tried, self.done.delivered = recorded.tried, recorded.delivered
            self.done.batches = recorded.batches
            self.done.certificate_until = transport.certificate_until
            self.done.failed = recorded.tried - recorded.delivered
        for batch in sender.deferred:
            for day in days:
                day.done &= day.ledger is not batch.ledger
        if self.done.failed and (complete or self.done.interrupted):
            count = "1 event" if self.done.failed == 1 else f"{self.done.failed:,} events"
            self.done.problems.append(
                f"destination {self.done.subject}: {count} failed: {recorded.error}"
            )
        return complete

    def _deliver_days(self, days: list[PendingDay], sender: BatchSender) -> bool:
        from tasks.load.batch_sender import GivenUp
        from tasks.load.recorded_transport import Stopped

        total = sum(day.events for day in days)
        try:
            for day in days:
                try:
                    day.steadily(partial(self._deliver_day, day, sender, total))
                except LedgerError:
                    raise
                except StagingError as fault:
                    day.reported = True
                    self.done.problems.append(self._unreadable(day, fault))
            sender.finish()
        except LedgerError as fault:
            self.done.problems.append(f"destination {self.done.subject} cannot be loaded: {fault}")
            for day in days:
                day.reported = True
        except GivenUp as fault:
            self.done.problems.append(
                f"destination {self.done.subject} is given up for this run: {fault}; "
                "`halo-usm check` tells whether it can be reached"
            )
        except Stopped:
            self.done.interrupted = True
        else:
            return True
        return False

    def _deliver_day(self, day: PendingDay, sender: BatchSender, total: int) -> None:
        from tasks.load.batches import batches

        selection = self.selection
        if day.begun is None:
            day.begun = now()
        else:
            # what was tried before the files were replaced is done, or put aside by the sender
            selection = replace(selection, tried_before=day.begun)
            sender.forget(day.ledger)
        for batch in batches(day.ledger, day.files(selection), self.destination, selection.select):
            sender.deliver(batch)
            if self.progress is not None:
                tried = sender.transport.tried
                self.progress(tried, max(total, tried))
        day.done = True

    def _rest(self, days: list[PendingDay], window: Window) -> Rest | None:
        """Count what a replay did not try, and say how to go on; None where all was tried."""
        selection = self.selection
        left = [
            (day, count)
            for day in days
            if not day.done and (count := self._count(day, day.not_tried))
        ]
        if not left:
            return None
        self.done.not_tried = sum(count for _, count in left)
        dates = [day.ledger.day for day, _ in left]
        first = min(self._first(day, window) for day, _ in left if day.ledger.day == dates[0])
        repeated = 0
        if selection.only == "all":
            for day in days:
                if dates[0] <= day.ledger.day <= dates[-1]:
                    repeated += self._count(day, partial(day.delivered_since, first))
        until = min(window.until, Window.of_day(dates[-1]).until)
        return Rest(first, until, selection.only, repeated, self.options)

    def _first(self, day: PendingDay, window: Window) -> datetime:
        """When the first event of a day that was not tried was created, or a time before that."""
        try:
            first = day.steadily(partial(day.first_not_tried, self.selection))
        except StagingError:  # the count of these events has reported it
            first = None
        return first or max(window.since, Window.of_day(day.ledger.day).since)

    def _count(self, day: PendingDay, count: Callable[[Selection], int]) -> int:
        """Count events of a day; where files cannot be read, by names."""
        try:
            return day.steadily(partial(count, self.selection))
        except StagingError as fault:
            if not day.reported:
                day.reported = True
                self.done.problems.append(self._unreadable(day, fault))
            return day.events
