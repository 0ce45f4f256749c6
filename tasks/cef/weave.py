"""Lines out of columns, by one gather.

The values of an Arrow string array lie end to end in one buffer. So if every piece of every
line (constants, keys, values) is put into one array, and the pieces are then taken from it in
reading order, each line is already there as a run of bytes: a line begins at every n-th offset,
and nothing is left to join. That costs about a fifth of an element-wise join of the same pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.cef.escape import Bytes, Escape

ELLIPSIS = "…"

_ABSENT, _PRESENT, _FIRST = 0, 1, 2
_FORMS = 3
_NO_LIMIT = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Slot:
    """A place in the line, and its values.

    `values` holds one value a row, null where there is none; `before` and `after` stand around
    a value. A value longer than `limit` characters is cut. `escape` is None for values that
    cannot hold anything to escape (numbers, times). Where `always` is set, `before` and `after`
    stand even without a value, and no separator goes before them.
    """

    values: pa.StringArray
    before: str = ""
    after: str = ""
    escape: Escape | None = None
    limit: int | None = None
    always: bool = False


@dataclass(frozen=True)
class Woven:
    """Lines, one a row, and what they are made of.

    `pieces` has the same number of pieces for every line: a constant first, then by turns a
    value of the slot and the constant after it. `slots` are those that any row has a value for.
    """

    lines: pa.StringArray
    cut: npt.NDArray[np.bool_]
    pieces: pa.StringArray
    slots: Sequence[Slot]


def weave(slots: Sequence[Slot], *, separator: str, keep_empty: bool = False) -> Woven:
    """Make one line a row: the slots in their order, `separator` between those with a value.

    An empty value counts as none unless `keep_empty`. There is at least one slot, and the sum
    of all values is below 1 GiB.
    """
    rows = len(slots[0].values)
    slots = [slot for slot in slots if slot.always or slot.values.null_count < rows]
    # slots with the same rules side by side, so that each rule is looked for in one run of bytes
    rules = {id(slot.escape): slot.escape for slot in slots}
    ordered = sorted(range(len(slots)), key=lambda at: list(rules).index(id(slots[at].escape)))
    columns = [slots[at] for at in ordered]

    values = pa.concat_arrays([slot.values for slot in columns])
    offsets, data = _offsets(values), _data(values)
    lengths = np.diff(offsets).reshape(len(columns), rows)
    present = _valid(values).reshape(lengths.shape)
    if not keep_empty:
        present &= lengths > 0

    source = np.arange(len(values), dtype=np.int32)
    limits = np.array([slot.limit or _NO_LIMIT for slot in columns], np.int32)
    long = np.flatnonzero((lengths > limits[:, None]) & present)
    cut = np.zeros(rows, bool)
    patches: list[pa.StringArray] = []
    patched = len(values)
    first = 0
    for _, members in groupby(columns, key=lambda slot: id(slot.escape)):
        group = list(members)
        last = first + len(group)
        elements, found = _suspects(group[0].escape, offsets, data, first * rows, last * rows)
        group_long = long[(long >= first * rows) & (long < last * rows)]
        if len(group_long):
            elements = np.union1d(elements, group_long)
        elements = elements[present.ravel()[elements]]
        if len(elements):
            texts = values.take(pa.array(elements))
            if len(group_long):
                texts, over = _shorten(texts, limits[elements // rows])
                cut[elements[over] % rows] = True
            if group[0].escape is not None:
                texts = group[0].escape.apply(texts, found)
            patches.append(texts)
            source[elements] = np.arange(patched, patched + len(elements), dtype=np.int32)
            patched += len(elements)
        first = last

    gaps = _gaps(tuple((slot.before, slot.after, slot.always) for slot in slots), separator)
    pool = pa.concat_arrays([gaps, values, *patches])
    source = np.where(present, source.reshape(lengths.shape) + np.int32(len(gaps)), np.int32(0))
    in_slot_order = np.argsort(ordered)

    index = np.empty((rows, 2 * len(slots) + 1), np.int32)
    index[:, 1::2] = source[in_slot_order].T
    index[:, 0::2] = _gap_index(slots, present[in_slot_order]).T
    pool = pa.StringArray.from_buffers(len(pool), *pool.buffers()[1:])
    pieces = pc.take(pool, pa.array(index.reshape(-1)), boundscheck=False)
    starts = np.ascontiguousarray(_offsets(pieces)[:: index.shape[1]])
    lines = pa.StringArray.from_buffers(rows, pa.py_buffer(starts), pieces.buffers()[2])
    return Woven(lines, cut, pieces, slots)


def _offsets(array: pa.StringArray) -> npt.NDArray[np.int32]:
    return np.frombuffer(array.buffers()[1], np.int32, len(array) + 1)


def _data(array: pa.StringArray) -> Bytes:
    buffer = array.buffers()[2]
    return np.empty(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)


def _valid(array: pa.StringArray) -> npt.NDArray[np.bool_]:
    bitmap = array.buffers()[0]
    if bitmap is None:
        return np.ones(len(array), bool)
    bits = np.frombuffer(bitmap, np.uint8)
    return np.unpackbits(bits, count=len(array), bitorder="little").view(bool)


def _suspects(
    escape: Escape | None,
    offsets: npt.NDArray[np.int32],
    data: Bytes,
    start: int,
    stop: int,
) -> tuple[npt.NDArray[np.int64], Bytes]:
    """Elements from `start` to `stop` that may need escaping, and the bytes that say so."""
    if escape is None:
        return np.empty(0, np.int64), np.empty(0, np.uint8)
    span = data[offsets[start] : offsets[stop]]
    positions = escape.find(span)
    ends = offsets[start + 1 : stop + 1] - offsets[start]
    return start + np.unique(np.searchsorted(ends, positions, side="right")), span[positions]


def _shorten(
    texts: pa.StringArray, limits: npt.NDArray[np.int32]
) -> tuple[pa.StringArray, npt.NDArray[np.bool_]]:
    """Cut what is longer than its limit in characters; say which ones were."""
    over = pc.utf8_length(texts).to_numpy(zero_copy_only=False) > limits
    for limit in np.unique(limits[over]).tolist():
        cut = pc.utf8_slice_codeunits(texts, 0, limit - 1)
        cut = pc.binary_join_element_wise(cut, ELLIPSIS, "")
        texts = pc.if_else(pa.array(over & (limits == limit)), cut, texts)
    return texts, over


@lru_cache(maxsize=256)
def _gaps(slots: tuple[tuple[str, str, bool], ...], separator: str) -> pa.StringArray:
    """Every constant that can stand before, between and after the slots.

    Element 0 is empty. From element 1 + 9 * gap on: what stands there for each form of the slot
    before (absent, present, first of those with a separator) and each of the slot after.
    """
    befores = [
        ("", text, text) if always else ("", separator + text, text) for text, _, always in slots
    ]
    afters = [("", text, text) for _, text, _ in slots]
    nothing = ("", "", "")
    return pa.array(
        [
            "",
            *(
                after + before
                for ends, begins in zip([nothing, *afters], [*befores, nothing], strict=True)
                for after in ends
                for before in begins
            ),
        ],
        pa.string(),
    )


def _gap_index(slots: Sequence[Slot], present: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Element of `_gaps` for every gap (axis 0) and row (axis 1)."""
    forms = np.zeros((len(slots) + 2, present.shape[1]), np.int32)
    inner = forms[1:-1]
    inner[:] = present
    always = np.array([slot.always for slot in slots])
    inner[always] = _PRESENT
    pairs = np.flatnonzero(~always)
    if len(pairs) and present[pairs[0]].all():
        inner[pairs[0]] = _FIRST
    elif len(pairs):
        rows = np.flatnonzero(present[pairs].any(axis=0))
        inner[pairs[present[pairs].argmax(axis=0)[rows]], rows] = _FIRST
    base = 1 + _FORMS**2 * np.arange(len(slots) + 1, dtype=np.int32)
    return base[:, None] + np.int32(_FORMS) * forms[:-1] + forms[1:]
