"""The rows of normalized files, whichever version of the mapping wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.staging.schemas import schema_of
from tasks.staging.storage.writer import ROW_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.staging.store import Store

ANEW_KEY = "halo_usm.normalized_anew"
"""In the metadata of a compacted file of which something was normalized anew.

Its name does not tell that any more. What was sent before that may have been another line.
"""


def batches(
    store: Store, path: str, columns: list[str] | None = None, rows: int = ROW_GROUP
) -> Iterator[pa.Table]:
    """Normalized rows, at most `rows` at a time, whichever mapping version wrote them.

    A column that an older version did not have is null.

    Raises:
        FileGone: It was normalized anew since it was listed.
        StagingError: It cannot be read.
    """
    schema = schema_of("normalized", columns)
    for table in store.batches(path, columns, rows):
        yield conform(table, schema)


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
