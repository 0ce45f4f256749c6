"""The fields of many events as columns, fast for events such as Halo sends.

`members` cuts the JSON of plain events; an event that does not fit (a value of another type, an
invalid address, a text that is not plain) is taken by `sources.row_of`. Both ways give the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.plugin.addresses import is_address
from tasks.plugin.decode import UndecodableError
from tasks.plugin.json_strings import buffers, slices
from tasks.plugin.markup import texts_of
from tasks.plugin.members import Members, members
from tasks.plugin.sources import ADDRESS_SOURCES, BOOLEANS, TEXT_FIELDS, Row, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tasks.plugin.json_strings import Elements, Flags

_TAKEN = {
    *(source for field in TEXT_FIELDS for source in field.source),
    *(*ADDRESS_SOURCES, "critical", "id", "created_at"),
}
_FIRST = {field.source[0] for field in TEXT_FIELDS}
_TYPES = {"critical": pa.bool_()}


def read(texts: pa.StringArray, ids: pa.StringArray) -> tuple[dict[str, Any], dict[int, str]]:
    """Take the columns out of events.

    Args:
        texts: The JSON of each event.
        ids: The id each was staged under.

    Returns:
        The columns of `sources.row_of` as Arrow arrays, a value an event; and the reason for each
        position whose event cannot be decoded (its columns are null).
    """
    plain = _Plain(members(texts), ids)
    columns = plain.columns()
    fitting = np.flatnonzero(plain.fits)
    positions = plain.members.plain[fitting]
    if len(positions) == len(texts):
        return columns, {}
    others = np.setdiff1d(np.arange(len(texts)), positions)
    rows, refused = _rows_of(others.tolist(), texts, ids)
    order = pa.array(np.argsort(np.concatenate((positions, others))))
    kept = pa.array(fitting)
    for name, column in columns.items():
        values = pa.array([row.get(name) for row in rows], _TYPES.get(name, pa.string()))
        columns[name] = pa.concat_arrays([column.take(kept), values]).take(order)
    return columns, refused


def _rows_of(
    positions: Iterable[int], texts: pa.StringArray, ids: pa.StringArray
) -> tuple[list[Row], dict[int, str]]:
    """The rows of single events, empty for those that are refused."""
    rows: list[Row] = []
    refused = {}
    binary = texts.cast(pa.binary())
    for position in positions:
        try:
            rows.append(row_of(binary[position].as_py() or b"", ids[position].as_py()))
        except UndecodableError as error:
            rows.append({})
            refused[position] = str(error)
    return rows, refused


class _Plain:
    """The columns of plain events.

    Attributes:
        members: What they consist of.
        fits: Of each, whether its values are such as their columns take.
    """

    def __init__(self, found: Members, ids: pa.StringArray) -> None:
        self.members = found
        self.fits: Flags = np.ones(len(found.plain), bool)
        self._ids = ids.take(pa.array(found.plain))
        self._blank = np.diff(buffers(found.texts)[0]) == 0
        self._blank[1:] &= found.texts.is_valid().to_numpy(zero_copy_only=False)[1:]
        self._nothing = np.zeros(len(found.plain), np.int32)

    def columns(self) -> dict[str, Any]:
        """The columns; what they hold of events that do not fit means nothing."""
        at, unused = {}, {}
        for field in TEXT_FIELDS:
            chosen = self._at(field.source[0])
            for source in field.source[1:]:
                other, blank = self._at(source), self._blank[chosen]
                unused[source] = np.where(blank, 0, other)
                chosen = np.where(blank, other, chosen)
            at[field.name] = chosen
        at |= {source: self._at(source) for source in (*ADDRESS_SOURCES, "id")}
        columns = self._texts(at)
        for field in TEXT_FIELDS:
            if field.html:
                columns[field.name] = texts_of(columns[field.name])
        for source in ADDRESS_SOURCES:
            self._require(_checked(columns[source], lambda text: not text or is_address(text)))
        staged = pc.equal(columns.pop("id"), self._ids)
        self._require(staged.fill_null(fill_value=True).to_numpy(zero_copy_only=False))
        columns["critical"] = self._critical()
        columns["extras"] = self._extras(
            {source: at for source, at in unused.items() if source not in _FIRST}
        )
        return columns

    def _require(self, fits: Flags) -> None:
        self.fits &= fits

    def _at(self, key: str) -> Elements:
        """Where the values of a key are."""
        row = self.members.keys.get(key)
        return self._nothing if row is None else self.members.at[row]

    def _texts(self, at: dict[str, Elements]) -> dict[str, Any]:
        """Columns of texts, null where there is none; another value does not fit."""
        elements = np.stack(list(at.values()))
        texts = pc.take(self.members.texts, pa.array(elements.reshape(-1)), boundscheck=False)
        if texts.null_count > elements.size - np.count_nonzero(elements):
            valid = texts.is_valid().to_numpy(zero_copy_only=False).reshape(elements.shape)
            self._require((valid | (elements == 0)).all(axis=0))
        count = elements.shape[1]
        return {name: texts.slice(row * count, count) for row, name in enumerate(at)}

    def _critical(self) -> pa.BooleanArray:
        values = self.members.values.take(pa.array(self._at("critical"))).dictionary_encode()
        texts = [value.strip('"').lower() for value in values.dictionary.to_pylist()]
        booleans = pa.array([BOOLEANS.get(text) for text in texts], pa.bool_())
        self._require(_checked(values, lambda text: text.strip('"').lower() in {*BOOLEANS, ""}))
        return booleans.take(values.indices)

    def _extras(self, unused: dict[str, Elements]) -> pa.StringArray:
        """The members without a column, as compact JSON with sorted keys; null without any."""
        names = [name for name in self.members.keys if name not in _TAKEN or name in unused]
        count = len(self.members.plain)
        at = np.empty((count, len(names)), np.int32)
        for column, name in enumerate(names):
            at[:, column] = unused.get(name, self._at(name))
        event, member = np.nonzero(at)
        # each key as the first of its object, and as a later one
        keys = pa.array([f'{mark}"{name}":' for name in names for mark in "{,"], pa.string())
        index = np.empty(2 * len(event), np.int32)
        index[::2] = 2 * member + (np.diff(event, prepend=-1) == 0)
        index[1::2] = len(keys) + at[event, member]
        pieces = pa.concat_arrays([keys, self.members.values]).take(pa.array(index))
        ends = np.searchsorted(event, np.arange(count + 1))
        offsets, data = buffers(pieces)
        objects = slices(data, offsets[2 * ends])
        nothing = pa.scalar(None, pa.string())
        objects = pc.if_else(pa.array(np.diff(ends) > 0), objects, nothing)
        return pc.binary_join_element_wise(objects, "}", "")


def _checked(column: Any, check: Callable[[str], bool]) -> Flags:
    """Which texts pass a check, of each different text once; null does."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    passed = np.array([check(text) for text in encoded.dictionary.to_pylist()], bool)
    if not len(passed):
        return np.ones(len(column), bool)
    missing = encoded.indices.is_null().to_numpy(zero_copy_only=False)
    flags: Flags = missing | passed[encoded.indices.fill_null(0).to_numpy()]
    return flags
