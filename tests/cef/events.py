"""Normalized events for the tests of the renderers: by hand, and by hypothesis."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tasks.cef.render import render
from tasks.plugin.fields import FIELDS, NORMALIZED_SCHEMA

Row = dict[str, Any]

NASTY = [
    *"\\=|\n\r\t \"'\x00\x07\x1b\x7f\x85\x9f\xa0…é😀a1",
    *"\u2028\u2029\ufeff\u202a\u202e\u2066\u2069\ufffd",
    "\r\n",
    " dst=6.6.6.6",
    " spt=",
    "\nCEF:0|a|b|c|d|e|f|",
    "<14>Aug 22 16:24:30 host cpapi: CEF:0|",
    "\\n",
    "\\\\",
    "cs1Label=x",
]
"""What has broken parsers of CEF, syslog and terminals before."""

TEXTS = st.one_of(
    st.text(),
    st.lists(st.sampled_from(NASTY), max_size=12).map("".join),
    st.builds(lambda text, times: text * times, st.sampled_from(NASTY), st.integers(1, 5000)),
)

_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "bool": st.booleans(),
    "int8": st.integers(-128, 127),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "timestamp[us, UTC]": st.datetimes(timezones=st.just(UTC)),
}

ROWS: st.SearchStrategy[Row] = st.fixed_dictionaries(
    {}, optional={field.name: st.none() | _VALUES[field.type] for field in FIELDS}
)
"""Rows with anything in any column, valid or not."""


def table(*rows: Row) -> pa.Table:
    """Rows as a table of NORMALIZED_SCHEMA: null where a row says nothing."""
    return pa.Table.from_pylist(list(rows), NORMALIZED_SCHEMA)


def event(**columns: Any) -> Row:
    """Make an ordinary event, with some columns changed (None: taken away)."""
    ordinary = {
        "destination_address": "54.183.177.195",
        "destination_hostname": "ip-10-2-20-76",
        "device_direction": 1,
        "event_action": "fim_target_integrity_changed",
        "event_description": "A change was detected",
        "event_name": "File Integrity change detected",
        "event_receipt_time": datetime(2016, 8, 2, 16, 24, 30, 726_000, UTC),
        "event_severity": 9,
        "rep_device_address": "50.57.180.190",
        "rep_device_rule_id": "130",
        "rep_device_type": "Unified threat management",
        "rep_device_vendor": "CloudPassage",
        "rep_device_version": "1.0",
        "transient": False,
        "event_id": "e750d982688411e6b7b32f750f990d28",
        "event_category": "Server Events",
    }
    return ordinary | columns


def line_of(row: Row) -> str:
    """The line of a row."""
    return str(render(table(row)).lines[0].as_py())


def truncated(row: Row) -> bool:
    """Whether the line of a row says less than the row."""
    return bool(render(table(row)).truncated[0].as_py())
