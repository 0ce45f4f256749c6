"""SHA-256 of the ledger's files, so that anyone can see that they are still the same.

A file never changes once it has its name. What replaces it, as compaction does, has another name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.staging.footers import sha256_of_file

if TYPE_CHECKING:
    from tasks.staging.deliveries.ledger import Ledger


@dataclass(frozen=True)
class LedgerFile:
    """A file of the ledger.

    Attributes:
        name: Its name in the folder.
        rows: The attempts in it; none in a note.
        sha256: Of its bytes, in hex.
    """

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class LedgerDay:
    """The files of the ledger of one account and day.

    Attributes:
        folder: Where they lie in the staging.
        files: In the order of their names.
    """

    folder: str
    files: list[LedgerFile]

    @property
    def count(self) -> int:
        """How many files."""
        return len(self.files)

    @property
    def rows(self) -> int:
        """The attempts in its files."""
        return sum(file.rows for file in self.files)

    @property
    def sha256(self) -> str:
        """What `LC_ALL=C sha256sum *.parquet | sha256sum` says in the folder, in hex."""
        listed = "".join(f"{file.sha256}  {file.name}\n" for file in self.files)
        return hashlib.sha256(listed.encode()).hexdigest()


def hash_day(ledger: Ledger, names: list[str]) -> LedgerDay:
    """Hash the files of a ledger's folder.

    Raises:
        FileGone: The ledger was compacted since it was listed.
        StagingError: It cannot be read.
    """
    attempts, _ = ledger.files(names)
    rows = {file.name: file.rows for file in attempts}
    files = []
    for name in sorted(names):
        digest = sha256_of_file(ledger.store, f"{ledger.folder}/{name}")
        files.append(LedgerFile(name, rows.get(name, 0), digest))
    return LedgerDay(ledger.folder, files)
