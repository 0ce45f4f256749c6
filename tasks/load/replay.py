"""Replay: deliver a range of events to a destination again, from staging."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from tasks.errors import StagingError
from tasks.load.delivery import Delivery
from tasks.load.pending_days import why_nothing
from tasks.load.result import ReplayResult, Rest, undelivered_by_replay
from tasks.retry_policy import DELIVERY_PAUSES
from tasks.staging.deliveries.pending import Selection
from tasks.staging.dropped import no_longer_staged
from tasks.time_window import Window, isoformat

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from datetime import datetime

    from tasks.errors import InUseError
    from tasks.load.pending_days import PendingDay
    from tasks.load.result import LoadResult
    from tasks.staging.deliveries.pending import Only
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination


def replay_selection(destination: Destination, window: Window, only: Only) -> Selection:
    """Which events a replay delivers: put off or not."""
    return Selection(only, destination.takes, window)


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

    An event that was delivered and now fails is pending again. What the destination does not take
    (`since=`, `types=`, `critical=`) is left out.

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
    return _Replay(
        store=store,
        destination=destination,
        selection=replay_selection(destination, window, only),
        result=ReplayResult(destination.name),
        run_id=run_id,
        stop=stop,
        progress=progress,
        pauses=pauses,
        wait=wait,
        window=window,
        options=options,
    ).run()


@dataclass(frozen=True, kw_only=True)
class _Replay(Delivery):
    window: Window
    options: str

    def conclude(self, days: list[PendingDay], *, complete: bool) -> None:  # noqa: ARG002
        result = self.result
        result.rest = self._rest(days)
        result.asked = result.tried + result.not_tried
        if result.pending:
            result.problems = [undelivered_by_replay(result)]
        result.problems += no_longer_staged(self.store, self.window)
        if result.asked or result.problems:
            result.notes += self._notes()
        else:
            result.notes.append(why_nothing(self.store, result.subject, self.selection))

    def leave_to(self, held: InUseError) -> None:  # which does not do what was asked for
        self.result.problems.append(f"{held}; nothing is replayed: run again, or with --wait")

    def _notes(self) -> list[str]:
        """What of the range the destination does not take."""
        name, takes = self.result.subject, self.selection.takes
        notes = []
        if takes.since is not None and takes.since > self.window.since:
            since = isoformat(takes.since)
            notes.append(f"destination {name}: nothing older is delivered than its since={since}")
        if takes.by_content:
            only = replace(takes, since=None)
            notes.append(f"destination {name}: only what it takes is delivered: {only}")
        return notes

    def _rest(self, days: list[PendingDay]) -> Rest | None:
        """Count what was not tried, and say how to go on; None where all was tried."""
        left = [
            (day, count)
            for day in days
            if not day.all_tried and (count := self.count(day, day.not_tried))
        ]
        if not left:
            return None
        self.result.not_tried = sum(count for _, count in left)
        dates = [day.ledger.day for day, _ in left]
        first = min(self._first(day) for day, _ in left if day.ledger.day == dates[0])
        repeated = 0
        if self.selection.only == "all":
            for day in days:
                if dates[0] <= day.ledger.day <= dates[-1]:
                    repeated += self.count(day, partial(day.delivered_since, first))
        until = min(self.window.until, Window.of_day(dates[-1]).until)
        return Rest(first, until, self.selection.only, repeated, self.options)

    def _first(self, day: PendingDay) -> datetime:
        """When the first event of a day that was not tried was created, or a time before that."""
        try:
            first = day.with_current_files(partial(day.first_not_tried, self.selection))
        except StagingError:  # the count of these events has reported it
            first = None
        return first or max(self.window.since, Window.of_day(day.ledger.day).since)
