"""The Halo fields that columns are read from, and how one event's fields become a row.

A mapped field that is null or an empty text counts as absent. A value that its column cannot take
(an invalid address, a `critical` that is no boolean) stays with the fields that have no column.
"""

from __future__ import annotations

from typing import Any

from tasks.plugin.addresses import is_address
from tasks.plugin.decode import compact, decode
from tasks.plugin.fields import FIELDS, Field
from tasks.plugin.markup import text_of

_NOT_HALO = {("constant",), ("setting",), ("catalogue",), ("computed",), ()}
_FROM_HALO = [field for field in FIELDS if field.source not in _NOT_HALO]

_TEXT = [
    field
    for field in _FROM_HALO
    if field.type == "string" and field.ipv6 is None and field.name != "event_id"
]
_BY_SOURCE = {field.source: field for field in reversed(_TEXT)}

TEXT_FIELDS: tuple[Field, ...] = tuple(
    field for field in _TEXT if field is _BY_SOURCE[field.source]
)
"""Columns of text, read from one Halo field or else another; the first of those that share it."""

SAME_AS: dict[str, str] = {
    field.name: _BY_SOURCE[field.source].name for field in _TEXT if field not in TEXT_FIELDS
}
"""The other columns of text, and which of `TEXT_FIELDS` they repeat."""

ADDRESS_SOURCES: tuple[str, ...] = tuple(
    dict.fromkeys(source for field in _FROM_HALO if field.ipv6 for source in field.source)
)
"""Halo fields that hold an IP address; a column may choose between two of them."""

BOOLEANS = {"true": True, "false": False}
"""What `critical` may be as text, in lower case."""

Row = dict[str, Any]
"""Values by column (`TEXT_FIELDS`), by Halo field (`ADDRESS_SOURCES`, `critical`), and `extras`."""


def row_of(text: bytes, event_id: str) -> Row:
    """Read any event as a row.

    Args:
        text: the event's JSON.
        event_id: the id it was staged under.

    Raises:
        UndecodableError: the text is no event.
    """
    event = decode(text)
    taken = {"created_at"}
    row: Row = {}
    for field in TEXT_FIELDS:
        row[field.name] = None
        for source in field.source:
            value = event.get(source)
            taken.add(source)
            if value is not None and value != "":
                row[field.name] = _text(value, field)
                break
    for source in ADDRESS_SOURCES:
        value = event.get(source)
        row[source] = value if is_address(value) else None
        if row[source] or value == "":
            taken.add(source)
    critical = event.get("critical")
    if isinstance(critical, str):
        critical = BOOLEANS.get(critical.lower())
    row["critical"] = critical if isinstance(critical, bool) else None
    if row["critical"] is not None or event.get("critical") == "":
        taken.add("critical")
    if event.get("id") == event_id:
        taken.add("id")
    rest = {key: value for key, value in event.items() if value is not None and key not in taken}
    row["extras"] = compact(rest) if rest else None
    return row


def _text(value: object, field: Field) -> str:
    text = value if isinstance(value, str) else compact(value)
    return text_of(text) if field.html else text
