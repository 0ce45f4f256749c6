"""The fields of decoded events as columns: what `fields.toml` names a Halo field for.

The functions here take fields out of the events they are given; what is left in the end is
`extras`.
"""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa

from tasks.plugin.addresses import is_address
from tasks.plugin.decode import compact
from tasks.plugin.fields import FIELDS, Field
from tasks.plugin.markup import text_of

Event = dict[str, Any]

_NOT_HALO = {("constant",), ("setting",), ("catalogue",), ("computed",), ()}
_FROM_HALO = [field for field in FIELDS if field.source not in _NOT_HALO]

TEXT_FIELDS: tuple[Field, ...] = tuple(
    field
    for field in _FROM_HALO
    if field.type == "string" and field.ipv6 is None and field.name != "event_id"
)
"""Columns of text that one Halo field, or else another, gives."""

ADDRESS_SOURCES: tuple[str, ...] = tuple(
    dict.fromkeys(source for field in _FROM_HALO if field.ipv6 for source in field.source)
)
"""Halo fields that hold an IP address; a column may choose between two of them."""

_BOOLEANS = {"true": True, "false": False}


def columns_of(events: list[Event], ids: list[str]) -> dict[str, Any]:
    """Take the columns out of the events.

    Args:
        events: decoded events; what they are left with is of no further use.
        ids: the id each was staged under.

    Returns:
        An array for each of `TEXT_FIELDS` (by column) and `ADDRESS_SOURCES` (by Halo field, valid
        addresses only), `critical` as bool, and `extras`.
    """
    columns = _text_columns(events)
    for source in ADDRESS_SOURCES:
        columns[source] = pa.array(_addresses(events, source), pa.string())
    columns["critical"] = pa.array(_booleans(events, "critical"), pa.bool_())
    _take_known(events, "id", ids)
    for event in events:
        event.pop("created_at", None)
    columns["extras"] = pa.array([_extras(event) for event in events], pa.string())
    return columns


def _text_columns(events: list[Event]) -> dict[str, Any]:
    taken: dict[str, list[Any]] = {}
    for field in TEXT_FIELDS:
        source = field.source[0]
        if source not in taken:
            taken[source] = [event.pop(source, None) for event in events]
    columns = {}
    for field in TEXT_FIELDS:
        values = taken[field.source[0]]
        for other in field.source[1:]:
            values = _else(values, other, events, taken)
        columns[field.name] = _text_array(values, field)
    return columns


def _else(
    values: list[Any], other: str, events: list[Event], taken: dict[str, list[Any]]
) -> list[Any]:
    """The values, and where one is absent that of another Halo field."""
    filled = list(values)
    for position, value in enumerate(values):
        if not value and (value is None or value == ""):
            held = taken[other][position] if other in taken else events[position].pop(other, None)
            filled[position] = held
    return filled


def _text_array(values: list[Any], field: Field) -> Any:
    if field.html:
        values = [
            value
            if value is None or (type(value) is str and "<" not in value and "&" not in value)
            else text_of(_text(value))
            for value in values
        ]
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: object) -> str:
    return value if isinstance(value, str) else compact(value)


def _addresses(events: list[Event], source: str) -> list[str | None]:
    values = [event.pop(source, None) for event in events]
    for position, value in enumerate(values):
        if value is not None and not is_address(value):
            values[position] = None
            if value != "":
                events[position][source] = value
    return values


def _booleans(events: list[Event], source: str) -> list[bool | None]:
    values = [event.pop(source, None) for event in events]
    for position, value in enumerate(values):
        if value is not None and type(value) is not bool:
            values[position] = _BOOLEANS.get(value.lower()) if isinstance(value, str) else None
            if values[position] is None and value != "":
                events[position][source] = value
    return values


def _take_known(events: list[Event], source: str, known: list[str]) -> None:
    """Take a field whose value is known from elsewhere, and leave it where it says another."""
    for event, value in zip(events, known, strict=True):
        if event.get(source) == value:
            del event[source]


def _extras(event: Event) -> bytes | None:
    present = {key: value for key, value in event.items() if value is not None}
    return orjson.dumps(present, option=orjson.OPT_SORT_KEYS) if present else None
