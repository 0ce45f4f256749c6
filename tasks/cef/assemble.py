"""Assembles lines from columns by one gather operation.

The values of an Arrow string array lie end to end in one buffer. So if every piece of every
line (constants, keys, values) is put into one array, and the pieces are then taken from it in
reading order, each line is already there as a run of bytes: a line begins at every n-th offset,
and nothing is left to join. This takes half the time of an element-wise join of the same pieces.
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
    from collections.abc import Iterator, Sequence

    from tasks.cef.escape import Bytes, Escape

ELLIPSIS = "…"

_FORMS = 3  # a place is absent (0), present (1), or the first with a separator (2)
_FIRST = 2
_BATCH_ROWS = 8192
_BATCH_BYTES = 8 << 20
_NO_LIMIT = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Place:
    """A place in the line, which a column's values take.

    `before` and `after` stand around a value. A value longer than `limit` characters is cut.
    Where `always` is set, `before` and `after` stand even without a value, and no separator
    goes before them.
    """

    before: str
    after: str
    escape: Escape
    limit: int | None = None
    always: bool = False


@dataclass(frozen=True)
class Assembled:
    """Lines, one a row, and the pieces that they consist of.

    `pieces` has the same number of pieces for every line: a constant first, then by turns the
    value of a place and the constant after it. `places` are those that any row has a value for.
    """

    lines: pa.StringArray
    cut: npt.NDArray[np.bool_]
    pieces: pa.StringArray
    places: Sequence[Place]


def assemble(
    places: Sequence[Place],
    columns: Sequence[pa.StringArray],
    *,
    separator: str,
    head: str = "",
    tail: str = "",
    keep_empty: bool = False,
) -> Assembled:
    """Make one line a row: a column's value in each place, `separator` between those with one.

    `head` and `tail` begin and end every line. Null is no value, and neither is an empty one
    unless `keep_empty`. Places with `always` come first. The columns are those of one of
    `small_batches`, so that no offset overflows.
    """
    rows = len(columns[0])
    # of places that no row fills, one is kept: there may be no other
    used = [
        at for at, place in enumerate(places) if place.always or columns[at].null_count < rows
    ] or [0]
    places = tuple(places[at] for at in used)
    values = pa.concat_arrays([columns[at] for at in used])
    lengths = np.diff(_offsets(values)).reshape(len(places), rows)
    present = _valid(values).reshape(lengths.shape)
    if not keep_empty:
        present &= lengths > 0

    gaps = _gaps(places, separator, head, tail)
    elements, patches, cut = _patches(places, values, lengths, present)
    pool = pa.concat_arrays([gaps, values, *patches])
    # a null's bytes, if it has any, are not to be taken: what is absent is element 0, empty
    source = np.arange(len(gaps), len(gaps) + len(values), dtype=np.int32)
    source[elements] = np.arange(len(pool) - len(elements), len(pool), dtype=np.int32)
    source *= present.reshape(-1)

    index = np.empty((rows, 2 * len(places) + 1), np.int32)
    # a column at a time: numpy is slower at assigning a transposed matrix
    for at, of_value in enumerate(source.reshape(lengths.shape)):
        index[:, 2 * at + 1] = of_value
    for at, of_gap in enumerate(_gap_index(places, present)):
        index[:, 2 * at] = of_gap
    pool = pa.StringArray.from_buffers(len(pool), *pool.buffers()[1:])
    pieces = pc.take(pool, pa.array(index.reshape(-1)), boundscheck=False)
    starts = np.ascontiguousarray(_offsets(pieces)[:: index.shape[1]])
    lines = pa.StringArray.from_buffers(rows, pa.py_buffer(starts), pieces.buffers()[2])
    return Assembled(lines, cut, pieces, places)


def small_batches(events: pa.Table | pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut `events` into batches that a processor's cache can hold, none of them empty.

    Smaller ones are put together. A batch has one row, or at most `_BATCH_BYTES`.
    """
    table = pa.Table.from_batches([events]) if isinstance(events, pa.RecordBatch) else events
    gathered: list[pa.RecordBatch] = []
    rows = size = 0
    pending = table.to_batches(max_chunksize=_BATCH_ROWS)[::-1]
    while pending:
        batch = pending.pop()
        more = batch.nbytes
        if more > _BATCH_BYTES and batch.num_rows > 1:
            half = batch.num_rows // 2
            pending += [batch.slice(half), batch.slice(0, half)]
            continue
        if gathered and (rows + batch.num_rows > _BATCH_ROWS or size + more > _BATCH_BYTES):
            yield _together(gathered)
            gathered, rows, size = [], 0, 0
        if batch.num_rows:
            gathered.append(batch)
            rows += batch.num_rows
            size += more
    if gathered:
        yield _together(gathered)


