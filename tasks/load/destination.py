"""Load: deliver to a destination what is normalized and not delivered.

What is to be done is normalized less what the ledger says is delivered, the oldest date first.
Names tell which days are settled; only others are opened. A batch holds events in order of date,
account and creation, and is in the ledger before the next one is sent on its connection, so that a
crash repeats at most one batch a connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.load.delivery import Delivery
from tasks.load.pending_days import now, why_nothing
from tasks.load.result import LoadResult, pending_after_load
from tasks.retry_policy import DELIVERY_PAUSES
from tasks.staging.deliveries.pending import Selection

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from tasks.errors import InUseError
    from tasks.load.pending_days import PendingDay
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
        What was done. Expected faults are among its problems; a destination that another run holds
        is left to that run, with a note.
    """
    return _Load(
        store=store,
        destination=destination,
        selection=Selection("undelivered", destination.takes, None, now()),
        result=LoadResult(destination.name),
        run_id=run_id,
        stop=stop,
        progress=progress,
        pauses=pauses,
        wait=wait,
        say_why=say_why,
    ).run()


@dataclass(frozen=True, kw_only=True)
class _Load(Delivery):
    BY_CACHE = True

    say_why: bool

    def conclude(self, days: list[PendingDay], *, complete: bool) -> None:
        result = self.result
        pending = sum(self.count(day, day.left) for day in days)
        result.not_tried = max(pending - result.failed, 0)
        result.asked = result.tried + result.not_tried
        if result.pending:
            result.problems = [pending_after_load(result, complete=complete)]
        if self.say_why and not (result.asked or result.problems):
            result.notes.append(why_nothing(self.store, result.subject, self.selection))

    def leave_to(self, held: InUseError) -> None:
        self.result.notes.append(str(held))
