"""Compaction: the small files of a day that is over and settled become one of each kind.

A day is merged while its account is locked, its ledgers while their destinations are, a day at a
time. The new files are complete before the first of them gets its name: rejected, normalized, raw
in the end. By its name the new raw file replaces the old ones, and with them what came of them
(`tasks.staging.compacted_names`). Nothing is removed then: whoever has listed the day can still
read it. That is done at the end (`tasks.maintain.replaced_files`), after a pause; what a run that
was killed left is removed by the next one.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from tasks.errors import InUseError, StagingError
from tasks.maintain.compaction_plan import Left, plan_day
from tasks.maintain.compaction_writer import merge_day, merge_ledger
from tasks.maintain.replaced_files import remove_attempts, remove_replaced
from tasks.staging import normalized
from tasks.staging.coverage import read_coverage
from tasks.staging.files import FileGone
from tasks.staging.known_ids import KnownIds
from tasks.staging.ledger import Ledger
from tasks.staging.ledger_file_names import counting_names
from tasks.staging.locks import hold
from tasks.staging.orphans import describe, drop_orphans
from tasks.staging.settle import count_pending, settle
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date, datetime

    from tasks.event_filter import EventFilter
    from tasks.staging.locks import Kind
    from tasks.staging.normalized import DayFiles
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination

LOCK_WAIT = 30.0
"""Seconds to wait for another run that holds an account or destination."""
GRACE = 10.0
"""Seconds between the last change of names and the first removal.

