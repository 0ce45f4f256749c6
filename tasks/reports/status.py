"""Status: what is covered, staged, normalized, rejected and delivered, per account and sensor.

Names tell nearly all of it. Files are opened only for segments where something was tried and
not delivered, or where a destination asks for types or critical events and no load has noted yet
what it leaves out; for the newest event, the oldest pending one, and unknown types.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from tasks.event_filter import EVERYTHING
from tasks.reports.answer import Answer
from tasks.staging.coverage import coverage_of
from tasks.staging.day_files import day_of
from tasks.staging.days_by_names import days_by_names
from tasks.staging.deliveries.pending import DeliveryCounts, count_account
from tasks.staging.seals.seal_chain import newest_sealed_day
from tasks.staging.storage.files import read_stable, skip_unreadable
from tasks.time_window import Window, subtract, union

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from tasks.event_filter import EventFilter
    from tasks.staging.days_by_names import DayByNames
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination


@dataclass(frozen=True)
class AccountStatus:
    """What is staged of an account.

    Attributes:
        covered: The time that raw covers.
        gaps: The time between the first and the last reading that raw does not cover, and that was
            not dropped.
        staged: Raw events.
        normalized: Events in normalized.
        rejected: Events in rejected, of both stages.
        newest_event: When the newest raw event was created.
        dropped: The time that was covered, and that retention has dropped.
        sealed_until: The end of the newest day that has a seal; None before there is one.
    """

    covered: list[Window]
    gaps: list[Window]
    staged: int
    normalized: int
    rejected: int
    newest_event: datetime | None
    dropped: list[Window]
    sealed_until: datetime | None

    @property
    def covered_until(self) -> datetime | None:
        """The end of what is covered; None where nothing is."""
        return self.covered[-1].until if self.covered else None


@dataclass(frozen=True)
class DestinationStatus(DeliveryCounts):
    """What a destination got of all accounts, and of each."""

    accounts: dict[str, DeliveryCounts] = field(default_factory=dict)


@dataclass(kw_only=True)
class Status(Answer):
    """The state of a staging.

    Attributes:
        accounts: By name. One that cannot be read is left out, and no destination counts it.
        destinations: By name.
        unknown_types: Events of each type that the catalogue does not know, most frequent first.
    """

    accounts: dict[str, AccountStatus] = field(default_factory=dict)
    destinations: dict[str, DestinationStatus] = field(default_factory=dict)
    unknown_types: dict[str, int] = field(default_factory=dict)


def status(
    store: Store,
    destinations: Sequence[Destination] = (),
    unread: Mapping[str, Window] = MappingProxyType({}),
) -> Status:
    """The state of a staging, as `halo-usm status --json` shows it.

    Args:
        store: The staging.
        destinations: Those that are set up; where there are none, those that have a ledger.
        unread: Accounts that are set up, and what a first sync reads of each: the gap of one of
            which nothing was read yet.

    Raises:
        StagingError: The staging cannot be read, or files are replaced faster than read.
    """
    return read_stable(lambda: _status(store, destinations, unread))


def known_destinations(store: Store, destinations: Sequence[Destination]) -> dict[str, EventFilter]:
    """What each destination takes, by name; where none is given, of those that have a ledger."""
    if destinations:
        return {destination.name: destination.takes for destination in destinations}
    return dict.fromkeys(store.destinations(), EVERYTHING)


def not_set_up(store: Store, destinations: Sequence[Destination]) -> list[str]:
    """A note about ledgers whose destinations are not set up; none where no destination is."""
    others = sorted(set(store.destinations()) - {one.name for one in destinations})
    if not destinations or not others:
        return []
    named = ", ".join(others)
    return [
        f"USM_SENSOR does not name {named}, to which the ledger has deliveries: not counted here"
    ]


def _status(
    store: Store, destinations: Sequence[Destination], unread: Mapping[str, Window]
) -> Status:
    answer = Status(problems=store.unexpected_entries(), notes=not_set_up(store, destinations))
    staged = {name for tree in ("raw", "normalized", "rejected") for name in store.accounts(tree)}
    days: dict[str, dict[date, DayByNames]] = {}
    unknown: Counter[str] = Counter()
    for name in sorted(staged | set(unread)):
        with skip_unreadable(answer.problems, f"account {name}"):
            its_days = days_by_names(store, name)
            answer.accounts[name] = _account(store, name, its_days, unread.get(name))
            unknown += _unknown_types(store, name, its_days)
            days[name] = its_days
    answer.unknown_types = dict(sorted(unknown.items(), key=lambda item: (-item[1], item[0])))
    for name, takes in known_destinations(store, destinations).items():
        accounts: dict[str, DeliveryCounts] = {}
        for account, its_days in days.items():
            with skip_unreadable(answer.problems, f"destination {name}, account {account}"):
                accounts[account] = count_account(store, name, takes, account, its_days)
        total = sum(accounts.values(), DeliveryCounts())
        answer.destinations[name] = DestinationStatus(**vars(total), accounts=accounts)
    return answer


def _account(
    store: Store, account: str, days: Mapping[date, DayByNames], unread: Window | None
) -> AccountStatus:
    known = coverage_of(day.time for day in days.values())
    read = union([*known.dropped, *(part for day in days.values() for part in day.time.read)])
    only_ranges = known.begin is not None and not known.synced
    if unread and (only_ranges or not read):
        read = union([unread, *read])
    bounds = [Window(read[0].since, read[-1].until)] if read else []
    gaps = subtract(bounds, [*known.covered, *known.dropped])
    return AccountStatus(
        known.covered,
        gaps,
        staged=sum(day.staged for day in days.values()),
        normalized=sum(day.normalized for day in days.values()),
        rejected=sum(day.rejected for day in days.values()),
        newest_event=_newest(store, account, days),
        dropped=known.dropped,
        sealed_until=_sealed_until(store, account),
    )


def _sealed_until(store: Store, account: str) -> datetime | None:
    day = newest_sealed_day(store, account)
    return None if day is None else Window.of_day(day).until


def _newest(store: Store, account: str, days: Mapping[date, DayByNames]) -> datetime | None:
    """When the newest staged event was created; windows tell which files to open."""
    newest: datetime | None = None
    for day in sorted((day for day, named in days.items() if named.staged), reverse=True):
        files = [file for file in day_of(store, account, day).raw if file.rows]
        for file in sorted(files, key=lambda file: file.until, reverse=True):
            if newest is not None and file.window(day).until <= newest:
                break
            path = f"{store.folder('raw', account, day)}/{file.name}"
            last: datetime = pc.max(store.read(path, ["created_at"])["created_at"]).as_py()
            newest = last if newest is None else max(newest, last)
        break
    return newest


def _unknown_types(store: Store, account: str, days: Mapping[date, DayByNames]) -> Counter[str]:
    """Events of each type that the catalogue does not know; file names show where they are."""
    from tasks.plugin.catalogue import unknown_types

    counted: Counter[str] = Counter()
    for day, named in days.items():
        folder = store.folder("normalized", account, day)
        for name in named.unknown:
            counted.update(unknown_types(store.read(f"{folder}/{name}", ["event_type"])))
    return counted
