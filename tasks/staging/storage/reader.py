"""Reading a Parquet file of the staging: whole, by time, or some rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow.parquet as pq

    from tasks.time_window import Window

_FEW_ROW_GROUPS = 2
_FEW_ROWS = 10_000  # not worth waking another thread for


def read_table(file: pq.ParquetFile, columns: list[str] | None, within: Window | None) -> pa.Table:
    """Its rows; with `within` without row groups that have nothing created in that window."""
    if within is None or file.num_row_groups < _FEW_ROW_GROUPS:
        return file.read(columns, use_threads=file.metadata.num_rows > _FEW_ROWS)
    return file.read_row_groups(_groups_within(file, within), columns)


def read_batches(file: pq.ParquetFile, columns: list[str] | None, rows: int) -> Iterator[pa.Table]:
    """Its rows, at most `rows` at a time, and never of more than one row group."""
    threads = file.metadata.num_rows > _FEW_ROWS
    for group in range(file.num_row_groups):
        for batch in file.iter_batches(rows, [group], columns, use_threads=threads):
            yield pa.Table.from_batches([batch])


def _groups_within(file: pq.ParquetFile, window: Window) -> list[int]:
    """The row groups of a Parquet file that may have events created in a window."""
    column = file.schema_arrow.names.index("created_at")
    groups = []
    for group in range(file.num_row_groups):
        bounds = file.metadata.row_group(group).column(column).statistics
        if (
            bounds is None
            or not bounds.has_min_max
            or (bounds.min < window.until and bounds.max >= window.since)
        ):
            groups.append(group)
    return groups