A folder is not listed in one moment. Whoever began to list it before the new file was there, and
did not see it, has seen the old ones by then.
"""


@dataclass(frozen=True)
class CompactionResult:
    """What a compaction of an account did.

    Attributes:
        days: Days whose events were merged.
        ledgers: Days of ledgers that were.
        merged: Files that became one in all of them.
        removed: Files that were removed, since others replace them.
        notes: What was left, and why.
        problems: What failed.
    """

    days: int = 0
    ledgers: int = 0
    merged: int = 0
    removed: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def compact_account(
    store: Store,
    account: str,
    destinations: Sequence[Destination],
    *,
    now: datetime,
    lookback: timedelta = timedelta(0),
    dry_run: bool = False,
    stop: threading.Event | None = None,
    run_id: str = "",
    wait: float = LOCK_WAIT,
    grace: float = GRACE,
    pause: Callable[[float], bool] | None = None,
) -> CompactionResult:
    """Compact the days of an account that are over and settled, and its ledgers of them.

    Args:
        store: The staging.
        account: Whose days.
        destinations: Those that are set up: a day with events pending for one of them is left.
        now: The time; a day is over once all of it is older than `lookback`.
        lookback: How much of covered time is read again for late events.
        dry_run: Whether to say only what would be done.
        stop: Set when the compaction is to end early: the day in hand is finished.
        run_id: Shown to other runs that want the locks.
        wait: Seconds to wait for another run that holds the account or a destination.
        grace: Seconds before replaced files are removed.
        pause: Waits so many seconds, and returns whether to end early; waits for `stop` by default.

    Returns:
        What was done, or would be. Days that are left are among its notes: that is no failure.
    """
    takes = {destination.name: destination.takes for destination in destinations}
    stop = stop or threading.Event()
    run = _Compaction(store, account, takes, now - lookback, dry_run, stop, run_id, wait)
    try:
        run.compact()
        if not dry_run:
            run.remove(grace, pause or stop.wait)
    except StagingError as fault:
        run.problems.append(f"account {account} cannot be compacted: {fault}")
    return CompactionResult(
        run.days,
        run.ledgers,
        run.merged,
        run.removed,
        [*run.notes, *run.left.notes(account)],
        run.problems,
    )


@dataclass
class _Compaction:
    """A compaction of one account, and what it did so far; see `CompactionResult`.

    Attributes:
        replaced: The days with replaced files in the account's trees, or, by its name, in the
            ledger of a destination; and the files among them that this run has merged.
        held: The locks that others held.
    """

    store: Store
    account: str
    takes: dict[str, EventFilter]
    over: datetime
    dry_run: bool
    stop: threading.Event
    run_id: str
    wait: float
    days: int = 0
    ledgers: int = 0
    merged: int = 0
    removed: int = 0
    left: Left = field(default_factory=Left)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    replaced: dict[tuple[date, str], set[str]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    changed_at: float = field(default_factory=time.monotonic)

    def compact(self) -> None:
        """Compact the days that can be, the oldest first."""
        store, account = self.store, self.account
        self.begin = read_coverage(store, account).begin
        ledgers = {name: store.tree("deliveries", account, name) for name in store.destinations()}
        days = normalized.days(store, account)
        for day in sorted({*days, *(day for tree in ledgers.values() for day in tree)}):
            if self.stop.is_set():
                break
            if Window.of_day(day).until <= self.over:
                state = days.get(day) or normalized.read_day((), (), ())
                names = {name: tree[day] for name, tree in ledgers.items() if day in tree}
                with self._reported(day):
                    self._compact(day, state, names)
        if self.days and not self.dry_run:
            # else the next sync reads the ids of the new files
            with suppress(InUseError), self._locked("account", account):
                KnownIds(store, account).renew()

    def _compact(self, day: date, state: DayFiles, names: dict[str, list[str]]) -> None:
        """Compact a day that is over, as it was listed."""
        ledgers = {}
        for name, listed in names.items():
            ledgers[name], _ = Ledger(self.store, name, self.account, day).files(listed)
            if len(counting_names(listed)) < len(listed):
                self.replaced[day, name] = set()
        if state.replaced:
            self.replaced[day, ""] = set()
        plan = plan_day(day, state, self.begin)
        several = [name for name, files in ledgers.items() if len(files) > 1]
        if not (plan.worth_it or several):
            return
        if reason := plan.obstacle or self._pending(day, state, names):
            self.left.add(reason, day)
            return
        if self.dry_run:
            self.days += plan.worth_it
            self.ledgers += len(several)
            self.merged += plan.files + sum(len(ledgers[name]) for name in several)
            return
        if plan.worth_it:
            with self._reported(day), self._locked("account", self.account):
                self._merge(day)
        for name in names:
            if name in several or (plan.worth_it and name in self.takes):
                with self._reported(day), self._locked("destination", name):
                    self._merge_ledger(day, name)

    def _pending(self, day: date, state: DayFiles, names: dict[str, list[str]]) -> str:
        """Why a day is left, where a destination is still to get events of it."""
        for name, takes in self.takes.items():
            ledger = Ledger(self.store, name, self.account, day)
            if count_pending(ledger, [*state.current.values()], names.get(name, ()), takes):
                return f"events are pending for destination {name}"
        return ""

    def _merge(self, day: date) -> None:
        """Merge the files of a day; its account is locked."""
        state = normalized.day_of(self.store, self.account, day)
        if any(file.compacted for file in state.orphans):  # a compaction was killed
            if dropped := drop_orphans(self.store, self.account, day):
                self.notes.append(describe(self.account, dropped))
            state = normalized.day_of(self.store, self.account, day)
        plan = plan_day(day, state, self.begin)
        if plan.obstacle:
            self.left.add(plan.obstacle, day)
        elif plan.worth_it:
            merged = self.replaced.setdefault((day, ""), set())
            merged |= merge_day(self.store, self.account, plan)
            self.days += 1
            self.merged += plan.files
            self.changed_at = time.monotonic()

    def _merge_ledger(self, day: date, name: str) -> None:
        """Merge the ledger of a day, and note anew what is settled; its destination is locked."""
        ledger = Ledger(self.store, name, self.account, day)
        attempts, notes = ledger.files()
        if len(attempts) > 1:
            merged = self.replaced.setdefault((day, name), set())
            merged |= merge_ledger(ledger, attempts, notes)
            self.ledgers += 1
            self.merged += len(attempts)
            self.changed_at = time.monotonic()
        if name in self.takes:
            current = normalized.current_files(self.store, self.account, day)
            settle(ledger, ledger.segments(current, ledger.names(), self.takes[name]))

    def remove(self, grace: float, pause: Callable[[float], bool]) -> None:
        """Remove replaced files, once nobody is about to look for them."""
        if not self.replaced or pause(self.changed_at + grace - time.monotonic()):
            return
        for (day, name), merged in sorted(self.replaced.items()):
            if self.stop.is_set():
                break
            with self._reported(day):
                if name:
                    with self._locked("destination", name):
                        ledger = Ledger(self.store, name, self.account, day)
                        self.removed += remove_attempts(ledger, merged)
                else:
                    with self._locked("account", self.account):
                        self.removed += remove_replaced(self.store, self.account, day, merged)

    @contextmanager
    def _locked(self, kind: Kind, name: str) -> Iterator[None]:
        owner = f"{kind} {name}"
        wait = 0.0 if owner in self.held else self.wait
        try:
            with hold(
                self.store, kind, name, run_id=self.run_id, wait=wait, leave=True, stop=self.stop
            ):
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
            self.left.add(str(held), day)
        except FileGone:
            self.left.add("its files were replaced meanwhile", day)
        except StagingError as fault:
            self.problems.append(f"account {self.account}, {day} cannot be compacted: {fault}")
