"""The delivery of what is selected to one destination: a load, or a replay."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from tasks.errors import InUseError, SensorError, SettingsError, StagingError
from tasks.load.early_end import GivenUp, Stopped
from tasks.load.pending_days import pending_days, why_nothing
from tasks.load.result import LoadResult, Rest, pending_after_load, undelivered_by_replay
from tasks.plurals import counted
from tasks.staging.dropped import no_longer_staged
from tasks.staging.ledger import LedgerError
from tasks.staging.locks import hold
from tasks.time_window import Window, isoformat

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from datetime import datetime

    from tasks.load.parallel_sender import ParallelSender
    from tasks.load.pending_days import PendingDay
    from tasks.staging.ledger import Ledger
    from tasks.staging.pending import Selection
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination


@dataclass(frozen=True)
class Delivery:
    """A load or a replay of one destination; only a replay's selection has a window.

    Attributes:
        selection: Which events are to be delivered.
        result: What was done so far.
        pauses: Seconds before a failed batch is tried again.
        options: Further options of the command that goes on with a replay.
    """

    store: Store
    destination: Destination
    selection: Selection
    result: LoadResult
    run_id: str
    stop: threading.Event | None
    progress: Callable[[int, int], None] | None
    pauses: tuple[float, ...]
    wait: float
    options: str = ""
    say_why: bool = True

    def run(self) -> LoadResult:
        """Deliver while the destination is locked, and return what was done."""
        result = self.result
        name = self.destination.name
        try:
            lock = hold(
                self.store, "destination", name, run_id=self.run_id, wait=self.wait, stop=self.stop
            )
            with lock:
                result.problems += self._unexpected_entries()
                days = sorted(self._days(), key=lambda day: (day.ledger.day, day.ledger.account))
                complete = not days or self._deliver(days)
                if self.selection.window is None:
                    pending = sum(self._count(day, day.left) for day in days)
                    result.not_tried = max(pending - result.failed, 0)
                    result.asked = result.tried + result.not_tried
                    if result.pending:
                        result.problems = [pending_after_load(result, complete=complete)]
                else:
                    result.rest = self._rest(days, self.selection.window)
                    result.asked = result.tried + result.not_tried
                    if result.pending:
                        result.problems = [undelivered_by_replay(result)]
                    result.problems += no_longer_staged(self.store, self.selection.window)
                result.notes += self._notes()
        except InUseError as held:
            result.held, result.held_by = True, held.run
            if self.selection.window is None:
                result.notes.append(str(held))
            else:  # the other run does not do what was asked for
                result.problems.append(f"{held}; nothing is replayed: run again, or with --wait")
            result.interrupted = self.stop is not None and self.stop.is_set()
        except StagingError as fault:
            result.problems.append(f"destination {name} cannot be loaded: {fault}")
        return result

    def _notes(self) -> list[str]:
        """What is worth knowing where little or nothing was to be delivered."""
        name, takes, window = self.result.subject, self.selection.takes, self.selection.window
        if self.say_why and not (self.result.asked or self.result.problems):
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
                name, selection = self.destination.name, self.selection
                load = selection.window is None
                found += pending_days(self.store, name, account, selection, cached=load)
            except StagingError as fault:
                self.result.problems.append(self._unreadable(account, fault))
        return found

    def _unreadable(self, what: object, fault: StagingError) -> str:
        return f"destination {self.result.subject}: account {what} cannot be loaded: {fault}"

    def _deliver(self, days: list[PendingDay]) -> bool:
        """Deliver what the days hold, the oldest first; False where that ended early."""
        from tasks.load.batch_sender import BatchSender
        from tasks.load.parallel_sender import ParallelSender
        from tasks.load.recorded_transport import RecordedTransport

        result = self.result
        try:
            transport = self.destination.open_transport()
        except (SensorError, SettingsError) as fault:
            result.problems.append(f"destination {result.subject}: {fault}")
            return False
        stop = self.stop or threading.Event()
        recorded = RecordedTransport(self.destination, transport, self.run_id, stop)
        sender = ParallelSender(BatchSender(recorded, self.pauses))
        try:
            complete = self._deliver_days(days, sender, recorded.tried)
        finally:
            transport.close()
            result.tried, result.delivered = recorded.tried.total(), recorded.delivered
            result.batches = recorded.batches
            result.notes += recorded.notes
            result.certificate_until = transport.certificate_until
            result.failed = result.tried - recorded.delivered
        for day in days:
            day.all_tried = day.read and day.selected == recorded.tried[day.ledger]
        if result.failed and (complete or result.interrupted):
            count = counted(result.failed, "event")
            result.problems.append(
                f"destination {result.subject}: {count} failed: {recorded.error}"
            )
        return complete

    def _deliver_days(
        self, days: list[PendingDay], sender: ParallelSender, tried: Counter[Ledger]
    ) -> bool:
        result = self.result
        try:
            try:
                self._deliver_batches(days, sender, tried)
            finally:
                sender.close()
        except LedgerError as fault:
            result.problems.append(f"destination {result.subject} cannot be loaded: {fault}")
            for day in days:
                day.reported = True
        except GivenUp as fault:
            result.problems.append(
                f"destination {result.subject} is given up for this run: {fault}; "
                "`halo-usm check` tells whether it can be reached"
            )
        except Stopped:
            result.interrupted = True
        else:
            return True
        return False

    def _deliver_batches(
        self, days: list[PendingDay], sender: ParallelSender, tried: Counter[Ledger]
    ) -> None:
        from tasks.load.batches import BrokenOff, batches

        total = sum(day.events for day in days)

        def tell() -> None:
            if self.progress is not None:
                self.progress(tried.total(), max(total, tried.total()))

        for batch in batches(days, self.selection, self.destination):
            if not isinstance(batch, BrokenOff):
                sender.deliver(batch)
                tell()
            elif batch.again:
                # what was tried until now is in the ledger, or kept by the sender
                sender.forget(batch.day.ledger)
                batch.day.selected = tried[batch.day.ledger]
            else:
                batch.day.reported = True
                self.result.problems.append(self._unreadable(batch.day, batch.fault))
        sender.finish()
        tell()

    def _rest(self, days: list[PendingDay], window: Window) -> Rest | None:
        """Count what a replay did not try, and say how to go on; None where all was tried."""
        selection = self.selection
        left = [
            (day, count)
            for day in days
            if not day.all_tried and (count := self._count(day, day.not_tried))
        ]
        if not left:
            return None
        self.result.not_tried = sum(count for _, count in left)
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
            first = day.with_current_files(partial(day.first_not_tried, self.selection))
        except StagingError:  # the count of these events has reported it
            first = None
        return first or max(window.since, Window.of_day(day.ledger.day).since)

    def _count(self, day: PendingDay, count: Callable[[Selection], int]) -> int:
        """Count events of a day; where files cannot be read, by names."""
        try:
            return day.with_current_files(partial(count, self.selection))
        except StagingError as fault:
            if not day.reported:
                day.reported = True
                self.result.problems.append(self._unreadable(day, fault))
            return day.events
