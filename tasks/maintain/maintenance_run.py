"""A maintenance of one account: what compaction, sealing and retention of it have in common."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.deliveries.settle import count_pending
from tasks.staging.locks import hold
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import date, datetime

    from tasks.staging.day_files import DayFiles
    from tasks.staging.locks import Kind
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination

    LedgerNames = Mapping[str, Sequence[str]]
    """Names of the ledger's files of a day, by destination."""

LOCK_WAIT = 30.0
"""Seconds to wait for another run that holds an account or destination."""


@dataclass(frozen=True)
class MaintenanceRun:
    """A maintenance of one account.

    Attributes:
        store: The staging.
        account: Whose days.
        destinations: Those that are set up: what one of them has not got stays as it is.
        now: The time that ages count from.
        lookback: How much of covered time every sync reads again, for late events.
        run_id: Shown to other runs that want a lock.
        dry_run: Whether to say only what would be done.
        stop: Set when the work is to end early: the day in hand is finished.
        wait: Seconds to wait for another run; what it then still holds is left to it.
    """

    store: Store
    account: str
    destinations: Sequence[Destination]
    now: datetime
    lookback: timedelta = timedelta(minutes=15)
    run_id: str = ""
    dry_run: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    wait: float = LOCK_WAIT

    def is_over(self, day: date) -> bool:
        """Whether a day has ended, and no sync reads a part of it again."""
        return Window.of_day(day).until <= self.now - self.lookback

    def ledgers(self) -> dict[date, dict[str, list[str]]]:
        """Names of the ledger's files of every day, by destination.

        Raises:
            StagingError: They cannot be listed.
        """
        found: dict[date, dict[str, list[str]]] = {}
        for destination in self.store.destinations():
            days = self.store.names_by_day("deliveries", self.account, destination)
            for day, names in days.items():
                found.setdefault(day, {})[destination] = names
        return found

    def pending(
        self, day: date, state: DayFiles, ledgers: LedgerNames
    ) -> Iterator[tuple[str, int]]:
        """Each destination that has not got all events of a day, and how many it has not got.

        Raises:
            FileGone: A file was replaced since the names were listed.
            StagingError: A file cannot be read.
        """
        current = [*state.current.values()]
        for one in self.destinations:
            ledger = Ledger(self.store, one.name, self.account, day)
            if count := count_pending(ledger, current, ledgers.get(one.name, ()), one.takes):
                yield one.name, count

    def locked(
        self, kind: Kind, name: str, wait: float | None = None
    ) -> AbstractContextManager[None]:
        """The lock of an account or destination; raises what `tasks.staging.locks.hold` does."""
        return hold(
            self.store,
            kind,
            name,
            run_id=self.run_id,
            wait=self.wait if wait is None else wait,
            leave=True,
            stop=self.stop,
        )


@dataclass(kw_only=True)
class PartResult:
    """What a part of a maintenance did; each part adds its counts.

    Attributes:
        notes: What is worth knowing: which days are left as they are, and why.
        problems: What failed or is wrong: a sentence each, with what to do.
    """

    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
