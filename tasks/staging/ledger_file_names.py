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
    rf"-(?P<after>all|{CLOCK})-(?P<delivered>\d+)-[0-9a-f]{{8}}"
)


@dataclass(frozen=True, slots=True)
class AttemptsFile(SpannedFile):
    """One row an attempt; `delta` is how many more events are delivered since."""

    at: str
    delta: int


@dataclass(frozen=True, slots=True)
class SettledNote:
    """Says without rows that `span` had nothing left to deliver, where sums don't show it.

    It holds as long as names tell `events` normalized events, `total` of them with those that
    once were, and `rows` attempts there, for a destination that takes events from `after` on
    (`all`: the whole span).
    """

    name: str
    span: str
    events: int
    total: int
    rows: int
    after: str
    delivered: int


def attempts_name(attempted_at: datetime, window: Window, rows: int, delta: int) -> str:
    """A new name for a ledger file whose events lie within `window`."""
    stamp = attempted_at.strftime("%Y%m%dT%H%M%S%f")
    return f"{stamp}-{unique()}-{span(window)}-{rows}-{delta:+d}{SUFFIX}"


def settled_name(
    span_text: str, events: int, total: int, rows: int, *, after: str, delivered: int
) -> str:
    """A new name for a note in the ledger; see `SettledNote`."""
    return f"settled-{span_text}-{events}-{total}-{rows}-{after}-{delivered}-{unique()}{SUFFIX}"


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
            delivered = int(match["delivered"])
            span_text = f"{match['since']}-{match['until']}"
            notes.append(
                SettledNote(name, span_text, events, total, rows, match["after"], delivered)
            )
        else:
            raise foreign_name(name, "deliveries", folder)
    return attempts, notes
