"""Names of ledger files; `tasks.staging.file_names` has the forms of all names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.staging.file_names import (
    CLOCK,
    SPAN,
    SUFFIX,
    SpannedFile,
    foreign_name,
    match_spanned,
    name_pattern,
    span,
    unique,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tasks.time_window import Window

_ATTEMPTS = name_pattern(
    rf"(?P<at>\d{{8}}T\d{{12}})-[0-9a-f]{{8}}-{SPAN}-(?P<rows>\d+)-(?P<delta>[+-]\d+)"
)
_SETTLED = name_pattern(
    rf"settled-{SPAN}-(?P<events>\d+)-(?P<total>\d+)-(?P<rows>\d+)"
    rf"-(?P<after>all|{CLOCK})-(?P<delivered>\d+)(?:-f(?P<fingerprint>[0-9a-f]{{16}}))?"
    r"-[0-9a-f]{8}"
)


@dataclass(frozen=True, slots=True)
class AttemptsFile(SpannedFile):
    """One row an attempt; `delta` is how many more events are delivered since."""

    at: str
    delta: int


@dataclass(frozen=True, slots=True)
class SettledNote:
    """Says without rows that `[since, until)` had nothing left to deliver.

    It holds as long as names tell `events` normalized events, `total` of them with those that
    once were, and `rows` attempts there, for a destination that takes events from `after` on
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
    after: str
    delivered: int
    fingerprint: str


def is_note(name: str) -> bool:
    """Whether the name of a ledger file is that of a note."""
    return name.startswith("settled-")


def attempts_name(attempted_at: datetime, window: Window, rows: int, delta: int) -> str:
    """A new name for a ledger file whose events lie within `window`."""
    stamp = attempted_at.strftime("%Y%m%dT%H%M%S%f")
    return f"{stamp}-{unique()}-{span(window)}-{rows}-{delta:+d}{SUFFIX}"


def settled_name(  # noqa: PLR0917 - in the order of the name
    since: str,
    until: str,
    events: int,
    total: int,
    rows: int,
    after: str,
    delivered: int,
    fingerprint: str = "",
) -> str:
    """A new name for a note in the ledger; see `SettledNote`."""
    sums = f"{events}-{total}-{rows}-{after}-{delivered}"
    mark = f"-f{fingerprint}" if fingerprint else ""
    return f"settled-{since}-{until}-{sums}{mark}-{unique()}{SUFFIX}"


def deliveries_files(
    names: Iterable[str], folder: str = ""
) -> tuple[list[AttemptsFile], list[SettledNote]]:
    """A day's ledger by its names: attempts in the order they were made, and notes.

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
                    match["after"],
                    int(match["delivered"]),
                    match["fingerprint"] or "",
                )
            )
        else:
            raise foreign_name(name, "deliveries", folder)
    return attempts, notes
