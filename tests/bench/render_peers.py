"""What the renderer is compared with: the same lines by the usual means.

Each applies the same escapes and key order, and gives the same lines (but for `cefevent`, which
has its own order). Lengths, control characters and IPv6 keys they leave out, which favours them;
so does that they escape no column whose values cannot hold what is escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
from cefevent import CEFEvent

from tasks.plugin.fields import CEF_ORDER, PRODUCT, Field

if TYPE_CHECKING:
    import pyarrow as pa

_CLEAN = {
    "actor_key_id",
    "destination_address",
    "destination_translated_address",
    "event_id",
    "rep_device_address",
    "server_id",
    "source_address",
    "transport_protocol",
}
_TIME = "%b %d %Y %H:%M:%S UTC"
_HEADER_ESCAPES = {"\\": "\\\\", "|": "\\|"}
_ESCAPES = {"\\": "\\\\", "=": "\\=", "\n": "\\n", "\r": "\\r", "\t": " "}


def _label(field: Field) -> str:
    return f" {field.cef}Label={field.label}" if field.label else ""


def _is_dirty(field: Field) -> bool:
    return field.type == "string" and field.name not in _CLEAN


def render_loop(batch: pa.RecordBatch) -> list[str]:
    """Render event by event over `to_pylist`, with an f-string a value."""
    plan = [(field.name, field.cef, _label(field), _is_dirty(field)) for field in CEF_ORDER]
    lines = []
    for row in batch.to_pylist():
        pairs = []
        for column, key, label, dirty in plan:
            value = row[column]
            if value is None:
                continue
            if dirty:
                value = (
                    value.replace("\\", "\\\\")
                    .replace("=", "\\=")
                    .replace("\n", "\\n")
                    .replace("\r", "\\r")
                    .replace("\t", " ")
                )
            elif column == "event_receipt_time":
                value = value.strftime(_TIME)
            pairs.append(f"{key}={value}{label}")
        name = row["event_name"].replace("\\", "\\\\").replace("|", "\\|")
        lines.append(
            f"CEF:0|{row['rep_device_vendor']}|{PRODUCT}|{row['rep_device_version']}"
            f"|{row['rep_device_rule_id']}|{name}|{row['event_severity']}|{' '.join(pairs)}"
        )
    return lines


def render_cefevent(batch: pa.RecordBatch) -> list[str]:
    """Render with PyPI's `cefevent`, which drops the values it finds invalid."""
    lines = []
    for row in batch.to_pylist():
        event = CEFEvent()
        event.set_prefix("deviceVendor", row["rep_device_vendor"])
        event.set_prefix("deviceProduct", PRODUCT)
        event.set_prefix("deviceVersion", row["rep_device_version"])
        event.set_prefix("signatureId", row["rep_device_rule_id"])
        event.set_prefix("name", row["event_name"])
        event.set_prefix("severity", row["event_severity"])
        for field in CEF_ORDER:
            value = row[field.name]
            if value is None:
                continue
            if field.name == "event_receipt_time":
                value = value.strftime(_TIME)
            event.set_field(field.cef, value)
            if field.label:
                event.set_field(f"{field.cef}Label", field.label)
        lines.append(event.build_cef())
    return lines


def render_polars(batch: pa.RecordBatch) -> pl.Series:
    """Render with polars: one `concat_str` that ignores nulls."""

    def escaped(column: pl.Expr, escapes: dict[str, str]) -> pl.Expr:
        for character, replacement in escapes.items():
            column = column.str.replace_all(character, replacement, literal=True)
        return column

    pairs = []
    for at, field in enumerate(CEF_ORDER):
        column = pl.col(field.name)
        if field.name == "event_receipt_time":
            column = column.dt.strftime(_TIME)
        elif _is_dirty(field):
            column = escaped(column, _ESCAPES)
        key = f" {field.cef}=" if at else f"{field.cef}="
        pairs.append(pl.concat_str(pl.lit(key), column, pl.lit(_label(field))))
    line = pl.concat_str(
        pl.lit("CEF:0|"),
        pl.col("rep_device_vendor"),
        pl.lit(f"|{PRODUCT}|"),
        pl.col("rep_device_version"),
        pl.lit("|"),
        pl.col("rep_device_rule_id"),
        pl.lit("|"),
        escaped(pl.col("event_name"), _HEADER_ESCAPES),
        pl.lit("|"),
        pl.col("event_severity"),
        pl.lit("|"),
        *pairs,
        ignore_nulls=True,
    )
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    return frame.select(line.alias("line"))["line"]


class DuckDB:
    """Render with duckdb: one `concat_ws`, which leaves nulls out."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("SET TimeZone = 'UTC'")
        pairs = []
        for field in CEF_ORDER:
            column = field.name
            if field.name == "event_receipt_time":
                column = f"strftime({column}, '{_TIME}')"
            elif _is_dirty(field):
                column = self._escaped(column, _ESCAPES)
            pairs.append(f"'{field.cef}=' || {column} || '{_label(field)}'")
        name = self._escaped("event_name", _HEADER_ESCAPES)
        self._query = (
            f"SELECT 'CEF:0|' || rep_device_vendor || '|{PRODUCT}|' || rep_device_version || '|'"
            f" || rep_device_rule_id || '|' || {name} || '|' || event_severity || '|'"
            f" || concat_ws(' ', {', '.join(pairs)}) AS line FROM events"
        )

    @staticmethod
    def _escaped(column: str, escapes: dict[str, str]) -> str:
        for character, replacement in escapes.items():
            column = f"replace({column}, chr({ord(character)}), '{replacement}')"
        return column

    def __call__(self, batch: pa.RecordBatch) -> Any:
        """Lines of `batch`, as a pyarrow ChunkedArray."""
        self._connection.register("events", batch)
        return self._connection.sql(self._query).to_arrow_table()["line"]
