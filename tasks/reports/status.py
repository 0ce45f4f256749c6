"""Status: what is covered, staged, normalized, rejected and delivered, per account and sensor.

Names tell nearly all of it. Files are opened only for segments where something was tried and
not delivered, for the newest event, the oldest pending one, and unknown types.
"""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow.compute as pc

from tasks.retry_policy import REREADS_OF_REPLACED_FILES
from tasks.staging import normalized
from tasks.staging.delivery_counts import DeliveryCounts, count_deliveries
from tasks.staging.files import FileGone, passing_over
from tasks.staging.ledger import Ledger
from tasks.staging.raw import covered_by
from tasks.time_window import Window, difference, isoformat, union

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date, datetime

    from tasks.staging.file_names import NormalizedFile
    from tasks.staging.normalized import DayFiles
    from tasks.staging.store import Store


class KnownDestination(Protocol):
    """What is to be known of a destination; `tasks.syslog.destination.Destination` is one."""

    @property
    def name(self) -> str:
        """The ledger's folder."""

    @property
    def since(self) -> datetime | None:
        """It takes nothing older."""


def status(
    store: Store,
    destinations: Sequence[KnownDestination] = (),
    unread: Mapping[str, Window] = MappingProxyType({}),
    complain: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """The state of a staging, as `halo-usm status --json` shows it.

    Args:
        store: The staging.
        destinations: Those that are set up; where there are none, those that have a ledger.
        unread: Accounts that are set up, and what a first sync reads of each: the gap of one of
            which nothing was read yet.
        complain: Told what cannot be read, or is foreign: where, and what to do. An account that
            cannot be read is left out, and a destination does not count it.

    Returns:
        `accounts`, `destinations` and `unknown_types`; times are ISO 8601 text in UTC.

    Raises:
        StagingError: The staging cannot be read, or files are replaced faster than read.
    """
    for look in range(REREADS_OF_REPLACED_FILES + 1):
        complaints: list[str] = []
        try:
            answer = _status(store, destinations, unread, complaints)
        except FileGone:
            # normalized anew or compacted meanwhile
            if look == REREADS_OF_REPLACED_FILES:
                raise
            continue
        break
    for complaint in complaints:
        complain(complaint)
    return answer


def known_destinations(
    store: Store, destinations: Sequence[KnownDestination]
) -> list[tuple[str, datetime | None]]:
    """Name and `since` of the destinations, or of those that have a ledger where none is given."""
    if destinations:
        return [(destination.name, destination.since) for destination in destinations]
    return [(name, None) for name in store.destinations()]


def _status(
    store: Store,
    destinations: Sequence[KnownDestination],
    unread: Mapping[str, Window],
    complaints: list[str],
) -> dict[str, Any]:
    complaints += store.unexpected_entries()
    staged = {name for stage in ("raw", "normalized", "rejected") for name in store.accounts(stage)}
    days: dict[str, dict[date, DayFiles]] = {}
    accounts: dict[str, dict[str, Any]] = {}
    unknown: Counter[str] = Counter()
    for name in sorted(staged | set(unread)):
        with passing_over(complaints.append, f"account {name}"):
            its_days = normalized.days(store, name)
            accounts[name] = _account(store, name, its_days, unread.get(name))
            unknown.update(_unknown_types(store, name, its_days))
            days[name] = its_days
    return {
        "accounts": accounts,
        "destinations": {
            name: _destination(store, name, since, days, complaints)
            for name, since in known_destinations(store, destinations)
        },
        "unknown_types": dict(sorted(unknown.items(), key=lambda item: (-item[1], item[0]))),
    }


def _account(
    store: Store, account: str, days: Mapping[date, DayFiles], unread: Window | None
) -> dict[str, Any]:
    covered = union(window for day, state in days.items() for window in covered_by(state.raw, day))
    looked_at = union(
        file.window(day)
        for day, state in days.items()
        for file in state.raw
        if file.mark != "beside"
    )
    only_ranges = any(file.mark == "range" for day in days.values() for file in day.raw)
    if unread and (only_ranges or not looked_at):
        looked_at = union([unread, *looked_at])
    gaps = difference(Window(looked_at[0].since, looked_at[-1].until), covered) if looked_at else []
    newest = _newest(store, account, days)
    return {
        "covered": [_pair(window) for window in covered],
        "gaps": [_pair(window) for window in gaps],
        "staged": sum(file.rows for day in days.values() for file in day.raw),
        "normalized": sum(file.rows for day in days.values() for file in day.current.values()),
        "rejected": sum(
            file.rows for day in days.values() for file in [*day.rejected, *day.malformed]
        ),
        "newest_event": isoformat(newest) if newest else None,
    }


def _pair(window: Window) -> list[str]:
    return [isoformat(window.since), isoformat(window.until)]


def _newest(store: Store, account: str, days: Mapping[date, DayFiles]) -> datetime | None:
    """When the newest staged event was created; windows tell which files to open."""
    newest: datetime | None = None
    for day in sorted(days, reverse=True):
        for file in sorted(days[day].raw, key=lambda file: file.until, reverse=True):
            if newest is not None and file.window(day).until <= newest:
                break
            if file.rows:
                path = f"{store.folder('raw', account, day)}/{file.name}"
                last: datetime = pc.max(store.read(path, ["created_at"])["created_at"]).as_py()
                newest = last if newest is None else max(newest, last)
        if newest is not None:
            break
    return newest


def _destination(
    store: Store,
    name: str,
    since: datetime | None,
    days: Mapping[str, Mapping[date, DayFiles]],
    complaints: list[str],
) -> dict[str, Any]:
    accounts: dict[str, DeliveryCounts] = {}
    for account, its_days in days.items():
        with passing_over(complaints.append, f"destination {name}, account {account}"):
            accounts[account] = deliveries_of(store, name, since, account, its_days)
    total = sum(accounts.values(), DeliveryCounts())
    return {
        **counts(total),
        "accounts": {account: counts(found) for account, found in accounts.items()},
    }


def deliveries_of(
    store: Store,
    destination: str,
    since: datetime | None,
    account: str,
    days: Mapping[date, DayFiles],
) -> DeliveryCounts:
    """Count what of an account's days a destination has got.

    Raises:
        FileGone: A file was replaced since the names were listed.
        StagingError: A file cannot be read.
    """
    deliveries = store.tree("deliveries", account, destination)
    found = DeliveryCounts()
    for day, state in days.items():
        if since is not None and day < since.date():
            continue
        ledger = Ledger(store, destination, account, day)
        for segment in ledger.segments(state.current.values(), deliveries.get(day, ()), since):
            found += count_deliveries(ledger, segment, since, oldest=found.oldest_pending is None)
    return found


def counts(found: DeliveryCounts) -> dict[str, Any]:
    """A survey as JSON shows it."""
    oldest = found.oldest_pending
    return {
        "delivered": found.delivered,
        "pending": found.pending,
        "failed": found.failed,
        "oldest_pending": isoformat(oldest) if oldest else None,
    }


def _unknown_types(store: Store, account: str, days: Mapping[date, DayFiles]) -> dict[str, int]:
    """Events of each type that the catalogue does not know; names tell which files have some."""
    counted: dict[str, int] = {}
    for day, state in days.items():
        for file in state.current.values():
            if file.unknown:
                for kind, count in _unknown_in(store, account, day, file).items():
                    counted[kind] = counted.get(kind, 0) + count
    return counted


def _unknown_in(store: Store, account: str, day: date, file: NormalizedFile) -> dict[str, int]:
    from tasks.plugin.catalogue import unknown_types

    path = f"{store.folder('normalized', account, day)}/{file.name}"
    return unknown_types(store.read(path, ["event_type"]))
