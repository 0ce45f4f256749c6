"""What a load and a replay share: the delivery of what is selected to one destination."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from tasks.errors import InUseError, SensorError, SettingsError, StagingError
from tasks.load.early_end import GivenUp, Stopped
from tasks.load.pending_days import pending_days
from tasks.plurals import counted
from tasks.staging.deliveries.ledger import LedgerError
from tasks.staging.locks import hold

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from tasks.load.parallel_sender import ParallelSender
    from tasks.load.pending_days import PendingDay
    from tasks.load.result import LoadResult
    from tasks.staging.deliveries.ledger import Ledger
    from tasks.staging.deliveries.pending import Selection
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination


@dataclass(frozen=True, kw_only=True)
class Delivery(ABC):
    """A load or a replay of one destination.

    Attributes:
        BY_CACHE: Whether days that surely have nothing to deliver need not be listed.
        store: The staging.
        destination: Where to.
        selection: Which events are to be delivered.
        result: What was done so far.
        run_id: Kept in the ledger.
        stop: Set when the delivery is to end early: the batch in hand is finished first.
        progress: Told how many of how many events were tried.
        pauses: Seconds before a failed batch is tried again.
        wait: Seconds to wait for another run that holds the destination.
    """

    BY_CACHE: ClassVar[bool] = False

    store: Store
    destination: Destination
    selection: Selection
    result: LoadResult
    run_id: str
    stop: threading.Event | None
    progress: Callable[[int, int], None] | None
    pauses: tuple[float, ...]
    wait: float

    @abstractmethod
    def conclude(self, days: list[PendingDay], *, complete: bool) -> None:
        """Add to the result what is left of the days; `complete` where all was tried."""

    @abstractmethod
    def leave_to(self, held: InUseError) -> None:
        """Say in the result that another run holds the destination."""

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
                self.conclude(days, complete=complete)
        except InUseError as held:
            result.held, result.held_by = True, held.run
            result.interrupted = self.stop is not None and self.stop.is_set()
            self.leave_to(held)
        except StagingError as fault:
            result.problems.append(f"destination {name} cannot be loaded: {fault}")
        return result

    def count(self, day: PendingDay, count: Callable[[Selection], int]) -> int:
        """Count events of a day; where files cannot be read, by names."""
        try:
            return day.with_current_files(partial(count, self.selection))
        except StagingError as fault:
            if not day.reported:
                day.reported = True
                self.result.problems.append(self._unreadable(day, fault))
            return day.events

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
                found += pending_days(
                    self.store,
                    self.destination.name,
                    account,
                    self.selection,
                    cached=self.BY_CACHE,
                )
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
        from tasks.load.batches import batches
        from tasks.load.selected_rows import BrokenOff

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
