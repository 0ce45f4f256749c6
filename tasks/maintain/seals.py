"""Seals: the hashes and sums of each day that is over, numbered and chained; see `docs/seals.md`.

A day is sealed once it is compacted, and again when its files have changed since: late events, a
replay, or normalizing anew do that.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING

from tasks.errors import InUseError, StagingError
from tasks.maintain.compaction_plan import plan_day
from tasks.staging import normalized
from tasks.staging.compacted_names import MERGED
from tasks.staging.coverage import read_coverage
from tasks.staging.day_sums import by_tree, counting_rows, sums_of
from tasks.staging.dropped import span_of
from tasks.staging.files import FileGone
from tasks.staging.footers import footer_of, sha256_of_file
from tasks.staging.ledger import Ledger
from tasks.staging.locks import hold
from tasks.staging.seal import Seal, SealedFile
from tasks.staging.seal_chain import SealChain
from tasks.staging.settle import count_pending
from tasks.time_window import Window

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import date

    from tasks.event_filter import EventFilter
    from tasks.staging.footers import Footer
    from tasks.staging.normalized import DayFiles
    from tasks.staging.seal_chain import SealInFile
    from tasks.staging.signatures import SigningKey
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination

    Ledgers = Mapping[str, Sequence[str]]
    """Names of the ledger's files of a day, by destination."""


@dataclass(frozen=True)
class SealResult:
    """What sealing did for one account.

    Attributes:
        sealed: Days that were sealed; in a dry run, that would be.
        notes: What is worth knowing, and what was left to a later run.
        problems: What is wrong: a sentence each, with what to do.
        unsealed: Days without a seal of what is there now: they could not be sealed, or not yet.
    """

    sealed: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unsealed: AbstractSet[date] = frozenset()


def seal_account(
    store: Store,
    account: str,
    destinations: Sequence[Destination],
    *,
    now: datetime,
    lookback: timedelta = timedelta(minutes=15),
    dry_run: bool = False,
    sign_key: SigningKey | None = None,
    run_id: str = "",
    stop: threading.Event | None = None,
    wait: float = 0.0,
) -> SealResult:
    """Seal the days of an account that are compacted and have no seal, or changed since theirs.

    Args:
        store: The staging.
        account: Whose days.
        destinations: Those that are set up.
        now: Days that ended before it are over.
        lookback: How much of covered time syncs read again: a day is over so much after its end.
        dry_run: Only count the days.
        sign_key: The key that signs each seal; none by default.
        run_id: Shown to other runs that want the account's lock.
        stop: Set when the run is to end early; the seal in hand is finished.
        wait: Seconds to wait for another run that holds the account, for each day.

    Returns:
        What was done. Expected faults are among its problems; an account that another run holds is
        left to that run, with a note.
    """
    takes = {destination.name: destination.takes for destination in destinations}
    run = _Sealing(store, account, takes, now - lookback, sign_key, dry_run)
    try:
        for day in run.plan():
            if stop is not None and stop.is_set():
                break
            if dry_run:
                run.sealed += 1
                run.unsealed.remove(day)
                continue
            with hold(store, "account", account, run_id=run_id, wait=wait, leave=True, stop=stop):
                run.seal_day(day)
    except InUseError as held:
        run.notes.append(str(held))
    except StagingError as fault:
        run.problems.append(f"account {account} cannot be sealed: {fault}")
    return run.result()


