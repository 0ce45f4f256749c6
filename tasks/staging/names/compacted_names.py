"""Compaction in names: which files of a day a compacted one replaces, so that they count no more.

A compacted file has the rows of many, and replaces them at the moment it appears. Its name ends
with `-c{n}`, the day's n-th compaction. A file that is written after it ends with `-a{n}`, and is
not replaced by it. So the number of a file is n, or 0 where a day was never compacted, and

- in raw, a compacted file replaces every file of a lower number whose window lies within its own;
  but no mark that says where an account begins or what is lost (`MERGED` has the others);
- a normalized file, or a rejected one of stage transform, is replaced just where its raw file would
  be: its name begins with that of the raw file. So all three trees change over at once;
- in a ledger, and among the rejected files of stage extract, a compacted file replaces every file
  of a lower number in its folder.

A file is written under the lock of its account or destination, after its folder was listed:
compacted files do not appear meanwhile. Replaced files are removed later; until then no reader of
ours counts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    from tasks.staging.names.file_names import NormalizedFile, RawFile
    from tasks.staging.names.ledger_file_names import AttemptsFile
    from tasks.staging.names.rejected_file_names import RejectedFile

COMPACTED = r"-c(?P<compaction>[1-9]\d*)"
AFTER = r"(?:-a(?P<after>[1-9]\d*))?"
NUMBERED = rf"(?:{COMPACTED}|{AFTER})"

MERGED = ("", "part", "beside")
"""The marks of raw files that are merged and replaced."""


R = TypeVar("R", "RawFile", "NormalizedFile", "RejectedFile")
F = TypeVar("F", "RawFile", "RejectedFile", "AttemptsFile")


def number_of(match: re.Match[str]) -> int:
    """The number in a name that matches."""
    return int(match["compaction"] or match["after"] or 0)


def numbered(number: int, *, compacted: bool) -> str:
    """The end of a name."""
    return f"-{'c' if compacted else 'a'}{number}" if number else ""


def highest(files: Iterable[RawFile | NormalizedFile | RejectedFile | AttemptsFile]) -> int:
    """The highest number in a folder: that of a file which is written now."""
    return max((file.number for file in files), default=0)


def compacted_of(files: Iterable[F]) -> list[F]:
    """The compacted ones."""
    return [file for file in files if file.compacted]


def replaced(file: RawFile | NormalizedFile | RejectedFile, compacted: Iterable[RawFile]) -> bool:
    """Whether compacted raw files of its day replace a raw file, and so what came of it."""
    return file.mark in MERGED and any(
        file.number < one.number and one.since <= file.since and file.until <= one.until
        for one in compacted
    )


def not_replaced(files: list[R], compacted: list[RawFile]) -> list[R]:
    """Those of a day's files that compacted raw files do not replace."""
    return [file for file in files if not replaced(file, compacted)] if compacted else files


def not_replaced_in_folder(files: list[F]) -> list[F]:
    """Those of a folder's files that count, where a compacted one replaces all before it."""
    last = highest(compacted_of(files))
    return [file for file in files if file.number >= last] if last else files
