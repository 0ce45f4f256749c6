"""Cuts the JSON of many events into keys and values at once, without a Python object for each.

Outside of its strings, JSON has few different pieces, such as `":"`, `","` or `":null,"`. So the
texts of a thousand events, end to end, are cut at their quotes: every other piece is the content of
a string, and what is between two strings is one of some dozens of texts. Each of these is looked at
once, and says what the strings before and after it are (`_Between`); numbers, literals and brackets
are in these texts, too. An event is JSON where each piece follows from the one before.

Only plain events are cut: an object whose values are strings, numbers, booleans, null, or lists
and objects of such, with no key twice. `tasks.plugin.decode` reads any other.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tasks.plugin.decode import compact, has_float
from tasks.plugin.json_strings import (
    Elements,
    Flags,
    Positions,
    Strings,
    buffers,
    every_second,
    find_strings,
    slices,
)

LONGEST_TEXT = 1024 * 1024
"""Bytes of an event that is cut."""
MOST_KEYS = 512
"""Different keys of the events that are cut together."""

# What a string is. A piece between two strings leads from one to the other, or to the event's end.
_KEY, _VALUE, _NESTED, _END, _WRONG = range(5)

_BETWEEN = re.compile(
    r"""
    "\ *(?:
        :\ *(?:
            (?P<string>")
            | (?P<literal>[^\[\]{},\ "]+|[\[{][^"]*[\]}])\ *(?:,\ *"|(?P<end>\}(?:\{")?))
            | (?P<opening>[\[{])[^"]*"
        )
        | ,\ *"
        | (?P<last>\}(?:\{")?)
        | (?P<closing>[^"]*[\]}])\ *(?:,\ *"|(?P<final>\}(?:\{")?))
    )""",
    re.VERBOSE,
)
_MANY_BRACKETS = 100
"""As in `tasks.plugin.decode`."""

_ABSENT, _NULL, _FIRST = range(3)

States = npt.NDArray[np.int8]


class Members(NamedTuple):
    """The members of plain events.

    Attributes:
        plain: The positions of these events, ascending; of all others nothing is known.
        keys: The row of `at` for each key, in the order of the keys' bytes.
        at: By key and plain event, the element of `texts` and `values` that holds the value; 0
            where the key is missing or its value null.
        texts: The text of each string, null for any other value.
        values: The compact JSON of each value, keys sorted, text unescaped.
    """

    plain: Positions
    keys: dict[str, int]
    at: Elements
    texts: pa.StringArray
    values: pa.StringArray


def members(texts: pa.StringArray) -> Members:
    """Cut those of the texts that are plain events."""
    plain = np.flatnonzero(_like_objects(texts))
    strings, unpaired = find_strings(texts.take(pa.array(plain)))
    if unpaired.any():
        plain = plain[~unpaired]
        strings, _ = find_strings(texts.take(pa.array(plain)))
    if not len(plain):
        nothing = pa.nulls(1, pa.string())
        return Members(plain, {}, np.empty((0, 0), np.int32), nothing, nothing)
    return _cut(strings, plain)


def _like_objects(texts: pa.StringArray) -> Flags:
    """Which texts may be plain: in braces, not too long, UTF-8, without control characters."""
    offsets, data = buffers(texts)
    size = np.diff(offsets)
    chosen: Flags = (size >= len('{"":0}')) & (size <= LONGEST_TEXT)
    if texts.null_count:
        chosen &= texts.is_valid().to_numpy(zero_copy_only=False)
    starts, ends = offsets[:-1][chosen], offsets[1:][chosen]
    chosen[chosen] = (
        (data[starts] == ord("{")) & (data[starts + 1] == ord('"')) & (data[ends - 1] == ord("}"))
    )
    if len(data) and data.min() < ord(" "):
        controls = np.flatnonzero(data < ord(" "))
        chosen[np.searchsorted(offsets, controls, side="right") - 1] = False
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        binary = texts.cast(pa.binary())
        for row in np.flatnonzero(chosen).tolist():
            text = binary[row].as_py()
            chosen[row] = text.decode(errors="replace").encode() == text
    return chosen


class _Between(NamedTuple):
    """What a piece between two strings says; it includes the quotes on both sides.

    Attributes:
        before: What the string before is, where that is not inside a list or object of the event.
        after: What the string after it is then.
        level: How many more lists and objects are open behind it, the event itself not counted.
        bracket: Where the bracket is that opens or closes a value of the event.
        literal: The compact JSON of the value in it, if there is one.
    """

    before: int
    after: int
    level: int = 0
    bracket: int = 0
    literal: str = ""


@lru_cache(maxsize=16_384)
def _between(piece: str) -> _Between:
    found = _BETWEEN.fullmatch(piece)
    if found is None:
        return _Between(_WRONG, _WRONG, _level(piece))
    if found["opening"]:
        return _Between(_KEY, _NESTED, _level(piece), found.start("opening"))
    if found["closing"]:
        after = _END if found["final"] else _KEY
        bracket = len(piece[: found.end("closing") - 1].encode())
        return _Between(_NESTED, after, _level(found["closing"]), bracket)
    after = _END if found["end"] or found["last"] else _KEY
    if found["literal"]:
        literal = _compact(found["literal"])
        return _Between(_WRONG if literal is None else _KEY, after, literal=literal or "")
    return _Between(*((_KEY, _VALUE) if found["string"] else (_VALUE, after)))


def _level(piece: str) -> int:
    return piece.count("[") + piece.count("{") - piece.count("]") - piece.count("}")


def _compact(value: str) -> str | None:
    """A value as compact JSON; None where that could change it, or it is no JSON."""
    if value.count("[") + value.count("{") > _MANY_BRACKETS:
        return None
    try:
        decoded = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    # a number that orjson reads as a float may have other digits than it writes
    exact = not has_float(decoded) or orjson.dumps(decoded).decode() == value
    return compact(decoded) if exact else None


def _cut(strings: Strings, plain: Positions) -> Members:
    content, quoted = strings.pieces(quotes=0), strings.pieces(quotes=1)
    between = content.take(every_second(len(content), 1)).dictionary_encode()
    kinds = [_between(piece) for piece in between.dictionary.to_pylist()]
    kind = between.indices.to_numpy()
    state, after, right = _states(strings, kinds, kind)
    event = np.repeat(np.arange(len(plain)), strings.counts)

    values = _Values(content, quoted)
    # of each string that is a key, the element of its value
    element = np.array([values.literal(each.literal) for each in kinds], np.int32)[kind]
    is_text = np.flatnonzero(after == _VALUE)
    element[is_text] = _FIRST + 2 * (is_text + 1)
    opened = np.flatnonzero((state == _KEY) & (after == _NESTED) & right[event])
    closed = np.flatnonzero((state == _NESTED) & (after != _NESTED) & right[event])
    if len(opened):
        bracket = strings.closing + np.array([each.bracket for each in kinds], np.int32)[kind]
        ends = np.stack((bracket[opened], bracket[closed] + 1), axis=1).reshape(-1)
        element[opened] = values.nested(slices(strings.data, ends))
        right[event[opened[element[opened] == _ABSENT]]] = False
    escaped = strings.escaped[right[event[strings.escaped]]]
    right[event[escaped[state[escaped] == _KEY]]] = False
    escaped = escaped[state[escaped] == _VALUE]
    if len(escaped):
        element[escaped - 1] = values.escaped(quoted.take(pa.array(2 * escaped)))
        right[event[escaped[element[escaped - 1] == _ABSENT]]] = False

    keys = np.flatnonzero((state == _KEY) & right[event])
    names, at = _table(content, keys, event, element, right)
    return Members(
        plain[right],
        {name: row for row, name in enumerate(names)},
        at[:, right],
        values.texts(),
        values.compact(),
    )


def _table(
    content: pa.StringArray, keys: Positions, event: Positions, element: Elements, right: Flags
) -> tuple[list[str], Elements]:
    """The keys in order, and the elements by key and event; not `right` where a key comes twice."""
    names = content.take(pa.array(2 * keys)).dictionary_encode()
    known, name = names.dictionary[:MOST_KEYS], names.indices.to_numpy()
    right[event[keys[name >= MOST_KEYS]]] = False
    keys, name = keys[name < MOST_KEYS], name[name < MOST_KEYS]
    order = pc.sort_indices(known).to_numpy()
    at = np.zeros((len(order), len(right)), np.int32)
    at[np.argsort(order)[name], event[keys]] = element[keys]
    right &= np.count_nonzero(at, axis=0) == np.bincount(event[keys], minlength=len(right))
    at[at == _NULL] = _ABSENT
    return known.take(pa.array(order)).to_pylist(), at


class _Values:
    """The elements that `Members.at` names: absent, null, the strings, and what else there is."""

    def __init__(self, content: pa.StringArray, quoted: pa.StringArray) -> None:
        self._content, self._quoted = content, quoted
        self._more_texts: list[str | None] = []
        self._more_compact: list[str] = []
        self._literals = {"": _ABSENT, "null": _NULL}

    def _add(self, text: str | None, json: str) -> int:
        self._more_texts.append(text)
        self._more_compact.append(json)
        return _FIRST + len(self._content) + len(self._more_texts) - 1

    def literal(self, json: str) -> int:
        """The element of a number, a literal, or a list or object without strings."""
        if json not in self._literals:
            self._literals[json] = self._add(None, json)
        return self._literals[json]

    def nested(self, pieces: pa.StringArray) -> Elements:
        """The elements of every second piece; `_ABSENT` where it is no list or object."""
        different = pieces.take(every_second(len(pieces), 0)).dictionary_encode()
        values = map(_compact, different.dictionary.to_pylist())
        elements = [_ABSENT if json is None else self._add(None, json) for json in values]
        found: Elements = np.array(elements, np.int32)[different.indices.to_numpy()]
        return found

    def escaped(self, quoted: pa.StringArray) -> list[int]:
        """The elements of strings with escapes; `_ABSENT` where one is wrong."""
        return [self._escaped(text) for text in quoted.to_pylist()]

    def _escaped(self, quoted: str) -> int:
        try:
            text = orjson.loads(quoted)
        except orjson.JSONDecodeError:
            return _ABSENT
        return self._add(text, compact(text))

    def texts(self) -> pa.StringArray:
        """The texts of all elements."""
        nulls = pa.nulls(_FIRST, pa.string())
        return pa.concat_arrays([nulls, self._content, pa.array(self._more_texts, pa.string())])

    def compact(self) -> pa.StringArray:
        """The JSON of all elements."""
        nulls = pa.nulls(_FIRST, pa.string())
        return pa.concat_arrays([nulls, self._quoted, pa.array(self._more_compact, pa.string())])


def _states(
    strings: Strings, kinds: list[_Between], kind: Elements
) -> tuple[States, States, Flags]:
    """What each string is, what comes after the piece behind it, and which events are right."""
    before = np.array([each.before for each in kinds], np.int8)[kind]
    after = np.array([each.after for each in kinds], np.int8)[kind]
    level = np.array([each.level for each in kinds], np.int32)[kind]
    last = np.cumsum(strings.counts) - 1
    first = last - strings.counts + 1
    depth = np.cumsum(level)
    depth -= np.repeat(depth[first] - level[first], strings.counts)
    within = (depth > 0) & (depth > level)
    before[within] = after[within] = _NESTED
    state = np.empty_like(after)
    state[1:], state[first] = after[:-1], _KEY
    right = np.logical_and.reduceat(before == state, first) & (after[last] == _END)
    return state, after, right