def _together(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


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


def _patches(
    places: Sequence[Place],
    values: pa.StringArray,
    lengths: npt.NDArray[np.int32],
    present: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int64], list[pa.StringArray], npt.NDArray[np.bool_]]:
    """Find the values that can't stay as they are.

    Returns their elements in `values`, what takes their place, and the rows where that is a cut.
    """
    rows = lengths.shape[1]
    offsets, data = _offsets(values), _data(values)
    limits = np.array([place.limit or _NO_LIMIT for place in places], np.int32)
    long = np.zeros(len(values), bool)
    # no more bytes than the limit is no more characters either
    for at in np.flatnonzero(lengths.max(axis=1, initial=0) > limits).tolist():
        long[at * rows : (at + 1) * rows] = lengths[at] > limits[at]

    elements, patches, cut = [np.empty(0, np.int64)], [], np.zeros(rows, bool)
    start = 0
    for escape, members in groupby(places, key=lambda place: place.escape):
        stop = start + rows * len(list(members))
        positions, kinds = escape.find(data[offsets[start] : offsets[stop]])
        positions += offsets[start]
        found = start + np.searchsorted(offsets[start + 1 : stop + 1], positions, side="right")
        firsts = np.flatnonzero(np.diff(found, prepend=-1))
        needy = found[firsts]
        needs = np.bitwise_or.reduceat(kinds, firsts) if len(firsts) else kinds
        too_long = start + np.flatnonzero(long[start:stop])
        if len(too_long):
            merged = np.union1d(needy, too_long)
            merged_needs = np.zeros(len(merged), kinds.dtype)
            merged_needs[np.searchsorted(merged, needy)] = needs
            needy, needs = merged, merged_needs
        # texts that need the same are escaped together, and spared the rest
        for kind in np.unique(needs).tolist():
            same = needy[(needs == kind) & present.reshape(-1)[needy]]
            texts = values.take(pa.array(same))
            if len(too_long):
                texts, over = _shorten(texts, limits[same // rows])
                cut[same[over] % rows] = True
            patches.append(escape.apply(texts, kind))
            elements.append(same)
        start = stop
    return np.concatenate(elements), patches, cut


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
def _gaps(places: tuple[Place, ...], separator: str, head: str, tail: str) -> pa.StringArray:
    """Every constant that can stand before, between and after the places.

    Element 0 is empty. From element 1 + 9 * gap on: what stands there for each form of the place
    before (absent, present, first of those with a separator) and each of the place after.
    """
    befores = [
        (place.before,) * _FORMS if place.always else ("", separator + place.before, place.before)
        for place in places
    ]
    afters = [
        (place.after,) * _FORMS if place.always else ("", place.after, place.after)
        for place in places
    ]
    constants = [
        after + before
        for ends, begins in zip(
            [(head,) * _FORMS, *afters], [*befores, (tail,) * _FORMS], strict=True
        )
        for after in ends
        for before in begins
    ]
    return pa.array(["", *constants], pa.string())


def _gap_index(places: Sequence[Place], present: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Element of `_gaps` for every gap (axis 0) and row (axis 1)."""
    forms = np.zeros((len(places) + 2, present.shape[1]), np.int8)
    inner = forms[1:-1]
    inner[:] = present
    first = sum(place.always for place in places)
    if first < len(places):
        if present[first].all():
            inner[first] = _FIRST
        else:
            rows = np.flatnonzero(present[first:].any(axis=0))
            inner[first + present[first:].argmax(axis=0)[rows], rows] = _FIRST
    base = 1 + _FORMS**2 * np.arange(len(places) + 1, dtype=np.int32)
    return base[:, None] + (forms[:-1] * np.int8(_FORMS) + forms[1:])
