"""Segments: what of a day is normalized and how much of it is delivered, by names alone.

A day of an account falls into segments: stretches of time that no normalized file and no ledger
file reaches across, so that all there is of an event lies in one of them. Names tell how many
events of a segment are normalized and how many more each ledger file made delivered. Where the
sums agree, everything is delivered, and no file is opened.

Sums can be lower than what is delivered, never higher: every event a ledger file counts was
normalized when it was sent, and what a later generation lost is still counted (`lost`). Where
sums can't agree although nothing is left to deliver (such losses, or a destination whose `since`
lies within the segment), a note says so: a ledger file without rows, whose name repeats the sums
it was written for. Any new file makes it void.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tasks.staging import file_names, ledger_file_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date, datetime

    from tasks.staging.file_names import NormalizedFile
    from tasks.staging.ledger_file_names import AttemptsFile, SettledNote

_FIRST_GENERATION = re.compile(r"-g1-(\d+)u?\.parquet/")
_DELTA = re.compile(r"-([+-]\d+)\.parquet/")


def surely_settled(normalized: Sequence[str], deliveries: Iterable[str]) -> bool:
    """Whether the sums of a whole day agree: what `segments_of` tells, at a tenth the cost.

    False where there is more to know: something is pending, or was normalized anew.
    """
    rows = _FIRST_GENERATION.findall("/".join([*normalized, ""]))
    deltas = _DELTA.findall("/".join([*deliveries, ""]))
    return len(rows) == len(normalized) and sum(map(int, rows)) == sum(map(int, deltas))


@dataclass(frozen=True)
class Segment:
    """A stretch of an account's day, for one destination, by names alone.

    Attributes:
        since: Clock text, as in names.
        until: Clock text, as in names.
        normalized: Its normalized files that count, in order of windows.
        attempts: Its ledger files, in the order of the attempts.
        after: The destination takes events of this day from here on; `all` for the whole segment.
        note: The note that holds for the segment as it is, if there is one.
    """

    since: str
    until: str
    normalized: tuple[NormalizedFile, ...]
    attempts: tuple[AttemptsFile, ...]
    after: str = "all"
    note: SettledNote | None = None

    @cached_property
    def rows(self) -> int:
        """Events that are normalized."""
        return sum(file.rows for file in self.normalized)

    @cached_property
    def total(self) -> int:
        """Events that are normalized, or were once and are lost."""
        return self.rows + sum(file.lost for file in self.normalized)

    @cached_property
    def ledger_rows(self) -> int:
        """Attempts."""
        return sum(file.rows for file in self.attempts)

    @cached_property
    def counted(self) -> int:
        """Delivered events, lost ones among them."""
        return sum(file.delta for file in self.attempts)

    @property
    def settled(self) -> bool:
        """Whether nothing is left to deliver."""
        return self.total == self.counted or self.note is not None

    @property
    def sums_tell(self) -> bool:
        """Whether `total` less `counted` is just what is left to deliver."""
        lost = self.total - self.rows
        return self.after == "all" and not lost and self.counted <= self.total

    @property
    def untouched(self) -> bool:
        """Whether nothing was ever tried, and everything is to be."""
        return not self.attempts and self.after == "all"


def segments_of(
    day: date,
    normalized: Iterable[NormalizedFile],
    deliveries: Iterable[str],
    since: datetime | None,
    folder: str = "",
) -> list[Segment]:
    """The segments of a day that have normalized events; see `Ledger.segments`."""
    attempts, notes = ledger_file_names.deliveries_files(deliveries, folder)
    start = file_names.after(since, day)
    groups = _segments([*normalized, *attempts])
    found = (_segment(group, notes, start) for group in groups)
    return [part for part in found if part.normalized and part.until > start]


def _segments(files: list[NormalizedFile | AttemptsFile]) -> list[list[Any]]:
    """Files in groups that no file reaches across."""
    groups: list[list[Any]] = []
    until = ""
    for file in sorted(files, key=lambda file: (file.since, file.until)):
        if file.since >= until:
            groups.append([])
        groups[-1].append(file)
        until = max(until, file.until)
    return groups


def _segment(
    group: list[NormalizedFile | AttemptsFile], notes: list[SettledNote], start: str
) -> Segment:
    since, until = group[0].since, max(file.until for file in group)
    attempts = [file for file in group if isinstance(file, ledger_file_names.AttemptsFile)]
    part = Segment(
        since,
        until,
        tuple(file for file in group if isinstance(file, file_names.NormalizedFile)),
        tuple(sorted(attempts, key=lambda file: file.name)),
        start if start > since else "all",
    )
    state = (f"{since}-{until}", part.rows, part.total, part.ledger_rows, part.after)
    for note in notes:
        if (note.span, note.events, note.total, note.rows, note.after) == state:
            return Segment(since, until, part.normalized, part.attempts, part.after, note)
    return part
