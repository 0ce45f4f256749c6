"""A Parquet file of the staging, being written."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.staging.storage.files import NewFile

if TYPE_CHECKING:
    from collections.abc import Iterator

ROW_GROUP = 65_536
"""Rows of a row group at most: what is read at a time from a file of any size."""
ROW_GROUP_BYTES = 32 * 1024 * 1024
"""Bytes of a row group of more than one row, in memory."""
_COMPACT_LEVEL = 3


class Writer:
    """A Parquet file being written, in bounded row groups, zstd.

    With `compact` it is written once for years, and so takes more time for fewer bytes.

    Attributes:
        name: The file's name in its folder, to be set before the end; none publishes nothing.
        rows: How many rows were written so far.
    """

    def __init__(self, new_file: NewFile, schema: pa.Schema, *, compact: bool = False) -> None:
        import pyarrow.parquet as pq

        self._file = new_file
        self._schema = schema
        # ids and texts hardly repeat: a dictionary of them costs time and saves nothing
        unique_columns = {"event_id", "event", "event_description", "extras", "line_sha256"}
        repeating = [name for name in schema.names if name not in unique_columns]
        self._parquet = pq.ParquetWriter(
            new_file.sink,
            schema,
            compression="zstd",
            compression_level=_COMPACT_LEVEL if compact else 1,
            use_dictionary=repeating,
            # of few rows, the least and the greatest of each column are half of the file
            write_statistics=repeating if compact else ["created_at"],
            store_schema=False,  # Parquet's own types say the same in a fifth of the bytes
        )
        if schema.metadata:
            self.describe({k.decode(): v.decode() for k, v in schema.metadata.items()})
        self.name = ""
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        """Add rows; their columns are cast to the file's schema.

        Raises:
            ValueError: The table lacks a column of the schema, or has one more.
        """
        if table.schema != self._schema:
            table = table.cast(self._schema)
        for part in _row_groups(table):
            self._parquet.write_table(part, row_group_size=ROW_GROUP)
        self.rows += table.num_rows

    def describe(self, metadata: dict[str, str]) -> None:
        """Say something of the file beside its rows, in place of what its schema says."""
        self._parquet.add_key_value_metadata(metadata)

    def discard(self) -> None:
        """Let go of a file that will not be published; called by `Store.writer`."""
        with suppress(OSError, pa.ArrowException):
            self._parquet.close()

    def close(self) -> None:
        """Write the footer; called by `Store.writer`."""
        self._parquet.close()
        self._file.name = self.name


def _row_groups(table: pa.Table) -> Iterator[pa.Table]:
    """A table in slices of at most `ROW_GROUP` rows and `ROW_GROUP_BYTES`, or of one row."""
    waiting = [table]
    while waiting:
        part = waiting.pop()
        if part.num_rows > ROW_GROUP:
            cut = ROW_GROUP
        elif part.num_rows > 1 and part.nbytes > ROW_GROUP_BYTES:
            cut = part.num_rows // 2
        else:
            yield part
            continue
        waiting += [part.slice(cut), part.slice(0, cut)]


def in_bytes(table: pa.Table) -> pa.Buffer:
    """A table as the bytes of such a file."""
    new_file = NewFile(pa.BufferOutputStream())
    writer = Writer(new_file, table.schema)
    writer.write(table)
    writer.close()
    return new_file.sink.getvalue()
