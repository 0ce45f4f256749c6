"""What a replay would send: how many events of which account and day to which destination."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from tasks.event_filter import EVERYTHING
from tasks.load.pending_days import pending_days, why_nothing
from tasks.load.replay import replay_selection
from tasks.staging.dropped import no_longer_staged
from tasks.staging.storage.files import read_stable, skip_unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from tasks.staging.deliveries.pending import Only, Selection
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination
    from tasks.time_window import Window


@dataclass(frozen=True)
class PlannedDay:
    """What a replay would send of an account's day to a destination.

    Attributes:
        asked: Events that it would send.
        excluded: Events that it would send, too, were it not for the destination's `since=`,
            `types=` or `critical=`.
    """

    destination: str
    account: str
    day: date
    asked: int
    excluded: int


@dataclass
class ReplayPlan:
    """What a replay would send.

    Attributes:
        days: By destination, account and day; only where there is something.
        notes: Why a destination would get nothing.
        problems: What cannot be read or is no longer staged, and so is not counted.
    """

    days: list[PlannedDay] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def plan_replay(
    store: Store, destinations: Iterable[Destination], window: Window, only: Only
) -> ReplayPlan:
    """Count what `replay_destination` would send now. Nothing is locked, sent or written.

    Args:
        store: The staging.
        destinations: Where to.
        window: Events created in it.
        only: Which of them.
    """
    plan = ReplayPlan()
    for destination in destinations:
        name, selection = destination.name, replay_selection(destination, window, only)
        days: list[PlannedDay] = []
        for account in store.accounts("normalized"):
            with skip_unreadable(plan.problems, f"destination {name}: account {account}"):
                days += _days(store, name, account, selection, plan.problems)
        if not any(day.asked for day in days):
            with skip_unreadable(plan.problems, f"destination {name}"):
                plan.notes.append(read_stable(partial(why_nothing, store, name, selection)))
        plan.days += days
    with skip_unreadable(plan.problems):
        plan.problems += no_longer_staged(store, window)
    return plan


def _days(
    store: Store, destination: str, account: str, selection: Selection, problems: list[str]
) -> list[PlannedDay]:
    every = asked = _asked(store, destination, account, selection, problems)
    if selection.takes != EVERYTHING:
        everything = replace(selection, takes=EVERYTHING)
        every = _asked(store, destination, account, everything, [])
        every = {day: count for day, count in every.items() if asked.get(day, 0) is not None}
    return [
        PlannedDay(destination, account, day, asked.get(day) or 0, count - (asked.get(day) or 0))
        for day, count in sorted(every.items())
        if count
    ]


def _asked(
    store: Store, destination: str, account: str, selection: Selection, problems: list[str]
) -> dict[date, int | None]:
    """How many events of each day are selected; None where its files cannot be read."""
    found: dict[date, int | None] = {}
    for day in pending_days(store, destination, account, selection):
        found[day.ledger.day] = None
        with skip_unreadable(problems, f"destination {destination}: account {day}"):
            found[day.ledger.day] = day.with_current_files(partial(day.not_tried, selection))
    return found
