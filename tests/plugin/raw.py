"""Raw tables for tests, from events or from any text."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from tasks.plugin.normalize import Normalized, normalize

DEVICE = "50.57.180.190"
CREATED = datetime(2016, 8, 2, 16, 24, 30, 726000, tzinfo=UTC)
ID = "e750d982688411e6b7b32f750f990d28"
MINIMAL = {"id": ID, "type": "server_restarted", "name": "Server restarted", "critical": False}

_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string()),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
        pa.field("event", pa.string()),
    ]
)


def raw_table(*events: str | bytes | dict[str, Any] | None) -> pa.Table:
    """A raw table of events, given as fields or as the text that Halo sent.

    Every row has the id that the event's fields name, else `ID`, and was created at `CREATED`.
    """
    ids = [event.get("id", ID) if isinstance(event, dict) else ID for event in events]
    texts = [json.dumps(event) if isinstance(event, dict) else event for event in events]
    columns = [
        pa.array(ids, pa.string()),
        pa.array([CREATED] * len(events), pa.timestamp("us", tz="UTC")),
        pa.array(texts, pa.binary()).view(pa.string()),
    ]
    return pa.table(columns, schema=_SCHEMA)


def normalized(*events: str | bytes | dict[str, Any] | None) -> Normalized:
    """What becomes of events."""
    return normalize(raw_table(*events), DEVICE)


def row(event: str | dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The normalized row of one event: a text, or `MINIMAL` with other fields."""
    found = normalized(MINIMAL | (event or {}) | fields if not isinstance(event, str) else event)
    assert found.rejected.num_rows == 0, found.rejected.to_pylist()
    (only,) = found.rows.to_pylist()
    return dict(only)


def extras(event: str | dict[str, Any] | None = None, **fields: Any) -> Any:
    """The extras of one event, parsed; None where it has none."""
    text = row(event, **fields)["extras"]
    return None if text is None else json.loads(text)


def reason(event: str | bytes | None) -> str:
    """Why one event is rejected."""
    found = normalized(event)
    assert found.rows.num_rows == 0
    (only,) = found.rejected.to_pylist()
    return str(only["reason"])
