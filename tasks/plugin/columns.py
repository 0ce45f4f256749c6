"""The fields of many events as columns, fast for events such as Halo sends.

msgspec decodes a text straight into an object with a slot for every known field. An event that does
not fit (a value of another type, an invalid address, a field never seen before) is taken by
`sources.row_of`; both ways give the same.
"""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import starmap
from keyword import iskeyword
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import astuple

from tasks.plugin.addresses import is_address
from tasks.plugin.decode import UndecodableError, has_many_brackets
from tasks.plugin.markup import text_of
from tasks.plugin.sources import ADDRESS_SOURCES, BOOLEANS, TEXT_FIELDS, Row, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_Text = str | None

_FIRST = dict.fromkeys(field.source[0] for field in TEXT_FIELDS)
_FALLBACKS = {source for field in TEXT_FIELDS for source in field.source[1:]} - _FIRST.keys()
_MAPPED = {
    **dict.fromkeys((*_FIRST, *_FALLBACKS, *ADDRESS_SOURCES, "id", "created_at"), _Text),
    "critical": bool | _Text,
}
# Fields without a column that Halo's clients know; others are learned from the events.
_OTHERS = (
    frozenset(
        """
    actor_country actor_key_label additional_details api_key_id api_key_label cpe cves
    daemon_version ec2_account_id ec2_instance_id finding_id package_name package_version
    previous_daemon_version rule_reference_identifiers scan_id server_account_id
    server_account_username server_display_name server_label server_new_ip_address
    server_old_ip_address target_username
    """.split()  # noqa: SIM905 - a list of quoted words would hide the words
    )
    - _MAPPED.keys()
)
_LEARNABLE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MOST_OTHERS = 64
# How many events tell in which order fields come.
_FIRST_EVENTS = 32
_NAMES = msgspec.json.Decoder(dict[str, msgspec.Raw])
# Bytes of the shortest JSON that `decode` finds nested too deeply.
_DEEP = 2 * 254


class _Reader(NamedTuple):
    """Reads events whose fields are mapped ones or among `others`."""

    others: frozenset[str]
    order: tuple[str, ...]
    decode: Callable[[bytes], Any]
    blank: Any
    extras: Callable[[list[Any]], Any]

    @classmethod
    def knowing(cls, others: frozenset[str], order: tuple[str, ...]) -> _Reader:
        left = sorted(others | _FALLBACKS)
        # msgspec finds a field soonest where the type has it in the same order as the text.
        mapped = sorted(_MAPPED.keys() - _FALLBACKS, key=(*order, *_MAPPED).index)
        event_type = msgspec.defstruct(
            "Event",
            # What is left for extras comes last, in the order in which it is written.
            [(name, _MAPPED.get(name, Any), None) for name in (*mapped, *left)],
            forbid_unknown_fields=True,
            gc=False,
        )
        rest_type = msgspec.defstruct(
            "Rest", [(name, Any, None) for name in left], omit_defaults=True, gc=False
        )
        encode_lines = msgspec.json.Encoder(order="deterministic").encode_lines
        rest_of = itemgetter(slice(len(mapped), None))

        def extras(events: list[Any]) -> Any:
            # All lines are one buffer, the values of an Arrow array: no object is made of each.
            lines = encode_lines(starmap(rest_type, map(rest_of, map(astuple, events))))
            offsets = np.zeros(len(events) + 1, np.int32)
            offsets[1:] = np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n")) + 1
            texts = pc.ascii_rtrim_whitespace(
                pa.StringArray.from_buffers(len(events), pa.py_buffer(offsets), pa.py_buffer(lines))
            )
            return pc.if_else(pc.equal(texts, "{}"), pa.scalar(None, pa.string()), texts)

        # A float is kept as its text: no digit changes.
        decode = msgspec.json.Decoder(event_type, float_hook=msgspec.Raw).decode
        return cls(others, order, decode, event_type(), extras)

    def learning(self, names: Iterable[str]) -> _Reader:
        """A reader that knows these names, too, unless they are malformed or too many."""
        new = sorted(
            name
            for name in set(names) - self.others - _MAPPED.keys()
            if _LEARNABLE.fullmatch(name) and not iskeyword(name)
        )[: _MOST_OTHERS - len(self.others)]
        return _Reader.knowing(self.others | set(new), self.order) if new else self


