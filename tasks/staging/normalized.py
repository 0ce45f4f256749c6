"""Normalized and rejected files: which count, which raw files have none, which are left over.

A normalized file means that its raw file is done, whatever became of the events. Normalizing
anew makes a new generation: its rejected file is published first, its normalized file second,
then the older generation is removed. So the newest normalized file of a raw file is the one
that counts, and a rejected file counts with the normalized file of its own generation. A crash
in between leaves files that do not count, for the next transform to remove.

A raw file of no rows needs no normalized one: its name says that there is nothing to normalize.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.plugin.fields import NORMALIZED_SCHEMA
from tasks.staging import layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from tasks.staging.layout import NormalizedFile, RawFile, RejectedFile
    from tasks.staging.store import Store

    _Names = Sequence[str]

_EMPTY = tuple(f"-0{mark}{layout.SUFFIX}" for mark in ("", *(f"-{m}" for m in layout.MARKS)))


@dataclass(frozen=True)
class Day:
    """What the names of an account's day say.

    Attributes:
        raw: Every raw file, in order of windows.
        current: The normalized file that counts for each raw file that has one.
        rejected: The rejected files of stage transform that count.
        malformed: The rejected files of stage extract.
        leftovers: Stages and names of files that no longer count, or never did.
    """

    raw: list[RawFile]
    current: dict[str, NormalizedFile]
    rejected: list[RejectedFile]
    malformed: list[RejectedFile]
    leftovers: list[tuple[str, str]]

    @property
    def waiting(self) -> list[RawFile]:
        """Raw files that have rows and no normalized file."""
        return [file for file in self.raw if file.rows and file.key not in self.current]


def read_day(
    raw: Iterable[str], normalized: Iterable[str], rejected: Iterable[str], folder: str = ""
) -> Day:
    """Sort out the names of one account and day, whose `folder` it is. No file is opened.

    Raises:
        StagingError: A name is not one of ours.
    """
    generations = layout.normalized_files(normalized, folder)
    current = {file.key: file for file in generations}  # ascending: the newest stays
    of_transform: list[RejectedFile] = []
    malformed: list[RejectedFile] = []
    for file in layout.rejected_files(rejected, folder):
        (malformed if file.key is None else of_transform).append(file)
    counting = {(file.key, file.generation) for file in current.values()}
    counted = [file for file in of_transform if (file.key, file.generation) in counting]
    old = [file.name for file in generations if current[file.key] is not file]
    stale = [file.name for file in of_transform if (file.key, file.generation) not in counting]
    return Day(
        layout.raw_files(raw, folder),
        current,
        counted,
        malformed,
        [*(("normalized", name) for name in old), *(("rejected", name) for name in stale)],
    )


def days(store: Store, account: str) -> dict[date, Day]:
    """Every day of an account, oldest first, by names alone."""
    return {
        day: read_day(raw, normalized, rejected, layout.partition(account, day))
        for day, raw, normalized, rejected in _listed(store, account)
    }


def unfinished(store: Store, account: str) -> dict[date, Day]:
    """The days of an account that have raw files waiting, or leftovers; by names alone.

    Days that are plainly done cost little more than their listing.
    """
    found = {}
    for day, raw, normalized, rejected in _listed(store, account):
        if rejected or not _plainly_done(raw, normalized):
            state = read_day(raw, normalized, rejected, layout.partition(account, day))
            if state.waiting or state.leftovers:
                found[day] = state
    return found


def _listed(store: Store, account: str) -> Iterator[tuple[date, _Names, _Names, _Names]]:
    """Every day's names in raw, normalized and rejected, oldest day first."""
    # against the order in which files come into being: what appears meanwhile is seen without
    # what comes of it, and nothing is seen without what it came from
    normalized, rejected, raw = (
        store.tree(stage, account) for stage in ("normalized", "rejected", "raw")
    )
    for day in sorted({*raw, *normalized, *rejected}):
        yield day, raw.get(day, ()), normalized.get(day, ()), rejected.get(day, ())


def _plainly_done(raw: Sequence[str], normalized: Sequence[str]) -> bool:
    """Whether each raw file with rows has one normalized file."""
    keys = {name.rpartition("-g")[0] for name in normalized}
    if len(keys) < len(normalized):
        return False
    return all(name[: -len(layout.SUFFIX)] in keys or name.endswith(_EMPTY) for name in raw)


def current_files(names: Iterable[str], folder: str = "") -> list[NormalizedFile]:
    """The normalized files that count among a day's names, in order of windows."""
    return list({file.key: file for file in layout.normalized_files(names, folder)}.values())


def batches(
    store: Store, path: str, columns: list[str] | None = None, rows: int = 65_536
) -> Iterator[pa.Table]:
    """Normalized rows, at most `rows` at a time, whichever mapping version wrote them.

    A column that an older version did not have is null.

    Raises:
        FileGone: It was normalized anew since it was listed.
        StagingError: It cannot be read.
    """
    schema = NORMALIZED_SCHEMA
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    for batch in store.batches(path, columns, rows):
        yield conform(pa.Table.from_batches([batch]), schema)


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table's columns that `schema` names, null where it has none."""
    if table.schema.equals(schema):
        return table
    have = set(table.column_names)
    return pa.table(
        [
            table[field.name].cast(field.type)
            if field.name in have
            else pa.nulls(table.num_rows, field.type)
            for field in schema
        ],
        schema=schema,
    )
