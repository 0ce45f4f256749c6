"""Compaction: the small files of a day that is over and settled become one of each kind.

A day is merged while its account is locked, its ledgers while their destinations are, a day at a
time. The new files are complete before the first of them gets its name: rejected, normalized, raw
in the end. By its name the new raw file replaces the old ones, and with them what came of them
(`tasks.staging.names.compacted_names`). Nothing is removed then: whoever has listed the day can
still read it. That is done at the end (`tasks.maintain.replaced_files`), after a pause; what a run
that was killed left is removed by the next one.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.errors import InUseError, StagingError
from tasks.maintain.compaction_plan import plan_day
from tasks.maintain.compaction_writer import merge_day, merge_ledger
from tasks.maintain.left_days import REPLACED_MEANWHILE, LeftDays
from tasks.maintain.maintenance_run import PartResult
from tasks.maintain.replaced_files import remove_attempts, remove_replaced
from tasks.staging import day_files
from tasks.staging.coverage import read_coverage
from tasks.staging.day_files import DayFiles
from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.deliveries.settle import settle
from tasks.staging.known_ids import KnownIds
from tasks.staging.names.ledger_file_names import not_replaced_names
from tasks.staging.orphans import describe, drop_orphans
from tasks.staging.storage.files import FileGone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    from tasks.maintain.maintenance_run import LedgerNames, MaintenanceRun
    from tasks.staging.locks import Kind

GRACE = 10.0
"""Seconds between the last change of names and the first removal.

