"""Names of rejected files; `tasks.staging.names.file_names` has the forms of all names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.staging.names.compacted_names import NUMBERED, number_of, numbered
from tasks.staging.names.file_names import (
    NORMALIZED,
    SUFFIX,
    match_spanned,
    name_pattern,
    unique,
)
from tasks.staging.names.name_search import foreign_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_EXTRACT = name_pattern(rf"extract-[0-9a-f]{{8}}-(?P<rows>\d+){NUMBERED}")


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """Rejected events.

    All but `name` and `rows` are those of the normalized file beside it. A file of stage extract
    has none beside it: it has a `number` of its own, no `key` and generation 0.
    """

    name: str
    rows: int
    number: int
    compacted: bool
    key: str | None = None
    generation: int = 0
    since: str = ""
    until: str = ""
    mark: str = ""


def rejected_name(key: str, generation: int, rows: int) -> str:
    """The name of a rejected file of stage transform."""
    return f"{key}-g{generation}-{rows}{SUFFIX}"


def extract_name(rows: int, number: int = 0, *, compacted: bool = False) -> str:
    """A new name for a rejected file of stage extract."""
    return f"extract-{unique()}-{rows}{numbered(number, compacted=compacted)}{SUFFIX}"


def rejected_files(names: Iterable[str], folder: str = "") -> list[RejectedFile]:
    """Rejected files by their names, replaced ones too, of both stages and every generation.

    Raises:
        StagingError: A name is not one of ours.
    """
    files = []
    for name in sorted(names):
        if match := _EXTRACT.fullmatch(name):
            compacted = bool(match["compaction"])
            files.append(RejectedFile(name, int(match["rows"]), number_of(match), compacted))
        elif match := match_spanned(NORMALIZED, name):
            files.append(
                RejectedFile(
                    name,
                    int(match["rows"]),
                    number_of(match),
                    bool(match["compaction"]),
                    match["key"],
                    int(match["generation"]),
                    match["since"],
                    match["until"],
                    match["mark"] or "",
                )
            )
        else:
            raise foreign_name(name, "rejected", folder)
    return files
