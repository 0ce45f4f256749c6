"""The seals of an account in the order of writing, and what is wrong with them.

A seal is added under the account's lock, so that no number is given twice.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING

from tasks.errors import StagingError
from tasks.redaction import foreign_text
from tasks.staging.seals.seal import Seal, parse_seal, sha256_of
from tasks.staging.storage.files import OURS_ALONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.staging.store import Store

SUFFIX = ".json"
_NAME = re.compile(r"\d{4}-\d\d-\d\d(?:\.(?:[2-9]|[1-9]\d+))?\.json", re.ASCII)
_LONGEST = 64 * 1024 * 1024
"""Bytes of a seal: more than those of any day."""
_READERS = 16  # object storage answers slowly, and many at once


@dataclass(frozen=True)
class SealInFile:
    """A seal as it was read: the `name` of its file, and the SHA-256 of the bytes in it."""

    seal: Seal
    name: str
    sha256: str

    def __str__(self) -> str:
        return f"seal {self.seal.number} ({self.name})"


@dataclass
class SealChain:
    """The seals of an account.

    Attributes:
        store: The staging.
        account: Whose they are.
        unreadable: What is no seal, or cannot be read: a sentence each.
    """

    store: Store
    account: str
    unreadable: list[str] = field(default_factory=list)
    _found: dict[str, SealInFile] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Its relative path in the staging."""
        return f"seals/account={self.account}"

    def names(self) -> list[str]:
        """The names of the files there."""
        return self.store.backend.names(self.folder, SUFFIX)

    def refresh(self) -> None:
        """Read the seals that were written since the last time; all of them at first.

        Raises:
            StagingError: They cannot be listed, or one that was there is gone.
        """
        names = self.names()
        if gone := sorted({*self._found} - {*names}):
            raise StagingError(
                f"{self.folder}/{gone[0]} was removed while this run was at work; restore it, and "
                "run the command again"
            )
        new = [name for name in names if name not in self._found]
        self.unreadable.clear()
        with ThreadPoolExecutor(_READERS, "seals") as pool:
            for name, found in zip(new, pool.map(self._read, new), strict=True):
                if isinstance(found, str):
                    self.unreadable.append(f"{self.folder}/{foreign_text(name)} {found}")
                else:
                    self._found[name] = found

    def _read(self, name: str) -> SealInFile | str:
        """A seal, or what is wrong with its file."""
        if not _NAME.fullmatch(name):
            return f"is no name of a seal; {OURS_ALONE}"
        try:
            with self.store.backend.open(f"{self.folder}/{name}") as source:
                content = source.read(_LONGEST)
        except StagingError as fault:
            return f"cannot be read ({fault})"
        seal = parse_seal(content)
        if seal is None:
            return "is no seal that this version wrote; restore it, or move it out of the staging"
        if seal.account != self.account or not name.startswith(f"{seal.day}."):
            return (
                f"is the seal of account {seal.account} and {seal.day}: it was renamed or moved; "
                "put it back"
            )
        return SealInFile(seal, name, sha256_of(content))

    def __iter__(self) -> Iterator[SealInFile]:
        return iter(sorted(self._found.values(), key=lambda one: (one.seal.number, one.name)))

    def __len__(self) -> int:
        return len(self._found)

    @property
    def last(self) -> SealInFile | None:
        """The seal of the highest number."""
        return max(self._found.values(), key=lambda one: one.seal.number, default=None)

    def newest(self) -> dict[date, SealInFile]:
        """The seal of each day that counts: that of the highest number."""
        return {one.seal.day: one for one in self}

    def faults(self) -> Iterator[str]:
        """What is wrong with the chain, in order: a sentence each."""
        yield from self.unreadable
        ordered = list(self)
        if ordered and (first := ordered[0].seal).number > 1:
            yield self._missing(1, first.number - 1)
        for before, after in pairwise(ordered):
            number = before.seal.number
            if after.seal.number == number:
                yield f"{self.folder}: {before} and {after} bear the same number"
            elif after.seal.number > number + 1:
                yield self._missing(number + 1, after.seal.number - 1)
            elif after.seal.previous != before.sha256:
                yield (
                    f"{self.folder}: {before} was changed: its SHA-256 is {before.sha256}, and "
                    f"{after} names {after.seal.previous}"
                )

    def why_not_continued(self) -> str:
        """Why no seal can be added: it could get a number that another one has; "" if it can."""
        if self.unreadable:
            return f"{self.unreadable[0]}, so that the number of the next seal is unknown"
        *_, before, last = [None, None, *self]
        if before and last and before.seal.number == last.seal.number:
            return f"{before} and {last} bear the same number; move the false one out"
        return ""

    def _missing(self, first: int, last: int) -> str:
        numbers = f"seal {first} is" if first == last else f"seals {first} to {last} are"
        return f"{self.folder}: {numbers} not there; restore what was removed"

    def add(self, seal: Seal) -> SealInFile:
        """Write a seal, complete and on disk, or not at all.

        Args:
            seal: The next one, by its number and its `previous`.

        Raises:
            StagingError: It cannot be written.
        """
        of_day = [_number_of_day(name) for name in self._found if name.startswith(f"{seal.day}.")]
        # the names of those that were removed stay free, so that they can be restored
        removed = seal.number - 1 - len({one.seal.number for one in self})
        number = max(of_day, default=0) + removed + 1
        name = f"{seal.day}.{number}{SUFFIX}" if number > 1 else f"{seal.day}{SUFFIX}"
        content = seal.to_bytes()
        with self.store.backend.create(self.folder, f"account={self.account}") as file:
            file.sink.write(content)
            file.name = name
        added = SealInFile(seal, name, sha256_of(content))
        self._found[name] = added
        return added


def newest_sealed_day(store: Store, account: str) -> date | None:
    """The newest day of an account that has a seal; by names, so that none is read."""
    names = SealChain(store, account).names()
    days = [name.partition(".")[0] for name in names if _NAME.fullmatch(name)]
    return date.fromisoformat(max(days)) if days else None


def _number_of_day(name: str) -> int:
    """Which seal of its day the name of a file says it is."""
    _, number, _ = f"{name.removesuffix(SUFFIX)}.1.".split(".", 2)
    return int(number)