A folder is not listed in one moment. Whoever began to list it before the new file was there, and
did not see it, has seen the old ones by then.
"""


@dataclass
class CompactionResult(PartResult):
    """What a compaction of an account did, or would do.

    Attributes:
        days: Days whose events were merged.
        ledgers: Days of ledgers that were.
        removed: Files that were removed, since others replace them.
    """

    days: int = 0
    ledgers: int = 0
    removed: int = 0


def compact_account(
    run: MaintenanceRun,
    *,
    grace: float = GRACE,
    pause: Callable[[float], bool] | None = None,
) -> CompactionResult:
    """Compact the days of an account that are over and settled, and its ledgers of them.

    A day with events pending for a destination that is set up is left.

    Args:
        run: Whose days, and how.
        grace: Seconds before replaced files are removed.
        pause: Waits so many seconds, and returns whether to end early; waits for `run.stop` by
            default.

    Returns:
        What was done, or would be. Days that are left are among its notes: that is no failure.
    """
    compaction = _Compaction(run)
    done = compaction.done
    try:
        compaction.compact()
        if not run.dry_run:
            compaction.remove(grace, pause or run.stop.wait)
    except StagingError as fault:
        done.problems.append(f"account {run.account} cannot be compacted: {fault}")
    done.notes += compaction.left.notes(run.account, "not compacted")
    return done


@dataclass
class _Compaction:
    """A compaction of one account; `done` is what it did so far.

    Attributes:
        replaced: The days with replaced files in the account's trees (""), or in the ledger of a
            destination (its name); and the names of those of them that this run has merged.
        held: The locks that others held.
        changed_at: When a file was merged last (`time.monotonic`).
    """

    run: MaintenanceRun
    done: CompactionResult = field(default_factory=CompactionResult)
    left: LeftDays = field(default_factory=LeftDays)
    replaced: dict[tuple[date, str], set[str]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    changed_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.store, self.account = self.run.store, self.run.account
        self.takes = {one.name: one.takes for one in self.run.destinations}

    def compact(self) -> None:
        """Compact the days that can be, the oldest first."""
        store, account = self.store, self.account
        self.begin = read_coverage(store, account).begin
        ledgers = self.run.ledgers()
        days = day_files.days(store, account)
        for day in sorted({*days, *ledgers}):
            if self.run.stop.is_set():
                break
            if self.run.is_over(day):
                state = days.get(day) or DayFiles()
                with self._reported(day):
                    self._compact(day, state, ledgers.get(day, {}))
        if self.done.days and not self.run.dry_run:
            # else the next sync reads the ids of the new files
            with suppress(InUseError), self._locked("account", account):
                KnownIds(store, account).renew()

    def _compact(self, day: date, state: DayFiles, ledgers: LedgerNames) -> None:
        """Compact a day that is over, as it was listed."""
        attempts = {}
        for name, names in ledgers.items():
            attempts[name], _ = Ledger(self.store, name, self.account, day).files(names)
            if len(not_replaced_names(names)) < len(names):
                self.replaced[day, name] = set()
        if state.replaced:
            self.replaced[day, ""] = set()
        plan = plan_day(day, state, self.begin)
        several = [name for name, files in attempts.items() if len(files) > 1]
        if not (plan.worth_it or several):
            return
        if reason := plan.obstacle or self._pending(day, state, ledgers):
            self.left.add(day, reason)
            return
        if self.run.dry_run:
            self.done.days += plan.worth_it
            self.done.ledgers += len(several)
            return
        if plan.worth_it:
            with self._reported(day), self._locked("account", self.account):
                self._merge(day)
        for name in ledgers:
            if name in several or (plan.worth_it and name in self.takes):
                with self._reported(day), self._locked("destination", name):
                    self._merge_ledger(day, name)

    def _pending(self, day: date, state: DayFiles, ledgers: LedgerNames) -> str:
        """Why a day is left, where a destination is still to get events of it."""
        for name, _ in self.run.pending(day, state, ledgers):
            return f"events are pending for destination {name}"
        return ""

    def _merge(self, day: date) -> None:
        """Merge the files of a day; its account is locked."""
        state = day_files.day_of(self.store, self.account, day)
        if any(file.compacted for file in state.orphans):  # a compaction was killed
            if dropped := drop_orphans(self.store, self.account, day):
                self.done.notes.append(describe(self.account, dropped))
            state = day_files.day_of(self.store, self.account, day)
        plan = plan_day(day, state, self.begin)
        if plan.obstacle:
            self.left.add(day, plan.obstacle)
        elif plan.worth_it:
            merged = self.replaced.setdefault((day, ""), set())
            merged |= merge_day(self.store, self.account, plan)
            self.done.days += 1
            self.changed_at = time.monotonic()

    def _merge_ledger(self, day: date, name: str) -> None:
        """Merge the ledger of a day, and note anew what is settled; its destination is locked."""
        ledger = Ledger(self.store, name, self.account, day)
        attempts, notes = ledger.files()
        if len(attempts) > 1:
            merged = self.replaced.setdefault((day, name), set())
            merged |= merge_ledger(ledger, attempts, notes)
            self.done.ledgers += 1
            self.changed_at = time.monotonic()
        if name in self.takes:
            current = day_files.current_files(self.store, self.account, day)
            settle(ledger, ledger.segments(current, ledger.names(), self.takes[name]))

    def remove(self, grace: float, pause: Callable[[float], bool]) -> None:
        """Remove replaced files, once nobody is about to look for them."""
        if not self.replaced or pause(self.changed_at + grace - time.monotonic()):
            return
        for (day, name), merged in sorted(self.replaced.items()):
            if self.run.stop.is_set():
                break
            with self._reported(day):
                if name:
                    with self._locked("destination", name):
                        ledger = Ledger(self.store, name, self.account, day)
                        self.done.removed += remove_attempts(ledger, merged)
                else:
                    with self._locked("account", self.account):
                        self.done.removed += remove_replaced(self.store, self.account, day, merged)

    @contextmanager
    def _locked(self, kind: Kind, name: str) -> Iterator[None]:
        owner = f"{kind} {name}"
        wait = 0.0 if owner in self.held else self.run.wait
        try:
            with self.run.locked(kind, name, wait):
                yield
        except InUseError as held:
            self.held.add(owner)
            raise InUseError(f"{owner} is held by another run", held.run) from held

    @contextmanager
    def _reported(self, day: date) -> Iterator[None]:
        """Leave a day whose lock others hold, or where something fails, and go on."""
        try:
            yield
        except InUseError as held:
            self.left.add(day, str(held))
        except FileGone:
            self.left.add(day, REPLACED_MEANWHILE)
        except StagingError as fault:
            self.done.problems.append(f"account {self.account}, {day} cannot be compacted: {fault}")
