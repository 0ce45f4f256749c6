"""Names of ledger files; `tasks.staging.names.file_names` has the forms of all names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tasks.staging.names.compacted_names import (
    COMPACTED,
    NUMBERED,
    not_replaced_in_folder,
    number_of,
    numbered,
)
from tasks.staging.names.file_names import (
    CLOCK,
    SPAN,
    SUFFIX,
    SpannedFile,
    match_spanned,
    name_pattern,
    span,
    unique,
)
from tasks.staging.names.name_search import foreign_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tasks.time_window import Window

_STAMP = "%Y%m%dT%H%M%S%f"
_ATTEMPTS = name_pattern(
    rf"(?P<at>\d{{8}}T\d{{12}})-[0-9a-f]{{8}}-{SPAN}-(?P<rows>\d+)-(?P<delta>[+-]\d+)" + NUMBERED
)
_COMPACTED = re.compile(rf"{COMPACTED}{re.escape(SUFFIX)}")
_SETTLED = name_pattern(
    rf"settled-{SPAN}-(?P<events>\d+)-(?P<total>\d+)-(?P<rows>\d+)"
    rf"-(?P<takes_from>all|{CLOCK})-(?P<delivered>\d+)(?:-f(?P<fingerprint>[0-9a-f]{{16}}))?"
    r"-[0-9a-f]{8}"
)


@dataclass(frozen=True, slots=True)
class AttemptsFile(SpannedFile):
    """One row an attempt; `delta` is how many more events are delivered since.

    A `compacted` one has the rows of those that it replaces; see `compacted_names` for `number`.
    """

    at: str
    delta: int
    number: int = 0
    compacted: bool = False

    @property
    def attempted_at(self) -> datetime:
        """When the attempt was made; of several, the last."""
        return datetime.strptime(self.at, _STAMP).replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SettledNote:
    """Says without rows that `[since, until)` had nothing left to deliver.

    It holds as long as names tell `events` normalized events, `total` of them with those that
    once were, and `rows` attempts there, for a destination that takes events from `takes_from` on
    (`all`: the whole span). `fingerprint` is that of the ledger's files; where the destination asks
    for types or for critical events, of its filter and of the normalized files, too. They have to
    be the same. It is empty where there is none of these.
    """

    name: str
    since: str
    until: str
    events: int
    total: int
    rows: int
    takes_from: str
    delivered: int
    fingerprint: str


def is_note(name: str) -> bool:
    """Whether the name of a ledger file is that of a note."""
    return name.startswith("settled-")


def attempts_name(
    attempted_at: datetime,
    window: Window,
    rows: int,
    delta: int,
    number: int = 0,
    *,
    compacted: bool = False,
) -> str:
    """A new name for a ledger file whose events lie within `window`."""
    stamp = attempted_at.strftime(_STAMP)
    place = numbered(number, compacted=compacted)
    return f"{stamp}-{unique()}-{span(window)}-{rows}-{delta:+d}{place}{SUFFIX}"


def settled_name(  # noqa: PLR0917 - in the order of the name
    since: str,
    until: str,
    events: int,
    total: int,
    rows: int,
    takes_from: str,
    delivered: int,
    fingerprint: str = "",
) -> str:
    """A new name for a note in the ledger; see `SettledNote`."""
    sums = f"{events}-{total}-{rows}-{takes_from}-{delivered}"
    mark = f"-f{fingerprint}" if fingerprint else ""
    return f"settled-{since}-{until}-{sums}{mark}-{unique()}{SUFFIX}"


def deliveries_files(
    names: Iterable[str], folder: str = ""
) -> tuple[list[AttemptsFile], list[SettledNote]]:
    """A day's ledger by its names: attempts that count, in the order they were made, and notes.

    Raises:
        StagingError: A name is not one of ours.
    """
    attempts, notes = all_deliveries_files(names, folder)
    return not_replaced_in_folder(attempts), notes


def not_replaced_names(names: Sequence[str]) -> Sequence[str]:
    """The names of a day's ledger without those of replaced files.

    Raises:
        StagingError: A name is not one of ours.
    """
    if not _COMPACTED.search("/".join(names)):
        return names
    return [file.name for files in deliveries_files(names) for file in files]


def all_deliveries_files(
    names: Iterable[str], folder: str = ""
) -> tuple[list[AttemptsFile], list[SettledNote]]:
    """As `deliveries_files`, with the attempts that compacted ones replace.

    Raises:
        StagingError: A name is not one of ours.
    """
    attempts, notes = [], []
    for name in sorted(names):
        if match := match_spanned(_ATTEMPTS, name):
            attempts.append(
                AttemptsFile(
                    name,
                    match["since"],
                    match["until"],
                    int(match["rows"]),
                    match["at"],
                    int(match["delta"]),
                    number_of(match),
                    bool(match["compaction"]),
                )
            )
        elif match := match_spanned(_SETTLED, name):
            events, total, rows = (int(match[group]) for group in ("events", "total", "rows"))
            notes.append(
                SettledNote(
                    name,
                    match["since"],
                    match["until"],
                    events,
                    total,
                    rows,
                    match["takes_from"],
                    int(match["delivered"]),
                    match["fingerprint"] or "",
                )
            )
        else:
            raise foreign_name(name, "deliveries", folder)
    return attempts, notes
