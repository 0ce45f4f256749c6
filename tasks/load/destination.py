"""Load: deliver to a destination what is normalized and not delivered; and replay.

What is to be done is normalized less what the ledger says is delivered, the oldest date first.
Names tell which days are settled; only others are opened. A batch holds events in order of date,
account and creation, and is in the ledger before the next one is sent on its connection, so that a
crash repeats at most one batch a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.load.delivery import Delivery
from tasks.load.pending_days import now
from tasks.load.result import LoadResult, ReplayResult
from tasks.retry_policy import DELIVERY_PAUSES
from tasks.staging.pending import Selection

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from tasks.staging.pending import Only
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination
    from tasks.time_window import Window


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
    selection = Selection("undelivered", destination.takes, None, now())
    return Delivery(
        store,
        destination,
        selection,
        LoadResult(destination.name),
        run_id,
        stop,
        progress,
        pauses,
        wait,
        say_why=say_why,
    ).run()


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
    return Delivery(
        store,
        destination,
        replay_selection(destination, window, only),
        ReplayResult(destination.name),
        run_id,
        stop,
        progress,
        pauses,
        wait,
        options,
    ).run()
