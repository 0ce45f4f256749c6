"""Audit: whether a range of events adds up.

`tasks.reports.status` believes the names of files. An audit opens the files and counts ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.reports.answer import Answer
from tasks.reports.reconciliation import DayDeliveries, DayEvents
from tasks.reports.status import known_destinations
from tasks.staging import day_files
from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.deliveries.pending import DeliveryCounts
from tasks.staging.dropped import days_within, dropped_time
from tasks.staging.storage.files import read_stable, skip_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from tasks.event_filter import EventFilter
    from tasks.staging.day_files import DayFiles
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination
    from tasks.time_window import Window


@dataclass(frozen=True)
class RangeCounts:
    """What a destination got of a range; see `tasks.staging.deliveries.pending.DeliveryCounts`."""

    delivered: int
    pending: int
    failed: int
    excluded: int = 0


@dataclass(kw_only=True)
class RangeAudit(Answer):
    """The events of a range, counted by their ids.

    Attributes:
        staged: Events in raw.
        normalized: Events in normalized.
        rejected: Events in rejected, of stage transform.
        dropped_days: UTC days of the range of which retention has dropped events of an account;
            what is still there, or came later, is counted and judged as any other.
        destinations: What each destination got.
        consistent: Whether every raw event is normalized or rejected, once; each ledger agrees with
            its own names and with raw; what names call delivered is delivered; and all of it could
            be read. What could not is among the problems, and not counted.
    """

    staged: int = 0
    normalized: int = 0
    rejected: int = 0
    dropped_days: int = 0
    destinations: dict[str, RangeCounts] = field(default_factory=dict)
    consistent: bool = True


def audit_range(
    store: Store,
    window: Window,
    destinations: Sequence[Destination] = (),
    on_day: Callable[[date, str, DeliveryCounts], None] | None = None,
) -> RangeAudit:
    """Count the events of a range by their ids, and check that nothing is missing or twice.

    Args:
        store: The staging.
        window: Events created in it.
        destinations: Those that are set up; where there are none, those that have a ledger.
        on_day: Is told what each destination got of each account's day.

    Returns:
        The counts; each thing that is not consistent is a problem: what, where, how many.

    Raises:
        StagingError: The staging cannot be read at all.
    """
    found = RangeAudit(problems=store.unexpected_entries())
    filters = known_destinations(store, destinations)
    dropped: set[date] = set()
    counts = {name: DeliveryCounts() for name in filters}
    for account in store.known_accounts():
        days: dict[date, DayFiles] = {}
        with skip_unreadable(found.problems, f"account {account}"):
            days = day_files.days(store, account, window)
            dropped |= days_within(dropped_time(store, account, window), window)
        for day, state in days.items():
            part, got = _day(DayEvents(store, window, account, day, state), filters)
            found.staged += part.staged
            found.normalized += part.normalized
            found.rejected += part.rejected
            found.problems += part.problems
            for name, its_counts in got.items():
                counts[name] += its_counts
                if on_day is not None:
                    on_day(day, name, its_counts)
    found.dropped_days = len(dropped)
    found.destinations = {
        name: RangeCounts(got.delivered, got.pending, got.failed, got.excluded)
        for name, got in counts.items()
    }
    found.consistent = not found.problems
    return found


def _day(
    events: DayEvents, filters: dict[str, EventFilter]
) -> tuple[RangeAudit, dict[str, DeliveryCounts]]:
    """Audit a day and what each destination got; again where its files were replaced meanwhile."""
    listed: DayEvents | None = events

    def compare() -> tuple[RangeAudit, dict[str, DeliveryCounts]]:
        nonlocal listed
        now, listed = listed or events.listed_again(), None
        part = RangeAudit()
        got: dict[str, DeliveryCounts] = {}
        with skip_unreadable(part.problems, f"account {now.account}, {now.day}"):
            got = _compare(now, filters, part.problems)
            part.staged, part.normalized = now.staged, now.normalized
            part.rejected = now.rejected
        return part, got

    return read_stable(compare)


def _compare(
    events: DayEvents, filters: dict[str, EventFilter], problems: list[str]
) -> dict[str, DeliveryCounts]:
    """Compare a day in all trees, and count what each destination whose ledger can be read got."""
    ledgers: dict[str, DayDeliveries] = {}
    where = f"{events.account}, {events.day}"
    for name, takes in filters.items():
        with skip_unreadable(problems, f"destination {name}, {where}"):
            ledger = Ledger(events.store, name, events.account, events.day)
            ledgers[name] = DayDeliveries(ledger, takes, events)
    for share in events.shares():
        raw, rows = events.add(share)
        for name in [*ledgers]:
            got = ledgers.pop(name)
            with skip_unreadable(problems, f"destination {name}, {where}"):
                got.add(share, raw, rows)
                ledgers[name] = got
    problems += events.all_problems()
    for got in ledgers.values():
        problems += got.all_problems()
    return {name: got.counts for name, got in ledgers.items()}
