"""What the page of an audit says, gathered from the staging."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.plugin.fields import MAPPING_VERSION_KEY
from tasks.reports.audit import RangeAudit, audit_range
from tasks.reports.audit_report.coverage import AccountCoverage, account_coverage
from tasks.reports.audit_report.deliveries import Deliveries
from tasks.reports.audit_report.hashes import LedgerDay, hash_day
from tasks.reports.audit_report.rejections import Rejections
from tasks.reports.status import known_destinations
from tasks.staging import day_files
from tasks.staging.day_files import DayFiles
from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.deliveries.pending import DeliveryCounts
from tasks.staging.event_masks import created_in
from tasks.staging.schemas import schema_of
from tasks.staging.storage.files import read_stable, skip_unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination
    from tasks.time_window import Window

_EVENTS = schema_of("raw", ["event_id", "created_at", "extracted_at"])


@dataclass
class DestinationFacts:
    """What a destination got of the range.

    Attributes:
        name: The ledger's folder.
        days: By the UTC day of the events' creation, of all accounts.
        deliveries: What the ledger tells.
        ledger: The ledger's files.
    """

    name: str
    days: dict[date, DeliveryCounts] = field(default_factory=dict)
    deliveries: Deliveries = field(default_factory=Deliveries)
    ledger: list[LedgerDay] = field(default_factory=list)

    def add_day(self, day: date, counts: DeliveryCounts) -> None:
        """Count what it got of a day of an account."""
        self.days[day] = self.days.get(day, DeliveryCounts()) + counts


@dataclass
class AuditFacts:
    """What the page says.

    Attributes:
        window: The range.
        began: When the reading of the staging began.
        ended: When it ended.
        audit: The counts, and whether they add up; its notes say what else could not be read.
        accounts: What of the range was read of each account.
        destinations: What each destination got.
        rejections: The rejected events.
        mapping_versions: Normalized events by the version of the mapping, in files that have events
            of the range's days.
    """

    window: Window
    began: datetime
    ended: datetime
    audit: RangeAudit
    rejections: Rejections
    accounts: list[AccountCoverage] = field(default_factory=list)
    destinations: dict[str, DestinationFacts] = field(default_factory=dict)
    mapping_versions: Counter[str] = field(default_factory=Counter)


def gather(
    store: Store,
    window: Window,
    destinations: Sequence[Destination] = (),
    unread: Mapping[str, Window] = MappingProxyType({}),
) -> AuditFacts:
    """Audit a range, and gather what its page says beside the counts.

    One account's day is in memory at a time.

    Args:
        store: The staging.
        window: Events created in it.
        destinations: Those that are set up; where there are none, those that have a ledger.
        unread: Accounts that are set up, and what a first sync reads of each.

    Raises:
        StagingError: The staging cannot be read at all, or files are replaced faster than read.
    """
    return read_stable(lambda: _gather(store, window, destinations, unread))


def _gather(
    store: Store,
    window: Window,
    destinations: Sequence[Destination],
    unread: Mapping[str, Window],
) -> AuditFacts:
    began = datetime.now(UTC)
    found = {name: DestinationFacts(name) for name in known_destinations(store, destinations)}
    audit = audit_range(
        store, window, destinations, lambda day, name, counts: found[name].add_day(day, counts)
    )
    facts = AuditFacts(window, began, began, audit, Rejections(window), destinations=found)
    problems: list[str] = []
    for account in sorted({*store.known_accounts(), *unread}):
        with skip_unreadable(problems, f"account {account}"):
            facts.accounts.append(account_coverage(store, account, window, unread.get(account)))
        _add_account(facts, store, account, problems)
    # the audit does not open the ledgers of days that are no longer staged
    audit.notes += [problem for problem in problems if problem not in audit.problems]
    facts.ended = datetime.now(UTC)
    return facts


def _add_account(facts: AuditFacts, store: Store, account: str, problems: list[str]) -> None:
    days: dict[date, DayFiles] = {}
    with skip_unreadable(problems, f"account {account}"):
        days = day_files.days(store, account, facts.window)
    ledgers: dict[str, dict[date, list[str]]] = {}
    for name in facts.destinations:
        with skip_unreadable(problems, f"destination {name}"):
            ledgers[name] = store.names_by_day(
                "deliveries", account, name, wanted=facts.window.reaches
            )
    for day in sorted({*days, *chain.from_iterable(ledgers.values())}):
        state = days.get(day) or DayFiles()
        with skip_unreadable(problems, f"account {account}, {day}"):
            facts.rejections.add(store, account, day, state)
            _count_versions(facts.mapping_versions, store, account, day, state)
            events = _events(store, account, day, state, facts.window)
            for name, its_days in ledgers.items():
                with skip_unreadable(problems, f"destination {name}, {account}, {day}"):
                    ledger = Ledger(store, name, account, day)
                    names = its_days.get(day, [])
                    attempts, _ = ledger.files(names)
                    destination = facts.destinations[name]
                    destination.deliveries.add(ledger, attempts, events, facts.window)
                    if names:
                        destination.ledger.append(hash_day(ledger, names))


def _events(store: Store, account: str, day: date, state: DayFiles, window: Window) -> pa.Table:
    folder = store.folder("raw", account, day)
    tables = [_EVENTS.empty_table()]
    for file in state.raw:
        if file.rows:
            table = store.read(f"{folder}/{file.name}", _EVENTS.names)
            tables.append(created_in(window, table))
    return pa.concat_tables(tables)


def _count_versions(
    versions: Counter[str], store: Store, account: str, day: date, state: DayFiles
) -> None:
    folder = store.folder("normalized", account, day)
    for file in state.current.values():
        if file.rows:
            schema = store.read(f"{folder}/{file.name}", ["event_id"]).schema
            version = (schema.metadata or {}).get(MAPPING_VERSION_KEY.encode(), b"unknown")
            versions[version.decode(errors="replace")] += file.rows
