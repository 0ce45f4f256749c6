"""The fields of decoded events as columns: what `fields.toml` names a Halo field for.

The functions here take fields out of the events they are given; what is left in the end is
`extras`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks.plugin.addresses import is_address
from tasks.plugin.decode import Event, compact, decode_exactly, is_exact
from tasks.plugin.fields import FIELDS, Field
from tasks.plugin.markup import text_of

if TYPE_CHECKING:
    from collections.abc import Collection

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

_TEXT = frozenset((str, type(None)))
_PLAIN = frozenset((str, bool, int))
_BOOLEANS = {"true": True, "false": False}


def columns_of(events: list[Event], texts: list[bytes], ids: list[str]) -> dict[str, Any]:
    """Take the columns out of the events.

    Args:
        events: decoded events; what they are left with is of no further use.
        texts: the JSON each was decoded from.
        ids: the id each was staged under.

    Returns:
        An array for each of `TEXT_FIELDS` (by column) and `ADDRESS_SOURCES` (by Halo field, valid
        addresses only), `critical` as bool, and `extras`.
    """
    columns = _text_columns(events, texts)
    for source in ADDRESS_SOURCES:
        columns[source] = pa.array(_addresses(events, source), pa.string())
    columns["critical"] = pa.array(_booleans(events, "critical"), pa.bool_())
    for event, event_id in zip(events, ids, strict=True):
        event.pop("created_at", None)
        if event.get("id") == event_id:
            del event["id"]
    columns["extras"] = pa.array(map(_extras, events, texts), pa.string(), size=len(events))
    return columns


def _text_columns(events: list[Event], texts: list[bytes]) -> dict[str, Any]:
    taken: dict[str, list[Any]] = {}
    for field in TEXT_FIELDS:
        source = field.source[0]
        if source not in taken:
            taken[source] = [event.pop(source, None) for event in events]
    arrays: dict[tuple[str, ...], Any] = {}
    for field in TEXT_FIELDS:
        if field.source not in arrays:
            values = taken[field.source[0]]
            for other in field.source[1:]:
                values = _else(values, other, events, taken)
            arrays[field.source] = _text_array(values, field, texts)
    return {field.name: arrays[field.source] for field in TEXT_FIELDS}


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


def _text_array(values: list[Any], field: Field, texts: list[bytes]) -> Any:
    try:
        if field.html:
            values = [
                text_of(value) if value and ("<" in value or "&" in value) else value
                for value in values
            ]
        return pa.array(values, pa.string())
    except (pa.ArrowTypeError, TypeError):
        texted = [
            value if type(value) in _TEXT else _compact(field, text)
            for value, text in zip(values, texts, strict=True)
        ]
        return _text_array(texted, field, texts)


def _compact(field: Field, text: bytes) -> str:
    """A value that is no text, as compact JSON, no digit changed."""
    event = decode_exactly(text)
    return next(
        compact(event[source]).decode()
        for source in field.source
        if event.get(source) not in (None, "")
    )


def _addresses(events: list[Event], source: str) -> list[str | None]:
    values = [event.pop(source, None) for event in events]
    if not all(map(is_address, _distinct(values))):
        for position, value in enumerate(values):
            if value is not None and not is_address(value):
                values[position] = None
                if value != "":
                    events[position][source] = value
    return values


def _distinct(values: list[Any]) -> Collection[Any]:
    """The distinct values that are not null, or all where one cannot be told from the others."""
    try:
        return set(values) - {None}
    except TypeError:
        return values


def _booleans(events: list[Event], source: str) -> list[bool | None]:
    values = [event.pop(source, None) for event in events]
    for position, value in enumerate(values):
        if value is not None and type(value) is not bool:
            values[position] = _BOOLEANS.get(value.lower()) if isinstance(value, str) else None
            if values[position] is None and value != "":
                events[position][source] = value
    return values


def _extras(event: Event, text: bytes) -> bytes | None:
    present = {key: value for key, value in event.items() if value is not None}
    if not present:
        return None
    changed = [
        key
        for key, value in present.items()
        if type(value) not in _PLAIN and not is_exact(key, value, text)
    ]
    if changed:
        exact = decode_exactly(text)
        present |= {key: exact[key] for key in changed}
    return compact(present)
