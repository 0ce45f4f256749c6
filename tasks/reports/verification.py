"""Verification: whether the seals of a staging are whole, and agree with what is staged.

For each account the chain and the signatures are checked first, then each day against the newest
of its seals: the SHA-256 of its files, the sums, and each event's line, rendered anew from raw.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from tasks.errors import StagingError
from tasks.plugin.fields import MAPPING_VERSION
from tasks.plurals import counted
from tasks.reports.answer import Answer
from tasks.reports.day_verification import DayCounts, verify_day
from tasks.retry_policy import REREADS_OF_REPLACED_FILES
from tasks.staging.dropped import runs_by_names
from tasks.staging.seals.day_sums import rows_of_files_now
from tasks.staging.seals.seal_chain import SealChain
from tasks.staging.storage.files import FileGone, skip_unreadable
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime

    from tasks.staging.seals.seal_chain import SealInFile
    from tasks.staging.seals.signatures import VerifyingKey
    from tasks.staging.store import Store

UNSIGNED = "none"
"""In the place of a key's name, of seals without a signature."""


@dataclass(frozen=True)
class NewestSeal:
    """The end of a chain: who knows its number and hash sees when seals at the end are gone."""

    number: int
    day: date
    sealed_at: datetime
    file: str
    sha256: str


@dataclass
class AccountSeals(DayCounts):
    """What was verified of an account.

    Attributes:
        seals: How many it has.
        newest: The one with the highest number.
        keys: Seals by the SHA-256 of the public key that they name; `none` for those without.
        signatures: How many were checked against the given key, and are right.
        unsealed_days: Days that have no seal.
    """

    seals: int = 0
    newest: NewestSeal | None = None
    keys: dict[str, int] = field(default_factory=dict)
    signatures: int = 0
    unsealed_days: int = 0


@dataclass(kw_only=True)
class Verification(Answer):
    """What became of a verification.

    Attributes:
        accounts: By their names.
        verified: Whether all agrees.
        disagrees: The first thing that does not.
    """

    accounts: dict[str, AccountSeals]
    verified: bool
    disagrees: str | None


def verify(
    store: Store, window: Window | None = None, public_key: VerifyingKey | None = None
) -> Verification:
    """Verify the seals of every account.

    Args:
        store: The staging.
        window: Verify the days that lie in it, at least in part; all of them by default. The chain
            and its signatures are verified whole.
        public_key: The key against which signatures are checked.

    Returns:
        The counts. What does not agree is a problem, the first first.

    Raises:
        StagingError: The staging cannot be read at all.
    """
    found = Verification(accounts={}, verified=False, disagrees=None)
    sealed = store.sealed_accounts()
    for account in sorted({*sealed, *store.accounts("raw")}):
        run = _AccountVerification(store, account, window, public_key, found)
        with skip_unreadable(found.problems, f"account {account}"):
            run.verify()
        found.accounts[account] = run.counts
    if not any(counts.seals for counts in found.accounts.values()):
        found.problems.append("no day is sealed, so that nothing can be verified")
    found.disagrees = next(iter(found.problems), None)
    found.verified = found.disagrees is None
    return found


