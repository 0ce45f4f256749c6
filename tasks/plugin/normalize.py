"""Raw events to the plugin schema: one row each, in the order they came.

A pure function of the raw table, the device's address and the version of the mapping. What each
column is read from is declared in `fields.toml`; how a single event is read, in `sources.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tasks.plugin import catalogue
from tasks.plugin.addresses import same_address
from tasks.plugin.columns import ColumnReader
from tasks.plugin.derive import derive
from tasks.plugin.fields import CRITICAL_SEVERITY, FIELDS, NORMALIZED_SCHEMA, OTHER_SEVERITY
from tasks.plugin.sources import SAME_AS

REFUSED_SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("event_id", pa.string()),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
        pa.field("reason", pa.string()),
        pa.field("event", pa.string()),
    ]
)
"""Events that `normalize` refuses, each with the reason."""

_RAW_COLUMNS = ["event_id", "created_at", "event"]

# Rows whose Python values live at the same time: few enough for the processor's cache, enough to
# make a call of Arrow's worth its overhead.
_DECODED_ROWS = 1024
_CHUNK_ROWS = 32 * _DECODED_ROWS

_READER = ColumnReader()

_PERSON_OR_KEY, _HALO = 0, 1


class Normalized(NamedTuple):
    """The result for raw events: each of them is a row of one of the two tables.

    Attributes:
        rows: `pa.Table` of `NORMALIZED_SCHEMA`.
        rejected: `pa.Table` of `REFUSED_SCHEMA`.
    """

    rows: Any
    rejected: Any


def normalize(raw: Any, device_address: str) -> Normalized:
    """Normalize raw events.

    Args:
        raw: `pa.Table` with at least `event_id` string, `created_at` timestamp[us, UTC] and `event`
            string: the JSON text of an event as Halo sent it, any text at all.
        device_address: IP address of the reporting device, the CEF `dvc`.
    """
    rows: list[Any] = []
    rejected: list[dict[str, Any]] = []
    for chunk in raw.select(_RAW_COLUMNS).to_batches(max_chunksize=_CHUNK_ROWS):
        parts = []
        for start in range(0, chunk.num_rows, _DECODED_ROWS):
            part, refused = _decoded(chunk.slice(start, _DECODED_ROWS))
            parts.append(part)
            rejected.extend(refused)
        columns = {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}
        rows.append(_rows(columns, device_address))
    return Normalized(
        pa.Table.from_batches(rows, NORMALIZED_SCHEMA),
        pa.Table.from_pylist(rejected, REFUSED_SCHEMA),
    )


def _decoded(batch: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The columns of those rows that can be decoded, and the others with their reason."""
    ids = batch["event_id"].to_pylist()
    texts = batch["event"].cast(pa.binary()).fill_null(b"").to_pylist()
    columns, refused = _READER.read(texts, ids)
    for name in _RAW_COLUMNS:
        if batch[name].null_count:
            missing = pc.indices_nonzero(batch[name].is_null()).to_pylist()
            refused |= dict.fromkeys(missing, f"no {name}")
    columns["event_id"] = batch["event_id"]
    columns["created_at"] = batch["created_at"]
    if not refused:
        return columns, []
    kept = pa.array(
        [position for position in range(len(ids)) if position not in refused], pa.int32()
    )
    rejected = [
        {
            "event_id": ids[position],
            "created_at": batch["created_at"][position].as_py(),
            "reason": refused[position],
            "event": texts[position].decode(errors="replace")
            if batch["event"][position].is_valid
            else None,
        }
        for position in sorted(refused)
    ]
    return {name: column.take(kept) for name, column in columns.items()}, rejected


def _rows(columns: dict[str, Any], device_address: str) -> Any:
    """The columns of Halo's fields as rows of the plugin schema."""
    count = len(columns["event_id"])
    for name, column in columns.items():
        if column.type == pa.string():
            columns[name] = _without_empty(column)
    columns |= {name: columns[other] for name, other in SAME_AS.items()}
    columns |= _endpoints(columns)
    entry = catalogue.look_up(columns["event_type"], columns["event_name"])
    columns |= {
        "event_receipt_time": columns["created_at"],
        "event_severity": pc.if_else(
            columns["critical"].fill_null(fill_value=False),
            pa.scalar(CRITICAL_SEVERITY, pa.int8()),
            OTHER_SEVERITY,
        ),
        "device_direction": pc.if_else(
            pc.and_(columns["actor_username"].is_null(), columns["actor_key_id"].is_null()),
            pa.scalar(_HALO, pa.int8()),
            _PERSON_OR_KEY,
        ),
        "rep_device_rule_id": entry.signature_ids,
        "event_category": entry.categories,
        "rep_device_address": pa.repeat(pa.scalar(device_address), count),
    }
    for field in FIELDS:
        if field.constant is not None:
            columns[field.name] = pa.repeat(pa.scalar(field.constant, field.arrow_type), count)
    return pa.record_batch([columns[field.name] for field in FIELDS], schema=NORMALIZED_SCHEMA)


def _without_empty(texts: Any) -> Any:
    empty = pc.equal(texts, "")
    return (
        pc.if_else(empty, pa.scalar(None, pa.string()), texts) if pc.any(empty).as_py() else texts
    )


def _endpoints(columns: dict[str, Any]) -> dict[str, Any]:
    """Addresses, ports, protocol and bytes: Halo's own fields win over what a log entry says."""
    given = {
        field.name: pc.coalesce(*(columns[source] for source in field.source))
        for field in FIELDS
        if field.ipv6 and field.source != ("setting",)
    }
    derived = derive(
        columns["original_log_entry"],
        pc.if_else(
            given["source_address"].is_null(),
            columns["event_description"],
            pa.scalar(None, pa.string()),
        ),
    )
    found = given | {
        name: pc.coalesce(given[name], column) if name in given else column
        for name, column in derived.items()
    }
    found["destination_translated_address"] = _where_it_differs(
        found["destination_translated_address"], found["destination_address"]
    )
    return found


def _where_it_differs(addresses: Any, others: Any) -> Any:
    """The addresses, null where the other column holds the same address."""
    same = pc.equal(addresses, others).fill_null(fill_value=False)
    spelled_twice = pc.indices_nonzero(
        pc.and_not(
            pc.and_(pc.match_substring(addresses, ":"), pc.match_substring(others, ":")), same
        )
    ).to_pylist()
    if spelled_twice:
        flags = same.to_pylist()
        for row in spelled_twice:
            flags[row] = same_address(addresses[row].as_py(), others[row].as_py())
        same = pa.array(flags)
    return pc.if_else(same, pa.scalar(None, pa.string()), addresses)
