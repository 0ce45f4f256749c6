"""What a Parquet file of the staging says of itself, and the rows of several, slice by slice.

A day of any size is read in bounded memory: by slices of time that hold about one row group.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks.staging.event_masks import created_in
from tasks.staging.schemas import schema_of
from tasks.staging.storage.writer import ROW_GROUP, ROW_GROUP_BYTES
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date, datetime

    from tasks.staging.store import Store


@dataclass(frozen=True)
class RowGroup:
    """Rows that were created from `first` to `last`, both included; `size` is in bytes."""

    first: datetime
    last: datetime
    rows: int
    size: int


@dataclass(frozen=True)
class Footer:
    """What a file says of itself.

    Attributes:
        path: Its path in the staging.
        rows: How many it has.
        metadata: Its keys and values.
        groups: Its row groups, except those without a time.
    """

    path: str
    rows: int
    metadata: dict[bytes, bytes]
    groups: tuple[RowGroup, ...]

    def reaches(self, window: Window) -> bool:
        """Whether it may have rows that were created in a window."""
        return any(g.first < window.until and g.last >= window.since for g in self.groups)


def sha256_of_file(store: Store, path: str) -> str:
    """The SHA-256 of a file's bytes, in hex.

    Raises:
        FileGone: There is no such file.
        StagingError: It cannot be read.
    """
    with store.backend.open(path) as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def footer_of(store: Store, path: str) -> Footer:
    """What a file says of itself.

    Raises:
        FileGone: There is no such file.
        StagingError: It cannot be read.
    """
    import pyarrow.parquet as pq

    with store.backend.open(path) as source:
        footer = pq.read_metadata(source)
        return Footer(path, footer.num_rows, footer.metadata or {}, tuple(_groups(footer)))


def _groups(footer: Any) -> Iterator[RowGroup]:
    column = footer.schema.to_arrow_schema().names.index("created_at")
    for index in range(footer.num_row_groups):
        group = footer.row_group(index)
        bounds = group.column(column).statistics
        if bounds is not None and bounds.has_min_max:
            yield RowGroup(bounds.min, bounds.max, group.num_rows, group.total_byte_size)


def slices(day: date, files: Iterable[Footer]) -> list[Window]:
    """The day in windows, in each of which the files have about as much as a full row group."""
    whole = Window.of_day(day)
    cuts, rows, size = [whole.since], 0, 0
    for group in sorted((g for file in files for g in file.groups), key=lambda g: g.first):
        full = rows >= ROW_GROUP or size >= ROW_GROUP_BYTES
        if full and cuts[-1] < group.first < whole.until:
            cuts.append(group.first)
            rows = size = 0
        rows += group.rows
        size += group.size
    return [Window(since, until) for since, until in pairwise([*cuts, whole.until])]


def read_slice(
    store: Store, tree: str, files: Sequence[Footer], columns: list[str], window: Window
) -> pa.Table:
    """The rows of files of a tree that were created in a window.

    Raises:
        FileGone: A file is not there any more.
        StagingError: One cannot be read.
    """
    tables = [schema_of(tree, columns).empty_table()]
    for file in files:
        if file.reaches(window):
            table = store.read(file.path, columns, within=window)
            tables.append(created_in(window, table))
    return pa.concat_tables(tables)