@dataclass
class _AccountVerification:
    """The verification of one account, which adds to the `answer`."""

    store: Store
    account: str
    window: Window | None
    public_key: VerifyingKey | None
    answer: Verification

    def __post_init__(self) -> None:
        self.counts = AccountSeals()
        self.chain = SealChain(self.store, self.account)
        self.dropped: list[Window] = []

    def note(self, text: str) -> None:
        """Say something of this account that is no fault."""
        self.answer.notes.append(f"account {self.account}: {text}")

    def verify(self) -> None:
        """Verify the chain, the signatures, then day by day; one problem a day."""
        self.chain.refresh()
        problems = [*self.chain.faults(), *self._shrunk(), *self._signatures()]
        self.answer.problems += [f"account {self.account}: {text}" for text in problems]
        self.counts.seals = len(self.chain)
        if last := self.chain.last:
            self.counts.newest = NewestSeal(
                last.seal.number, last.seal.day, last.seal.sealed_at, last.name, last.sha256
            )
        self._days()

    def _shrunk(self) -> Iterator[str]:
        """Later seals of a day that tell of less than earlier ones."""
        of_day: dict[date, SealInFile] = {}
        for one in self.chain:
            before = of_day.get(one.seal.day)
            if before and (less := one.seal.sums.less_than(before.seal.sums)):
                yield f"{one} tells of {less} than {before}"
            of_day[one.seal.day] = one

    def _signatures(self) -> Iterator[str]:
        """Signatures that are not right, and seals that no right one stands for.

        As each seal names the hash of the one before it, a signature stands for those before, too.
        """
        keys = Counter(one.seal.public_key_sha256 or UNSIGNED for one in self.chain)
        self.counts.keys = dict(keys)
        if self.public_key is None:
            for name, count in keys.items():
                if name != UNSIGNED:
                    self.note(
                        f"{counted(count, 'seal is', 'seals are')} signed by the key whose public "
                        f"key has the SHA-256 {name}; the signatures were not checked: "
                        "--public-key FILE checks them"
                    )
            return
        open_end: list[SealInFile] = []
        for one in self.chain:
            if one.seal.public_key_sha256 != self.public_key.name:
                open_end.append(one)
            elif one.seal.is_signed_by(self.public_key):
                self.counts.signatures += 1
                open_end.clear()
            else:
                open_end.append(one)
                yield f"{one} has no right signature of the key {self.public_key.name}"
        if open_end:
            yield (
                f"{counted(len(open_end), 'seal')}, from {open_end[0]} on, not signed by the key "
                f"{self.public_key.name}, nor is any later one, which would stand for them"
            )

    def _days(self) -> None:
        newest = self.chain.newest()
        self.dropped = runs_by_names(self.store.names_by_day("raw", self.account))
        for day in sorted({*newest, *self.store.dates("raw", self.account)}):
            if self.window and not self.window.overlaps(Window.of_day(day)):
                continue
            if day not in newest:
                self.counts.unsealed_days += not self._is_dropped(day, just_now=False)
                continue
            try:
                self.counts.add(self._day(day))
            except StagingError as fault:
                self.answer.problems.append(f"account {self.account}, {newest[day]}: {fault}")
        self._note_rest()

    def _day(self, day: date) -> DayCounts:
        """Verify a day; again where its files were replaced, and it was sealed anew, meanwhile."""
        for _ in range(REREADS_OF_REPLACED_FILES):
            counts = DayCounts()
            sealed = self.chain.newest()[day]
            with suppress(FileGone):
                verify_day(
                    self.store,
                    sealed.seal,
                    counts,
                    partial(rows_of_files_now, self.store, self.account, day),
                    partial(self._is_dropped, day),
                )
                if not counts.replaced_days:
                    return counts
            self.chain.refresh()
            if counts.replaced_days and self.chain.newest()[day] == sealed:
                return counts
        raise StagingError(
            "its files are replaced faster than they are read; run the command again"
        )

    def _is_dropped(self, day: date, *, just_now: bool = True) -> bool:
        """Whether retention has dropped a day, or may have done so just now."""
        whole = Window.of_day(day)
        known = any(run.overlaps(whole) for run in self.dropped)
        if not known and just_now:
            self.dropped = runs_by_names(self.store.names_by_day("raw", self.account))
            return self._is_dropped(day, just_now=False)
        return known

    def _note_rest(self) -> None:
        """Note what was not verified, and why."""
        counts = self.counts
        if counts.unsealed_days:
            self.note(
                f"{counted(counts.unsealed_days, 'day has', 'days have')} no seal yet; "
                "`halo-usm maintain` seals a day once it is over"
            )
        if counts.changed_days:
            self.note(
                f"{counted(counts.changed_days, 'day has', 'days have')} files that no seal names "
                "yet, of what came since; `halo-usm maintain` seals such a day anew"
            )
        if counts.replaced_days:
            self.note(
                f"{counts.replaced_days:,} of them could not be verified: what replaced their "
                "sealed files is not sealed yet"
            )
        if counts.dropped_days:
            self.note(
                f"{counted(counts.dropped_days, 'day was', 'days were')} dropped by retention: "
                "only files that are still there were verified"
            )
        if counts.lines_not_comparable:
            self.note(
                f"{counted(counts.lines_not_comparable, 'attempt is', 'attempts are')} not "
                f"comparable: another version of the mapping than {MAPPING_VERSION} made the line, "
                "or the day was normalized anew"
            )
