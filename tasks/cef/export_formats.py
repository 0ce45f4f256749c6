r"""The formats of `export` besides CEF: LEEF 2.0, `key="value"` pairs, JSON lines.

All are rendered from the same declaration as CEF (`tasks/plugin/fields.toml`), always one line an
event, and no value is cut.

- LEEF: IBM, "Log Event Extended Format (LEEF) 2.0". Attributes are separated by tabs. The guide
  names no escapes: backslash, tab, line feed and carriage return become `\\`, `\t`, `\n`, `\r`.
  A header field has none that parsers know of: `|` and line breaks become spaces there, and the
  event's name is repeated, whole, as an attribute.
- key=value: column names as keys, every value in quotes; `\"`, `\\`, `\t`, `\n`, `\r`.
- JSON: RFC 8259, one object a line, nulls left out. Times in both as RFC 3339 has them.

In LEEF and key=value the characters that CEF replaces by U+FFFD are replaced here, too; JSON
spells them out, so it alone keeps every character.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tasks.cef.assemble import Place, assemble, small_batches
from tasks.cef.escape import Escape, spell_out_forbidden
from tasks.cef.render import render_chunks
from tasks.plugin.fields import BY_NAME, CEF_ORDER, FIELDS, PRODUCT
from tasks.timestamps import leef_times, rfc3339_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Format = Literal["cef", "leef", "kv", "json"]

_LEEF_TIME_FORMAT = "MMM dd yyyy HH:mm:ss.SSS z"
_LEEF_HEADER_LIMIT = 255

_CONTROLS = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LEEF_HEADER = Escape({"|": " ", "\n": " ", "\r": " ", "\t": " "})
_LEEF = Escape({"\\": "\\\\", **_CONTROLS})
_QUOTED = Escape({"\\": "\\\\", '"': '\\"', **_CONTROLS})
_JSON = Escape({"\\": "\\\\", '"': '\\"', **_CONTROLS}, spell_out_forbidden)


def export_lines(events: pa.Table | pa.RecordBatch, format: Format) -> pa.StringArray:  # noqa: A002
    """Render `events` (NORMALIZED_SCHEMA) in `format`, one line each, in their order.

    All lines together are below 2 GiB: use `export_chunks` for more.

    Raises:
        ValueError: there is no such format.
        KeyError: a column of NORMALIZED_SCHEMA is missing.
        pyarrow.ArrowInvalid: the lines take 2 GiB or more.
    """
    return pa.concat_arrays([pa.array([], pa.string()), *export_chunks(events, format)])


def export_chunks(
    events: pa.Table | pa.RecordBatch,
    format: Format,  # noqa: A002
) -> Iterator[pa.StringArray]:
    """Render `events` as `export_lines` does, some thousand at a time: in bounded memory."""
    if format == "cef":
        return (chunk.lines for chunk in render_chunks(events))
    if format not in _LAYOUTS:
        raise ValueError(f"unknown format {format!r}: use cef, leef, kv or json")
    layout = _LAYOUTS[format]
    return (layout.render(batch) for batch in small_batches(events))


@dataclass(frozen=True)
class _Layout:
    """A format: its places, the columns that take them, and what stands between and around."""

    columns: Sequence[str]
    places: Sequence[Place]
    separator: str
    times: Callable[[pa.TimestampArray], pa.StringArray]
    head: str = ""
    tail: str = ""
    keep_empty: bool = False

    def render(self, batch: pa.RecordBatch) -> pa.StringArray:
        columns = [self._text(batch.column(name)) for name in self.columns]
        return assemble(
            self.places,
            columns,
            separator=self.separator,
            head=self.head,
            tail=self.tail,
            keep_empty=self.keep_empty,
        ).lines

    def _text(self, column: pa.Array) -> pa.StringArray:
        if pa.types.is_timestamp(column.type):
            return self.times(column)
        return column if pa.types.is_string(column.type) else pc.cast(column, pa.string())


def _leef() -> _Layout:
    header = {
        "rep_device_vendor": Place("LEEF:2.0|", "|", _LEEF_HEADER, _LEEF_HEADER_LIMIT, always=True),
        "rep_device_version": Place(
            f"{PRODUCT}|", "|", _LEEF_HEADER, _LEEF_HEADER_LIMIT, always=True
        ),
        "event_name": Place("", "|x09|", _LEEF_HEADER, _LEEF_HEADER_LIMIT, always=True),
    }
    first = [BY_NAME["event_receipt_time"], BY_NAME["event_severity"]]
    attributes = dict.fromkeys(field for field in (*first, *CEF_ORDER, *FIELDS) if field.leef)
    labels = {"devTime": f"\tdevTimeFormat={_LEEF_TIME_FORMAT}"}
    places = [
        Place(f"{field.leef}=", labels.get(str(field.leef), ""), _LEEF) for field in attributes
    ]
    names = [*header, *(field.name for field in attributes)]
    return _Layout(names, [*header.values(), *places], "\t", leef_times)


def _key_value() -> _Layout:
    places = [Place(f'{field.name}="', '"', _QUOTED) for field in FIELDS]
    return _Layout([field.name for field in FIELDS], places, " ", rfc3339_times, keep_empty=True)


def _json() -> _Layout:
    bare = {"bool", "int8", "int32", "int64"}
    places = [
        Place(f'"{field.name}":', "", _JSON)
        if field.type in bare
        else Place(f'"{field.name}":"', '"', _JSON)
        for field in FIELDS
    ]
    names = [field.name for field in FIELDS]
    return _Layout(names, places, ",", rfc3339_times, head="{", tail="}", keep_empty=True)


_LAYOUTS = {"leef": _leef(), "kv": _key_value(), "json": _json()}