@dataclass
class _Sealing:
    """The sealing of one account, and what it did so far."""

    store: Store
    account: str
    takes: dict[str, EventFilter]
    over: datetime
    sign_key: SigningKey | None
    dry_run: bool
    sealed: int = 0
    added: SealInFile | None = None
    left: set[date] = field(default_factory=set)
    unsealed: set[date] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chain = SealChain(self.store, self.account)

    def result(self) -> SealResult:
        """What was done, in words."""
        if last := self.added:
            self.notes.append(
                f"account {self.account}: sealed {self.sealed:,} days; the newest seal is number "
                f"{last.seal.number} ({last.name}), its SHA-256 {last.sha256}: keep both elsewhere"
            )
        if self.left:
            self.notes.append(
                f"account {self.account}: {len(self.left):,} days are not sealed yet, "
                f"{span_of(self.left)}: they are not complete, delivered and compacted"
            )
        return SealResult(self.sealed, self.notes, self.problems, self.unsealed | self.left)

    def plan(self) -> list[date]:
        """Read the chain; the days to be sealed, oldest first, none where it is not continued."""
        days = normalized.days(self.store, self.account)
        self.unsealed = {*days}  # as long as nobody knows which are sealed
        self.chain.refresh()
        self.unsealed.clear()
        self.problems += self.chain.faults()
        trees = {
            name: self.store.tree("deliveries", self.account, name)
            for name in self.store.destinations()
        }
        newest = self.chain.newest()
        self.begin = read_coverage(self.store, self.account).begin
        for day, state in days.items():
            ledgers = {name: tree[day] for name, tree in trees.items() if day in tree}
            with self._reported(day):
                if self._unsealed_files(day, state, ledgers, newest.get(day)):
                    self.unsealed.add(day)
        if self.unsealed and (why := self.chain.why_not_continued()):
            self.problems.append(
                f"account {self.account}: {len(self.unsealed):,} days are not sealed: {why}"
            )
            return []
        return sorted(self.unsealed)

    def _unsealed_files(
        self, day: date, state: DayFiles, ledgers: Ledgers, newest: SealInFile | None
    ) -> dict[str, int]:
        """The files of a day that is to be sealed, with their rows; nothing of any other day."""
        is_empty = not any(file.mark in MERGED for file in state.raw)
        if Window.of_day(day).until > self.over or state.dropped or is_empty:
            return {}
        rows = counting_rows(self.store, self.account, day, state, ledgers)
        if newest and newest.seal.paths == rows.keys():
            return {}
        if not self._is_compacted(day, state, ledgers):
            self.left.add(day)
            return {}
        return rows

    def _is_compacted(self, day: date, state: DayFiles, ledgers: Ledgers) -> bool:
        """Whether a day is settled and has nothing more to compact; in a dry run, would have."""
        plan = plan_day(day, state, self.begin)
        if plan.obstacle or state.orphans:
            return False
        several = plan.worth_it
        for name in {*ledgers, *self.takes}:
            ledger, names = Ledger(self.store, name, self.account, day), ledgers.get(name, ())
            takes = self.takes.get(name)
            if takes and count_pending(ledger, [*state.current.values()], names, takes):
                return False
            several |= len(ledger.files(names)[0]) > 1
        return self.dry_run or not several

    def seal_day(self, day: date) -> None:
        """Seal a day, under the account's lock, unless another run has done it meanwhile."""
        self.chain.refresh()
        if why := self.chain.why_not_continued():
            raise StagingError(why)
        before = self.chain.newest().get(day)
        state = normalized.day_of(self.store, self.account, day)
        ledgers = {
            name: names
            for name in self.store.destinations()
            if (names := self.store.files("deliveries", self.account, day, name))
        }
        seal = None
        with self._reported(day):
            rows = self._unsealed_files(day, state, ledgers, before)
            seal = self._next_seal(day, rows) if rows else None
            self.unsealed.remove(day)
        if seal is None:
            return
        self.added = self.chain.add(seal.signed(self.sign_key) if self.sign_key else seal)
        self.sealed += 1
        if before and (less := seal.sums.less_than(before.seal.sums)):
            self.problems.append(
                f"account {self.account}: {self.added} tells of {less} than {before}: something "
                "was taken away since; restore it, or know why"
            )

    @contextmanager
    def _reported(self, day: date) -> Iterator[None]:
        """Leave a day whose files are replaced meanwhile, or are damaged, and go on."""
        try:
            yield
        except FileGone:
            self.left.add(day)
        except StagingError as fault:
            self.left.add(day)
            self.problems.append(f"account {self.account}, {day} is not sealed: {fault}")

    def _next_seal(self, day: date, rows: Mapping[str, int]) -> Seal:
        hashes = {path: sha256_of_file(self.store, path) for path in rows}
        footers = [footer_of(self.store, path) for path in rows]
        for footer in footers:
            if footer.rows != rows[footer.path]:
                raise StagingError(
                    f"{footer.path} has {footer.rows} rows, its name tells of {rows[footer.path]}"
                )
        sums = sums_of(self.store, day, footers)
        if not sums.add_up:
            raise StagingError(
                f"its {sums.raw} raw events are not its {sums.normalized} normalized and "
                f"{sums.rejected.transform} rejected ones; `halo-usm audit --since {day}` says more"
            )
        last = self.chain.last
        return Seal(
            account=self.account,
            number=last.seal.number + 1 if last else 1,
            previous=last.sha256 if last else None,
            day=day,
            files=tuple(
                SealedFile(path=f.path, rows=f.rows, sha256=hashes[f.path]) for f in footers
            ),
            sums=sums,
            mapping_versions=_mapping_versions(footers),
            program_version=version("halo-usm"),
            sealed_at=datetime.now(UTC),
        )


def _mapping_versions(footers: Sequence[Footer]) -> tuple[str, ...]:
    """The versions of the mapping that made normalized files."""
    from tasks.plugin.fields import MAPPING_VERSION_KEY

    told = {
        footer.metadata.get(MAPPING_VERSION_KEY.encode(), b"unknown").decode(errors="replace")
        for footer in by_tree(footers).get("normalized", [])
        if footer.rows
    }
    # a compacted file names all of those that it was made of
    return tuple(sorted({one for text in told for one in text.split(", ")}))
