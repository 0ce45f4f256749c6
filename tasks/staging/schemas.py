"""The Parquet schemas of raw, rejected and deliveries, and whether a file has its tree's.

That of normalized is `tasks.plugin.fields.NORMALIZED_SCHEMA`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

TIME = pa.timestamp("us", tz="UTC")
"""The type of every time column."""

RAW_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("created_at", TIME),
        ("type", pa.string()),
        ("name", pa.string()),
        ("critical", pa.bool_()),
        ("event", pa.string()),
        ("extracted_at", TIME),
    ]
)
"""One row an event; `event` is its JSON, no value changed."""

REJECTED_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("created_at", TIME),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("event", pa.string()),
        ("rejected_at", TIME),
        ("run_id", pa.string()),
    ]
)
"""One row an event that could not be understood, at stage `extract` or `transform`."""

DELIVERIES_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("created_at", TIME),
        ("status", pa.string()),
        ("attempt", pa.int32()),
        ("attempted_at", TIME),
        ("transport", pa.string()),
        ("bytes", pa.int64()),
        ("truncated", pa.bool_()),
        ("line_sha256", pa.string()),
        ("error", pa.string()),
        ("run_id", pa.string()),
    ]
)
"""One row an event and attempt.

`attempt` counts from 1; `bytes` is the length of the whole framed message; `line_sha256` is the
SHA-256, in hex, of the CEF text in UTF-8, without syslog header and framing.
"""

KEYS = ("event_id", "created_at")
"""Every row has both, but in rejected, where either may be what is wrong."""


def schema_of(path: str, columns: Iterable[str] | None = None) -> pa.Schema:
    """The schema of a file by its path in the staging, or of some of its columns."""
    tree = path.partition("/")[0]
    if tree == "normalized":
        from tasks.plugin.fields import NORMALIZED_SCHEMA

        schema = NORMALIZED_SCHEMA
    else:
        schemas = {"raw": RAW_SCHEMA, "rejected": REJECTED_SCHEMA, "deliveries": DELIVERIES_SCHEMA}
        schema = schemas[tree]
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def what_is_foreign(path: str, found: pa.Schema) -> str:
    """How a file's schema differs from that of its tree, in words; empty where it does not.

    A normalized file of another version of the mapping may lack columns that this one has.
    """
    expected = schema_of(path)
    if found.equals(expected):
        return ""
    optional = path.startswith("normalized/")
    for field in expected:
        positions = found.get_all_field_indices(field.name)
        if not positions and optional and field.name not in KEYS:
            continue
        if len(positions) != 1:
            return f"it has {len(positions)} columns named {field.name}"
        if (kind := found.field(positions[0]).type) != field.type:
            return f"its column {field.name} is of type {kind}, not {field.type}"
    return ""


def required(path: str) -> tuple[str, ...]:
    """The columns of a file that hold no null."""
    return () if path.startswith("rejected/") else KEYS
