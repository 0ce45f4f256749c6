"""What a file of each tree holds: what lies under one of our names may still be foreign."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

KEYS = ("event_id", "created_at")
"""Every row has both, but in rejected, where either may be what is wrong."""


def schema_of(path: str) -> pa.Schema:
    """The schema of a file by its path in the staging."""
    stage = path.partition("/")[0]
    if stage == "raw":
        from tasks.staging.raw import RAW_SCHEMA as SCHEMA
    elif stage == "normalized":
        from tasks.plugin.fields import NORMALIZED_SCHEMA as SCHEMA
    elif stage == "rejected":
        from tasks.staging.rejected import REJECTED_SCHEMA as SCHEMA
    else:
        from tasks.staging.ledger import DELIVERIES_SCHEMA as SCHEMA
    return SCHEMA


def what_is_foreign(path: str, found: pa.Schema) -> str:
    """What of a file's schema is not as its tree has it, in words; nothing where all is.

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