class ColumnReader:
    """Reads many events into columns.

    It learns field names and their order from the events it reads. Its results depend on the
    events alone; its speed depends on what it has learned.
    """

    def __init__(self) -> None:
        self._reader: _Reader | None = None

    def read(self, texts: list[bytes], ids: list[str]) -> tuple[dict[str, Any], dict[int, str]]:
        """Take the columns out of events.

        Args:
            texts: the JSON of each event.
            ids: the id each was staged under.

        Returns:
            The columns of `sources.row_of`, each a `pa.Array` with a value an event; and the reason
            for each position whose event cannot be decoded (what is there means nothing).
        """
        reader = self._reader or _Reader.knowing(_OTHERS, _order(texts[:_FIRST_EVENTS]))
        events: list[Any] = []
        odd: set[int] = set()
        decoded = map(reader.decode, texts)
        while len(events) < len(texts):
            try:
                # What is decoded before an error stays, and `decoded` goes on behind the error.
                events.extend(decoded)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                odd.add(len(events))
                events.append(reader.blank)
        columns = _text_columns(events)
        for source in ADDRESS_SOURCES:
            columns[source] = list(map(attrgetter(source), events))
            odd.update(_not_addresses(columns[source]))
        columns["critical"], not_booleans = _booleans(list(map(attrgetter("critical"), events)))
        odd.update(not_booleans)
        odd.update(
            position
            for position, (event, event_id) in enumerate(zip(events, ids, strict=True))
            if event.id != event_id and event.id is not None
        )
        try:
            extras = reader.extras(events)
        except RecursionError:
            # An event is nested too deeply to be written: none is taken from here.
            extras, odd = pa.nulls(len(events), pa.string()), set(range(len(events)))
        odd.update(
            position
            for position in pc.indices_nonzero(
                pc.greater(pc.binary_length(extras), _DEEP)
            ).to_pylist()
            if has_many_brackets(extras[position].as_py().encode())
        )
        rows, refused = _rows_of(odd, texts, ids)
        if rows:
            columns["extras"] = extras.to_pylist()
        for position, row in rows.items():
            for name, value in row.items():
                columns[name][position] = value
        names = [_NAMES.decode(row["extras"]) for row in rows.values() if row["extras"]]
        self._reader = reader.learning(name for each in names for name in each)
        arrays = {
            name: pa.array(values, pa.bool_() if name == "critical" else pa.string())
            for name, values in columns.items()
        }
        return {"extras": extras, **arrays}, refused


def _order(texts: list[bytes]) -> tuple[str, ...]:
    """The names of mapped fields in the order in which the events have them."""
    names: dict[str, None] = {}
    for text in texts:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            names |= dict.fromkeys(filter(_MAPPED.__contains__, _NAMES.decode(text)))
    return tuple(names)


def _rows_of(
    positions: Iterable[int], texts: list[bytes], ids: list[str]
) -> tuple[dict[int, Row], dict[int, str]]:
    rows, refused = {}, {}
    for position in sorted(positions):
        try:
            rows[position] = row_of(texts[position], ids[position])
        except UndecodableError as error:
            refused[position] = str(error)
    return rows, refused


def _text_columns(events: list[Any]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for field in TEXT_FIELDS:
        values = list(map(attrgetter(field.source[0]), events))
        for other in field.source[1:]:
            for position, value in enumerate(values):
                if not value:
                    values[position] = getattr(events[position], other)
                    if other in _FALLBACKS:
                        setattr(events[position], other, None)
        if field.html:
            values = [text_of(value) if value else value for value in values]
        columns[field.name] = values
    return columns


def _not_addresses(values: list[str | None]) -> Iterable[int]:
    """Positions of texts that are no address. The usual case, that all are one, is fast."""
    if all(map(is_address, set(values) - {None, ""})):
        return ()
    return [position for position, value in enumerate(values) if value and not is_address(value)]


def _booleans(values: list[Any]) -> tuple[list[bool | None], Iterable[int]]:
    """The values as booleans, and the positions of texts that are no boolean."""
    if str not in set(map(type, values)):
        return values, ()
    read = [BOOLEANS.get(value.lower()) if isinstance(value, str) else value for value in values]
    return read, [
        position
        for position, (value, given) in enumerate(zip(read, values, strict=True))
        if value is None and given
    ]
