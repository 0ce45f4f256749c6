"""Retention: drop the days that are older than it says.

A day is dropped as a whole: raw, normalized, rejected. First a mark says so
(`tasks.staging.dropped`). Then its raw files are removed, and what came of them no longer counts.
Then the rest is removed. Where a run is killed in between, the next maintenance goes on.

A day is kept where something of it is still to be done: it has a gap, waits for a transform, or a
destination has not got all that it takes. The ledger is kept for longer, and never shorter than the
events that it is about: without it they would be sent again.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from tasks.errors import InUseError, StagingError
from tasks.maintain import left_days
from tasks.maintain.compaction_plan import plan_day
from tasks.maintain.left_days import LeftDays
from tasks.maintain.maintenance_run import PartResult
from tasks.staging import day_files, dropped
from tasks.staging.coverage import coverage_by_names
from tasks.staging.deliveries.ledger import ledger_names
from tasks.staging.names import file_names
from tasks.staging.names.compacted_names import MERGED
from tasks.staging.raw import publish
from tasks.staging.schemas import RAW_SCHEMA
from tasks.time_window import Window, difference, union

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet
    from datetime import date

    from tasks.maintain.maintenance_run import MaintenanceRun
    from tasks.staging.day_files import DayFiles
    from tasks.staging.locks import Kind


@dataclass(frozen=True)
class Rules:
    """What is kept.

    Attributes:
        days: Days of events: raw, normalized and rejected.
        ledger_days: Days of the ledger.
        drop_undelivered: Whether to drop events, too, that a destination has not got.
    """

    days: int
    ledger_days: int
    drop_undelivered: bool = False


@dataclass
class RetentionResult(PartResult):
    """What was dropped of an account.

    Attributes:
        days: Days of which there was something to drop.
        undelivered: Events that a destination had not got, added up over destinations.
        ledger_days: Days of a ledger, added up over destinations.
    """

    days: int = 0
    undelivered: int = 0
    ledger_days: int = 0


def drop_account(
    run: MaintenanceRun,
    rules: Rules,
    *,
    unsealed: AbstractSet[date] = frozenset(),
    progress: Callable[[int, int], None] | None = None,
) -> RetentionResult:
    """Drop an account's days that are older than the retention, the oldest first.

    The account and the destinations are locked for a day's work at a time. What syncs read again
    for late events is kept in any case.

    Args:
        run: Whose days, and how.
        rules: What is kept.
        unsealed: Days that have no seal yet: kept until they have, where that can be.
        progress: Told how many of how many days are done.

    Returns:
        What was dropped. Days that are kept although they are old enough are among its notes.
    """
    done = RetentionResult()
    try:
        retention = _Retention(run, rules, unsealed, done)
        try:
            retention.drop_days(progress)
            retention.drop_ledgers()
        except InUseError as held:
            done.notes.append(
                f"{held}: what is older than the retention is left to the next maintenance"
            )
        done.notes += retention.notes()
    except StagingError as fault:
        done.problems.append(f"account {run.account} cannot be maintained: {fault}")
    return done


@dataclass
class _Retention:
    """The retention of one account; `done` is what it did so far.

    Attributes:
        undelivered: How many events each destination has not got, of days that are kept for it.
    """

    run: MaintenanceRun
    rules: Rules
    unsealed: AbstractSet[date]
    done: RetentionResult
    left: LeftDays = field(default_factory=LeftDays)
    undelivered: dict[str, dict[date, int]] = field(default_factory=dict)
    gone: set[date] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.store, self.account = self.run.store, self.run.account
        days = self.store.names_by_day("raw", self.account)
        self.known = coverage_by_names(self.account, days)
        self.marks = [*dropped.marks(days)]

    def notes(self) -> Iterator[str]:
        """Which days are kept, and why."""
        for name, counts in self.undelivered.items():
            since = max(counts) + timedelta(days=1)
            reason = (
                f"destination {name} has not got {sum(counts.values()):,} of the events; deliver "
                f"them (`halo-usm load`), or leave them out (since={since} in its URL), or say "
                "--drop-undelivered"
            )
            for day in counts:
                self.left.add(day, reason)
        return self.left.notes(self.account, "kept")

    def drop_days(self, progress: Callable[[int, int], None] | None) -> None:
        """Drop the days that are older than the retention."""
        oldest = self.run.now - timedelta(days=self.rules.days)
        days = {
            day: state
            for day, state in day_files.days(self.store, self.account).items()
            if Window.of_day(day).until <= oldest and self.run.is_over(day) and _has_data(state)
        }
        names = sorted(destination.name for destination in self.run.destinations)
        owners: list[tuple[Kind, str]] = [("account", self.account)]
        owners += [("destination", name) for name in names]
        for index, (day, listed) in enumerate(days.items()):
            if self.run.stop.is_set():
                return
            with self._locked(*owners), self._reported(day):
                state = listed
                if not self.run.dry_run:  # now that nobody else changes it
                    state = day_files.day_of(self.store, self.account, day, dropped=listed.dropped)
                self._drop_day(day, state)
            if progress is not None:
                progress(index + 1, len(days))

    def drop_ledgers(self) -> None:
        """Drop the ledgers' days that are older than what is kept, where no event is staged."""
        oldest = self.run.now - timedelta(days=self.rules.ledger_days)
        for name in self.store.destinations():
            for day in self.store.dates("deliveries", self.account, name):
                if Window.of_day(day).until > oldest or self._is_staged(day):
                    continue
                if self.run.stop.is_set():
                    return
                with self._locked(("destination", name)), self._reported(day):
                    if not self._is_staged(day):  # now that nobody delivers
                        self._remove("deliveries", day, destination=name)
                        self.done.ledger_days += 1

    def _drop_day(self, day: date, state: DayFiles) -> None:
        if not _has_data(state):
            return
        part = self._known_part(day)
        if reason := self._why_kept(part, state):
            self.left.add(day, reason)
            return
        ledgers = ledger_names(self.store, self.account, day)
        pending = dict(self.run.pending(day, state, ledgers))
        if pending and not self.rules.drop_undelivered:
            for name, count in pending.items():
                self.undelivered.setdefault(name, {})[day] = count
            return
        if day in self.unsealed and not pending and self._can_be_sealed(day, state):
            self.left.add(day, left_days.NOT_SEALED)
            return
        if part is not None:
            self._mark_dropped(part)
        for tree in ("raw", "normalized", "rejected"):  # raw first: it decides what counts
            self._remove(tree, day)
        self.gone.add(day)
        self.done.days += 1
        self.done.undelivered += sum(pending.values())

    def _why_kept(self, part: Window | None, state: DayFiles) -> str:
        """Why a day is kept, whatever destinations have got of it; empty where it is not."""
        known = [*self.known.covered, *self.known.lost, *self.known.dropped]
        if part is not None and difference(part, known):
            return left_days.GAP
        if state.waiting:
            return left_days.NOT_NORMALIZED
        if state.orphans:
            return left_days.ORPHANS
        if state.replaced:
            return left_days.REPLACED
        if not (self.run.destinations or self.rules.drop_undelivered):
            return left_days.NO_DESTINATION
        return ""

    def _can_be_sealed(self, day: date, state: DayFiles) -> bool:
        """Whether a day is sealed once it is compacted: not where time of it was never read."""
        return plan_day(day, state, self.known.begin).obstacle != left_days.GAP

    def _known_part(self, day: date) -> Window | None:
        """The part of a day between where the account begins and what was read last."""
        bounds, known = Window.of_day(day), self.known
        since = max(bounds.since, known.begin or bounds.until)
        until = min(bounds.until, known.end or bounds.since)
        return Window(since, until) if since < until else None

    def _mark_dropped(self, part: Window) -> None:
        """Say that a part of a day was dropped, in one mark with the time that touches it."""
        if self.run.dry_run:
            return
        merged = union([*(mark.window for mark in self.marks), part])
        whole = next(window for window in merged if part.since in window)
        mark = next((mark for mark in self.marks if mark.window == whole), None)
        if mark is None:
            where, text = dropped.mark_for(whole)
            name = publish(self.store, self.account, where, RAW_SCHEMA.empty_table(), text)
            mark = dropped.DroppedMark(whole, where.day, name)
        inside = [one for one in self.marks if one.window.since in whole and one != mark]
        for old in inside:
            folder = self.store.folder("raw", self.account, old.day)
            self.store.remove(f"{folder}/{old.name}")
            self.store.backend.remove_folder(folder)
        self.marks = [mark, *(one for one in self.marks if one.window.since not in whole)]

    def _remove(self, tree: str, day: date, destination: str = "") -> None:
        """Remove a day's files of a tree; of raw, marks stay."""
        if self.run.dry_run:
            return
        names = self.store.files(tree, self.account, day, destination)
        if tree == "raw":
            names = [file.name for file in file_names.raw_files(names) if file.mark in MERGED]
        folder = self.store.folder(tree, self.account, day, destination)
        for name in names:
            self.store.remove(f"{folder}/{name}")
        self.store.backend.remove_folder(folder)

    def _is_staged(self, day: date) -> bool:
        """Whether an event of a day is staged, whose ledger is then needed."""
        if day in self.gone:
            return False
        raw, made = (self.store.files(tree, self.account, day) for tree in ("raw", "normalized"))
        return bool(made) or any(file.rows for file in file_names.raw_files(raw))

    @contextmanager
    def _locked(self, *owners: tuple[Kind, str]) -> Iterator[None]:
        """Hold some locks, in a dry run none."""
        with ExitStack() as stack:
            for kind, name in () if self.run.dry_run else owners:
                stack.enter_context(self.run.locked(kind, name))
            yield

    @contextmanager
    def _reported(self, day: date) -> Iterator[None]:
        """Report a day that cannot be read or removed, and go on with the others."""
        try:
            yield
        except StagingError as fault:
            self.done.problems.append(f"account {self.account}, {day}: {fault}")


def _has_data(state: DayFiles) -> bool:
    """Whether there is something of a day to be dropped."""
    others = (state.current, state.rejected, state.malformed, state.leftovers, state.replaced)
    return any(file.mark in MERGED for file in state.raw) or any(others)
