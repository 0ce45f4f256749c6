"""Sealing: the hashes and sums of each day that is over, numbered and chained; see `docs/seals.md`.

A day is sealed once it is compacted, and again when its files have changed since: late events, a
replay, or normalizing anew do that.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from tasks.errors import InUseError, StagingError
from tasks.maintain.compaction_plan import plan_day
from tasks.maintain.left_days import NOT_COMPACTED, REPLACED_MEANWHILE, LeftDays
from tasks.maintain.maintenance_run import PartResult
from tasks.plurals import counted
from tasks.staging import day_files
from tasks.staging.coverage import read_coverage
from tasks.staging.deliveries.ledger import Ledger, ledger_names
from tasks.staging.footers import footer_of, sha256_of_file
from tasks.staging.names.compacted_names import MERGED
from tasks.staging.seals.day_sums import by_tree, rows_of_files, sums_of
from tasks.staging.seals.seal import Seal, SealedFile
from tasks.staging.seals.seal_chain import SealChain
from tasks.staging.storage.files import FileGone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from tasks.maintain.maintenance_run import LedgerNames, MaintenanceRun
    from tasks.staging.day_files import DayFiles
    from tasks.staging.footers import Footer
    from tasks.staging.seals.seal_chain import SealInFile
    from tasks.staging.seals.signatures import SigningKey


@dataclass
class SealResult(PartResult):
    """What sealing did for one account.

    Attributes:
        sealed: Days that were sealed; in a dry run, that would be.
        unsealed: Days without a seal of what is there now: they could not be sealed, or not yet.
    """

    sealed: int = 0
    unsealed: set[date] = field(default_factory=set)


def seal_account(run: MaintenanceRun, sign_key: SigningKey | None = None) -> SealResult:
    """Seal the days of an account that are compacted and have no seal, or changed since theirs.

    Args:
        run: Whose days, and how.
        sign_key: The key that signs each seal; none by default.

    Returns:
        What was done. Expected faults are among its problems; an account that another run holds is
        left to that run, with a note.
    """
    sealing = _Sealing(run, sign_key)
    done = sealing.done
    try:
        for day in sealing.plan():
            if run.stop.is_set():
                break
            if run.dry_run:
                done.sealed += 1
                done.unsealed.remove(day)
                continue
            with run.locked("account", run.account):
                sealing.seal_day(day)
    except InUseError as held:
        done.notes.append(str(held))
    except StagingError as fault:
        done.problems.append(f"account {run.account} cannot be sealed: {fault}")
    done.notes += sealing.notes()
    done.unsealed |= sealing.waiting
    return done


@dataclass
class _Sealing:
    """The sealing of one account; `done` is what it did so far."""

    run: MaintenanceRun
    sign_key: SigningKey | None
    done: SealResult = field(default_factory=SealResult)
    added: SealInFile | None = None
    left: LeftDays = field(default_factory=LeftDays)
    waiting: set[date] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.store, self.account = self.run.store, self.run.account
        self.chain = SealChain(self.store, self.account)

    def notes(self) -> Iterator[str]:
        """The newest seal, and the days that are left."""
        if last := self.added:
            yield (
                f"account {self.account}: sealed {counted(self.done.sealed, 'day')}; the newest "
                f"seal is number {last.seal.number} ({last.name}), its SHA-256 {last.sha256}: keep "
                "both elsewhere"
            )
        yield from self.left.notes(self.account, "not sealed")

    def plan(self) -> list[date]:
        """Read the chain; the days to be sealed, oldest first, none where it is not continued."""
        days = day_files.days(self.store, self.account)
        unsealed = self.done.unsealed
        unsealed.update(days)  # as long as nobody knows which are sealed
        self.chain.refresh()
        unsealed.clear()
        self.done.problems += self.chain.faults()
        ledgers = self.run.ledgers()
        newest = self.chain.newest()
        self.begin = read_coverage(self.store, self.account).begin
        for day, state in days.items():
            with self._reported(day):
                if self._files_to_seal(day, state, ledgers.get(day, {}), newest.get(day)):
                    unsealed.add(day)
        if unsealed and (why := self.chain.why_not_continued()):
            self.done.problems.append(
                f"account {self.account}: "
                f"{counted(len(unsealed), 'day is', 'days are')} not sealed: {why}"
            )
            return []
        return sorted(unsealed)

    def _files_to_seal(
        self, day: date, state: DayFiles, ledgers: LedgerNames, newest: SealInFile | None
    ) -> dict[str, int]:
        """The files of a day that is to be sealed, with their rows; empty for any other day."""
        is_empty = not any(file.mark in MERGED for file in state.raw)
        if not self.run.is_over(day) or state.dropped or is_empty:
            return {}
        rows = rows_of_files(self.store, self.account, day, state, ledgers)
        if newest and newest.seal.paths == rows.keys():
            return {}
        if not self._is_compacted(day, state, ledgers):
            self._leave(day, NOT_COMPACTED)
            return {}
        return rows

    def _leave(self, day: date, reason: str) -> None:
        self.left.add(day, reason)
        self.waiting.add(day)

    def _is_compacted(self, day: date, state: DayFiles, ledgers: LedgerNames) -> bool:
        """Whether a day is settled and has nothing more to compact; in a dry run, would have."""
        plan = plan_day(day, state, self.begin)
        if plan.obstacle or state.orphans or any(self.run.pending(day, state, ledgers)):
            return False
        several = plan.worth_it or any(
            len(Ledger(self.store, name, self.account, day).files(names)[0]) > 1
            for name, names in ledgers.items()
        )
        return self.run.dry_run or not several

    def seal_day(self, day: date) -> None:
        """Seal a day, under the account's lock, unless another run has done it meanwhile."""
        self.chain.refresh()
        if why := self.chain.why_not_continued():
            raise StagingError(why)
        before = self.chain.newest().get(day)
        state = day_files.day_of(self.store, self.account, day)
        ledgers = ledger_names(self.store, self.account, day)
        seal = None
        with self._reported(day):
            rows = self._files_to_seal(day, state, ledgers, before)
            seal = self._next_seal(day, rows) if rows else None
            self.done.unsealed.remove(day)
        if seal is None:
            return
        self.added = self.chain.add(seal.signed(self.sign_key) if self.sign_key else seal)
        self.done.sealed += 1
        if before and (less := seal.sums.less_than(before.seal.sums)):
            self.done.problems.append(
                f"account {self.account}: {self.added} tells of {less} than {before}: something "
                "was taken away since; restore it, or know why"
            )

    @contextmanager
    def _reported(self, day: date) -> Iterator[None]:
        """Leave a day whose files are replaced meanwhile, or are damaged, and go on."""
        try:
            yield
        except FileGone:
            self._leave(day, REPLACED_MEANWHILE)
        except StagingError as fault:
            self.waiting.add(day)
            self.done.problems.append(f"account {self.account}, {day} is not sealed: {fault}")

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
