"""Fields that no Halo field holds, read out of log entries and messages."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tasks.plugin.fields import FIELDS

DERIVED = {field.name: field.arrow_type for field in FIELDS if field.derived}
"""The derived columns and their types."""


def derive(log_entries: Any, messages: Any) -> dict[str, Any]:
    """Columns that log entries and messages tell, null where they tell nothing."""
    return {name: pa.nulls(len(log_entries), kind) for name, kind in DERIVED.items()}
