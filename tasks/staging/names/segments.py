"""Segments: what of a day is normalized and how much of it is delivered, by names alone.

A day of an account falls into segments: stretches of time that no normalized file and no ledger
file reaches across, so that all there is of an event lies in one of them. Names tell how many
events of a segment are normalized and how many more each ledger file made delivered. Where the
sums agree, everything is delivered, and no file is opened.

Sums can be lower than what is delivered, never higher: every event a ledger file counts was
normalized when it was sent, and what a later generation lost is still counted (`lost`). Where
sums can't agree although nothing is left to deliver (such losses, or a destination that leaves
events out), a note says so: a ledger file without rows, whose name repeats the sums it was written
for. Any new file makes it void. So does a ledger file that is moved out, whatever is sent after it:
the note has a fingerprint of the names of the ledger files, too.

A note is about one segment, or about several that follow each other, which it makes one; a load
writes one for all of a day, as long as nothing in between is pending. What a destination leaves out
by `types=` or `critical=` depends on what the events are, which no sum tells. So the
fingerprint of such a note is also one of the filter and of the names of the normalized files: with
another filter or none, or with files normalized anew, it is void, and the events are looked at
again, once.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import filterfalse
from typing import TYPE_CHECKING

from tasks.staging.names import file_names, ledger_file_names
from tasks.staging.names.file_names import NormalizedFile
from tasks.staging.names.ledger_file_names import AttemptsFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from tasks.event_filter import EventFilter
    from tasks.staging.names.ledger_file_names import SettledNote

_FIRST_GENERATION = re.compile(r"-g1-(\d+)u?\.parquet/")
_NUMBER = r"(?:-[ac]\d+)?"
_DELTA = re.compile(rf"-([+-]\d+){_NUMBER}\.parquet/")
_TRIED = re.compile(rf"-(\d+)-[+-]\d+{_NUMBER}\.parquet/")
_WITHOUT_ROWS = re.compile(r"-g\d+-0\.parquet")


def surely_settled(
    day: date,
    normalized: Sequence[str],
    deliveries: Sequence[str],
    takes: EventFilter,
) -> bool:
    """Whether names show for a whole day that nothing is left to deliver."""
    return surely_delivered(day, normalized, deliveries, takes) is not None


def surely_delivered(
    day: date,
    normalized: Sequence[str],
    deliveries: Sequence[str],
    takes: EventFilter,
    rows: int | None = None,
) -> int | None:
    """How many events are delivered of a day of which nothing is left to deliver.

    Names show for the whole day what `segments_of` tells, at a tenth the cost: its sums agree, or
    it has a note of the same filter and files. None where there is more to know: something is
    pending, or was normalized anew. `rows` is what `first_generation_rows` tells, where known.
    """
    listed = ledger_file_names.not_replaced_names(deliveries)
    names = "/".join([*listed, ""])
    rows = first_generation_rows(normalized) if rows is None else rows
    if rows is not None and rows == sum(map(int, _DELTA.findall(names))):
        return rows
    if not takes.by_content:
        return None
    attempts = filterfalse(ledger_file_names.is_note, listed)
    if (mark := f"-f{fingerprint(takes, normalized, attempts)}-") not in names:
        return None
    ours = (name for name in listed if mark in name)
    _, notes = ledger_file_names.deliveries_files(ours)
    tried = sum(map(int, _TRIED.findall(names)))
    start = file_names.clock_from(takes.since, day)
    counts = (
        note.delivered
        for note in notes
        if note.rows == tried and note.takes_from == _takes_from(start, note.since)
    )
    return next(counts, None)


def first_generation_rows(normalized: Sequence[str]) -> int | None:
    """How many events normalized files have of which each is the first of its raw file.

    None where one is not, or tells of events that were lost.
    """
    rows = _FIRST_GENERATION.findall("/".join([*normalized, ""]))
    return sum(map(int, rows)) if len(rows) == len(normalized) else None


def fingerprint(takes: EventFilter, normalized: Iterable[str], attempts: Iterable[str]) -> str:
    """What a note says of the files and the filter it was written for; 16 hex digits.

    It is always one of the names of the ledger's files: where one is moved out, sums alone would
    let what failed take the place of what was delivered. Where the filter asks for more than time,
    it is also one of the filter and of the names of the normalized files that have events.
    """
    names = sorted(attempts)
    if takes.by_content:
        counted = sorted(name for name in normalized if not _WITHOUT_ROWS.search(name))
        names = [takes.by_content, *counted, "", *names]
    return hashlib.sha256("/".join(names).encode()).hexdigest()[:16] if names else ""


@dataclass(frozen=True)
class Segment:
    """A stretch of an account's day, for one destination, by names alone.

    Attributes:
        since: Clock text, as in names.
        until: Clock text, as in names.
        normalized: Its normalized files that count, in order of windows.
        attempts: Its ledger files, in the order of the attempts.
        takes: What the destination takes.
        takes_from: From when on the destination takes events; `all` for the whole segment.
        note: The note that holds for the segment as it is, if there is one.
    """

    since: str
    until: str
    normalized: tuple[NormalizedFile, ...]
    attempts: tuple[AttemptsFile, ...]
    takes: EventFilter
    takes_from: str
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
    def delivered(self) -> int:
        """Delivered events, lost ones among them."""
        return sum(file.delta for file in self.attempts)

    @property
    def fingerprint(self) -> str:
        """What a note says of the files and the filter here; see `fingerprint`."""
        normalized, attempts = (
            [file.name for file in files] for files in (self.normalized, self.attempts)
        )
        return fingerprint(self.takes, normalized, attempts)

    @property
    def left_out(self) -> bool:
        """Whether the destination takes nothing of it, for all of it is older than `since`."""
        return self.takes_from != "all" and self.until <= self.takes_from

    @property
    def settled(self) -> bool:
        """Whether nothing is left to deliver."""
        done = self.total == self.delivered or self.note is not None
        return done or self.left_out or not self.normalized

    @property
    def sums_tell(self) -> bool:
        """Whether `delivered` is just what is delivered."""
        return self.total == self.rows and self.delivered <= self.total

    @property
    def takes_all(self) -> bool:
        """Whether names show that the destination takes all events."""
        return self.takes_from == "all" and not self.takes.by_content


def segments_of(
    day: date,
    normalized: Iterable[NormalizedFile],
    deliveries: Iterable[str],
    takes: EventFilter,
    folder: str,
) -> list[Segment]:
    """The segments of a day; see `Ledger.segments`."""
    attempts, notes = ledger_file_names.deliveries_files(deliveries, folder)
    start = file_names.clock_from(takes.since, day)
    parts = _parts([*normalized, *attempts], start, takes)
    for note in sorted(notes, key=lambda note: (note.since, -int(note.until))):
        inside = [part for part in parts if note.since <= part.since and part.until <= note.until]
        if inside and (inside[0].since, inside[-1].until) == (note.since, note.until):
            joined = join(inside)
            if _holds(note, joined):
                at = parts.index(inside[0])
                parts[at : at + len(inside)] = [replace(joined, note=note)]
    return parts


def join(parts: Sequence[Segment]) -> Segment:
    """Segments that follow each other as one."""
    attempts = [file for part in parts for file in part.attempts]
    return Segment(
        parts[0].since,
        parts[-1].until,
        tuple(file for part in parts for file in part.normalized),
        tuple(sorted(attempts, key=lambda file: file.name)),
        parts[0].takes,
        parts[0].takes_from,
    )


def _holds(note: SettledNote, part: Segment) -> bool:
    sums = (part.rows, part.total, part.ledger_rows, part.takes_from)
    return (note.events, note.total, note.rows, note.takes_from) == sums and (
        note.fingerprint == part.fingerprint
    )


def _parts(
    files: list[NormalizedFile | AttemptsFile], start: str, takes: EventFilter
) -> list[Segment]:
    """Files in groups that no file reaches across."""
    groups: list[list[NormalizedFile | AttemptsFile]] = []
    until = ""
    for file in sorted(files, key=lambda file: (file.since, file.until)):
        if file.since >= until:
            groups.append([])
        groups[-1].append(file)
        until = max(until, file.until)
    return [_part(group, start, takes) for group in groups]


def _part(group: list[NormalizedFile | AttemptsFile], start: str, takes: EventFilter) -> Segment:
    since, until = group[0].since, max(file.until for file in group)
    attempts = [file for file in group if isinstance(file, AttemptsFile)]
    return Segment(
        since,
        until,
        tuple(file for file in group if isinstance(file, NormalizedFile)),
        tuple(sorted(attempts, key=lambda file: file.name)),
        takes,
        _takes_from(start, since),
    )


def _takes_from(start: str, since: str) -> str:
    """From where on a destination takes events of a segment that begins at `since`."""
    return start if start > since else "all"
