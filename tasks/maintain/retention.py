"""Retention: drop the days that are older than what is kept.

A day is dropped whole: raw, normalized, rejected. First a mark says so (`tasks.staging.dropped`),
then its raw files go, and with each of them what came of it counts no more; then the rest. Who is
killed in between leaves a day that the next maintenance drops further.

A day is kept where something of it is still to be done: it has a gap, waits for a transform, or a
destination has not got all that it takes. The ledger is kept for longer, and never shorter than the
events that it is about: without it they would be sent again.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from tasks.errors import InUseError, StagingError
from tasks.maintain import kept_days
from tasks.maintain.compaction import LOCK_WAIT
from tasks.maintain.compaction_plan import GAP, plan_day
from tasks.maintain.kept_days import KeptDays
from tasks.staging import dropped, file_names, normalized
from tasks.staging.compacted_names import MERGED
from tasks.staging.coverage import read_coverage
from tasks.staging.ledger import Ledger
from tasks.staging.locks import hold
from tasks.staging.raw import publish
from tasks.staging.schemas import RAW_SCHEMA
from tasks.staging.settle import count_pending
from tasks.time_window import Window, difference, union

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import date, datetime

    from tasks.staging.locks import Kind
    from tasks.staging.normalized import DayFiles
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination


@dataclass(frozen=True)
class Rules:
    """What is kept.

    Attributes:
        days: Days of events: raw, normalized and rejected.
        ledger_days: Days of the ledger.
        lookback: How much of covered time every sync reads again; so much is kept in any case.
        drop_undelivered: Whether to drop events, too, that a destination has not got.
    """

    days: int
    ledger_days: int
    lookback: timedelta
    drop_undelivered: bool = False

    def ends_before(self, now: datetime) -> datetime:
        """Days that ended then or before are dropped."""
        return now - max(timedelta(days=self.days), self.lookback)


@dataclass
class Dropped:
    """What was dropped of an account.

    Attributes:
        days: Days of which there was something to drop.
        undelivered: Events that a destination had not got, added up over destinations.
        ledger_days: Days of a ledger, added up over destinations.
        notes: What was kept, and why.
        problems: What could not be read or removed.
    """

    days: int = 0
    undelivered: int = 0
    ledger_days: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def drop_account(
    store: Store,
    account: str,
    destinations: Sequence[Destination],
    rules: Rules,
    *,
    now: datetime,
    run_id: str,
    dry_run: bool = False,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
    wait: float = LOCK_WAIT,
    unsealed: AbstractSet[date] = frozenset(),
) -> Dropped:
    """Drop an account's days that are older than what is kept, the oldest first.

    The account and the destinations are locked for a day's work at a time.

    Args:
        store: The staging.
        account: Whose days.
        destinations: Those that are set up: what one of them has not got is kept.
        rules: What is kept.
        now: From when on ages count.
        run_id: Shown to other runs that want a lock.
        dry_run: Only say what would be dropped.
        stop: Ends the work early, in order, once it is set.
        progress: Told how many of how many days are done.
        wait: Seconds to wait for another run; what it then still holds is left to it.
        unsealed: Days that have no seal yet: kept until they have, where that can be.

    Raises:
        StagingError: The staging cannot be listed.
    """
    run = _Retention(store, account, destinations, rules, run_id, dry_run, stop, wait, unsealed)
    try:
        run.drop_days(now, progress)
        run.drop_ledgers(now)
    except InUseError as held:
        run.done.notes.append(f"{held}: what is older than kept is left to the next maintenance")
    run.done.notes += run.kept.notes(account)
    return run.done


@dataclass
class _Retention:
    """The retention of one account; `done` is what it did so far."""

    store: Store
    account: str
    destinations: Sequence[Destination]
    rules: Rules
    run_id: str
    dry_run: bool
    stop: threading.Event | None
    wait: float
    unsealed: AbstractSet[date]

    def __post_init__(self) -> None:
        self.done = Dropped()
        self.known = read_coverage(self.store, self.account)
        self.marks = [*dropped.marks(self.known.days)]
        self.gone: set[date] = set()
        self.kept = KeptDays()

    def drop_days(self, now: datetime, progress: Callable[[int, int], None] | None) -> None:
        """Drop the days that ended before what is kept."""
        oldest = self.rules.ends_before(now)
        days = {
            day: state
            for day, state in normalized.days(self.store, self.account).items()
            if Window.of_day(day).until <= oldest and _has_data(state)
        }
        for index, (day, listed) in enumerate(days.items()):
            if self._stopped():
                return
            with self._locked(("account", self.account), *self._sensors()), self._problems(day):
                state = listed
                if not self.dry_run:  # now that nobody else changes it
                    state = normalized.day_of(self.store, self.account, day, dropped=listed.dropped)
                self._drop_day(day, state)
            if progress is not None:
                progress(index + 1, len(days))

    def drop_ledgers(self, now: datetime) -> None:
        """Drop the ledgers' days that are older than what is kept, where no event is staged."""
        oldest = now - timedelta(days=self.rules.ledger_days)
        for name in self.store.destinations():
            for day in self.store.dates("deliveries", self.account, name):
                if Window.of_day(day).until > oldest or self._is_staged(day):
                    continue
                if self._stopped():
                    return
                with self._locked(("destination", name)), self._problems(day):
                    if not self._is_staged(day):  # now that nobody delivers
                        self._remove("deliveries", day, destination=name)
                        self.done.ledger_days += 1

    def _drop_day(self, day: date, state: DayFiles) -> None:
        if not _has_data(state):
            return
        part = self._read(day)
        if reason := self._why_kept(part, state):
            self.kept.add(day, reason)
            return
        pending = {}
        for one in self.destinations:
            ledger = Ledger(self.store, one.name, self.account, day)
            if count := count_pending(ledger, [*state.current.values()], ledger.names(), one.takes):
                pending[one.name] = count
        if pending and not self.rules.drop_undelivered:
            self.kept.add_undelivered(day, pending)
            return
        if day in self.unsealed and not pending and self._can_be_sealed(day, state):
            self.kept.add(day, kept_days.UNSEALED)
            return
        if part is not None:
            self._mark(part)
        for stage in ("raw", "normalized", "rejected"):  # raw first: it decides what counts
            self._remove(stage, day)
        self.gone.add(day)
        self.done.days += 1
        self.done.undelivered += sum(pending.values())

    def _why_kept(self, part: Window | None, state: DayFiles) -> str:
        """Why a day is kept, whatever destinations have got of it; empty where it is not."""
        known = [*self.known.covered, *self.known.lost, *self.known.dropped]
        if part is not None and difference(part, known):
            return kept_days.GAP
        if state.waiting:
            return kept_days.NOT_NORMALIZED
        if state.orphans:
            return kept_days.ORPHANS
        if state.replaced:
            return kept_days.REPLACED
        if not (self.destinations or self.rules.drop_undelivered):
            return kept_days.UNKNOWN
        return ""

    def _can_be_sealed(self, day: date, state: DayFiles) -> bool:
        """Whether a day is sealed once it is compacted: not where time of it was never read."""
        return plan_day(day, state, self.known.begin).obstacle != GAP

    def _read(self, day: date) -> Window | None:
        """The part of a day between where the account begins and what was read last."""
        bounds, known = Window.of_day(day), self.known
        since = max(bounds.since, known.begin or bounds.until)
        until = min(bounds.until, known.end or bounds.since)
        return Window(since, until) if since < until else None

    def _mark(self, part: Window) -> None:
        """Say that a part of a day was dropped, in one mark with the time that touches it."""
        if self.dry_run:
            return
        runs = union([*(mark.window for mark in self.marks), part])
        run = next(run for run in runs if part.since in run)
        mark = next((mark for mark in self.marks if mark.window == run), None)
        if mark is None:
            where, text = dropped.mark_for(run)
            name = publish(self.store, self.account, where, RAW_SCHEMA.empty_table(), text)
            mark = dropped.DroppedMark(run, where.day, name)
        inside = [one for one in self.marks if one.window.since in run and one != mark]
        for old in inside:
            folder = self.store.folder("raw", self.account, old.day)
            self.store.remove(f"{folder}/{old.name}")
            self.store.backend.remove_folder(folder)
        self.marks = [mark, *(one for one in self.marks if one.window.since not in run)]

    def _remove(self, stage: str, day: date, destination: str = "") -> None:
        """Remove a day's files of a tree; of raw, marks stay."""
        if self.dry_run:
            return
        names = self.store.files(stage, self.account, day, destination)
        if stage == "raw":
            names = [file.name for file in file_names.raw_files(names) if file.mark in MERGED]
        folder = self.store.folder(stage, self.account, day, destination)
        for name in names:
            self.store.remove(f"{folder}/{name}")
        self.store.backend.remove_folder(folder)

    def _is_staged(self, day: date) -> bool:
        """Whether an event of a day is staged, whose ledger is then needed."""
        if day in self.gone:
            return False
        raw, made = (self.store.files(tree, self.account, day) for tree in ("raw", "normalized"))
        return bool(made) or any(file.rows for file in file_names.raw_files(raw))

    def _sensors(self) -> Iterator[tuple[Kind, str]]:
        for name in sorted(destination.name for destination in self.destinations):
            yield "destination", name

    @contextmanager
    def _locked(self, *owners: tuple[Kind, str]) -> Iterator[None]:
        """Hold some locks, in a dry run none."""
        with ExitStack() as stack:
            for kind, name in () if self.dry_run else owners:
                lock = partial(hold, self.store, kind, name, run_id=self.run_id, stop=self.stop)
                stack.enter_context(lock(wait=self.wait, leave=True))
            yield

    @contextmanager
    def _problems(self, day: date) -> Iterator[None]:
        """Report what of a day cannot be read or removed, and go on with the others."""
        try:
            yield
        except StagingError as fault:
            self.done.problems.append(f"account {self.account}, {day}: {fault}")

    def _stopped(self) -> bool:
        return self.stop is not None and self.stop.is_set()


def _has_data(state: DayFiles) -> bool:
    """Whether there is something of a day to be dropped."""
    others = (state.current, state.rejected, state.malformed, state.leftovers, state.orphaned)
    return any(file.mark in MERGED for file in state.raw) or any((*others, state.replaced))
