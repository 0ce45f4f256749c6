"""The CEF line of every normalized event: what a USM Anywhere sensor's plugin reads.

Rules: Micro Focus, "Implementing ArcSight Common Event Format (CEF)", version 25 (escapes,
lengths), and the plugin's configuration guide (keys and their order). Which column goes to
which key is declared in `tasks/plugin/fields.toml`.

A line is a pure function of its row. Values that begin or end with spaces are kept: the
specification gives all spaces but the one before the next key to the value. A receiver that
trims values trims those.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.cef.assemble import ELLIPSIS, Assembled, Place, assemble, small_batches
from tasks.cef.escape import Escape, holds
from tasks.plugin.fields import CEF_ORDER, CEF_PREFIX, FIELDS, PRODUCT
from tasks.timestamps import cef_times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST_LINE = 60_000
"""Bytes of UTF-8 that no line exceeds, whatever the transport (UDP takes 65,507 with headers)."""

HEADER_ESCAPE = Escape({"\\": "\\\\", "|": "\\|", "\n": " ", "\r": " ", "\t": " "})
EXTENSION_ESCAPE = Escape({"\\": "\\\\", "=": "\\=", "\n": "\\n", "\r": "\\r", "\t": " "})

_SHORTENED_FIRST = ("cs6", "cs5", "msg")


@dataclass(frozen=True)
class Rendered:
    """CEF lines, one an event, without syslog header and line end.

    `truncated` is true where a value or the whole line was too long and something was cut.
    """

    lines: pa.StringArray
    truncated: pa.BooleanArray


def render(events: pa.Table | pa.RecordBatch) -> Rendered:
    """Render `events` (NORMALIZED_SCHEMA), one line each, in their order.

    All lines together are below 2 GiB: use `render_chunks` for more.

    Raises:
        KeyError: a column of NORMALIZED_SCHEMA is missing.
        pyarrow.ArrowInvalid: the lines take 2 GiB or more.
    """
    chunks = list(render_chunks(events))
    if not chunks:
        return Rendered(pa.array([], pa.string()), pa.array([], pa.bool_()))
    return Rendered(
        pa.concat_arrays([chunk.lines for chunk in chunks]),
        pa.concat_arrays([chunk.truncated for chunk in chunks]),
    )


def render_chunks(events: pa.Table | pa.RecordBatch) -> Iterator[Rendered]:
    """Render `events` some thousand at a time: bounded memory, however many there are."""
    for batch in small_batches(events):
        yield _render(batch)


def _render(batch: pa.RecordBatch) -> Rendered:
    columns = {name: _text(batch.column(name)) for name in _COLUMNS}
    for name in _ADDRESSES:
        columns[name], columns[name + _IPV6] = _by_version(columns[name])
    assembled = assemble(_PLACES, [columns[name] for name in _NAMES], separator=" ")
    return Rendered(*_fit(assembled))


def _text(column: pa.Array) -> pa.StringArray:
    if pa.types.is_string(column.type):
        return column
    if pa.types.is_timestamp(column.type):
        return cef_times(column)
    return pc.cast(column, pa.string())


def _by_version(addresses: pa.StringArray) -> tuple[pa.StringArray, pa.StringArray]:
    """Split a column of addresses into IPv4, null where it is not, and IPv6, likewise."""
    nothing = pa.scalar(None, pa.string())
    if not holds(addresses, b":"):
        return addresses, pa.nulls(len(addresses), pa.string())
    colons = pc.match_substring(addresses, ":")
    return pc.if_else(colons, nothing, addresses), pc.if_else(colons, addresses, nothing)


def _plan() -> Iterator[tuple[str, Place]]:
    """The places of a line, in order, each with the name of what takes it."""
    for position, before in (
        ("vendor", "CEF:0|"),
        ("version", f"{PRODUCT}|"),
        ("signature_id", ""),
        ("name", ""),
        ("severity", ""),
    ):
        field = _HEADER[position]
        yield field.name, Place(before, "|", HEADER_ESCAPE, field.limit, always=True)
    pending: list[tuple[str, Place]] = []
    for field in CEF_ORDER:
        label = f" {field.cef}Label={field.label}" if field.label else ""
        yield field.name, Place(f"{field.cef}=", label, EXTENSION_ESCAPE, field.limit)
        if field.ipv6:
            key, label = field.ipv6
            place = Place(f"{key}=", f" {key}Label={label}", EXTENSION_ESCAPE, field.limit)
            pending.append((field.name + _IPV6, place))
        # plugins read the first keys by their order: nothing may come between those
        if field not in CEF_PREFIX[:-1]:
            yield from pending
            pending = []


_HEADER = {field.header: field for field in FIELDS if field.header}
_IPV6 = ", IPv6"
_NAMES, _PLACES = zip(*_plan(), strict=True)
_ADDRESSES = [field.name for field in CEF_ORDER if field.ipv6]
_COLUMNS = [name for name in _NAMES if not name.endswith(_IPV6)]


def _fit(assembled: Assembled) -> tuple[pa.StringArray, pa.BooleanArray]:
    """Shorten the lines that are longer than `LONGEST_LINE`."""
    offsets = np.frombuffer(assembled.lines.buffers()[1], np.int32)
    too_long = np.diff(offsets) > LONGEST_LINE
    if not too_long.any():
        return assembled.lines, pa.array(assembled.cut)
    width = 2 * len(assembled.places) + 1
    shortened = [
        _shorten_line(assembled.pieces.slice(row * width, width).to_pylist(), assembled.places)
        for row in np.flatnonzero(too_long).tolist()
    ]
    lines = pc.replace_with_mask(
        assembled.lines, pa.array(too_long), pa.array(shortened, pa.string())
    )
    return lines, pa.array(assembled.cut | too_long)


def _shorten_line(pieces: list[str], places: Sequence[Place]) -> str:
    """Join the pieces of one line, with values cut until it fits.

    First those of `_SHORTENED_FIRST`, then the longest (the earlier of two as long), each by no
    more than needed, and at most to the ellipsis alone.
    """
    pieces = list(pieces)
    values = range(1, len(pieces), 2)
    sizes = {at: len(pieces[at].encode()) for at in values}
    keys = {at: place.before.removesuffix("=") for at, place in zip(values, places, strict=True)}
    excess = sum(len(piece.encode()) for piece in pieces) - LONGEST_LINE

    def precedence(at: int) -> tuple[int, int]:
        first = keys[at] in _SHORTENED_FIRST
        return (_SHORTENED_FIRST.index(keys[at]), 0) if first else (len(keys), -sizes[at])

    for at in sorted(values, key=precedence):
        if excess > 0 and sizes[at] > len(ELLIPSIS.encode()):
            shorter = _shorten_value(pieces[at], sizes[at] - excess)
            excess -= sizes[at] - len(shorter.encode())
            pieces[at] = shorter
    return "".join(pieces)


def _shorten_value(escaped: str, size: int) -> str:
    """Cut an escaped value to `size` bytes if that leaves anything, else to the ellipsis."""
    room = size - len(ELLIPSIS.encode())
    kept = 0
    # an escape sequence stands for one character, so it is kept whole or not at all
    for unit in re.finditer(r"\\.|[^\\]", escaped):
        room -= len(unit[0].encode())
        if room < 0:
            return escaped[:kept] + ELLIPSIS
        kept = unit.end()
    return escaped
