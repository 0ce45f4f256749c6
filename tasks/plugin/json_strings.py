"""Where the strings of JSON texts are, and other bytes of texts, for many texts at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Positions = npt.NDArray[np.int64]
Elements = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

_BLOCK = 1 << 18
"""Bytes that are searched at a time: fewer than a processor's second cache holds."""


class Strings(NamedTuple):
    """The strings of texts that lie end to end.

    Attributes:
        data: The texts.
        opening: Of each string, its first quote.
        closing: Its second one.
        escaped: The strings with a backslash.
        counts: Of each text, how many strings it has.
    """

    data: Bytes
    opening: Elements
    closing: Elements
    escaped: Positions
    counts: Positions

    def pieces(self, quotes: int) -> pa.StringArray:
        """By turns each string, with or without its two quotes, and what is behind it."""
        ends = np.empty(2 * len(self.opening) + 1, np.int32)
        ends[:-1:2] = self.opening + (1 - quotes)
        ends[1::2] = self.closing + quotes
        ends[-1] = len(self.data)
        return slices(self.data, ends)


def buffers(texts: pa.StringArray) -> tuple[Elements, Bytes]:
    """The ends of texts, beginning with 0, and their bytes."""
    _, ends, data = texts.buffers()
    if data is None or not len(texts):
        return np.zeros(len(texts) + 1, np.int32), np.empty(0, np.uint8)
    offsets = np.frombuffer(ends, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return offsets - offsets[0], np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]


def slices(data: Bytes, ends: Elements) -> pa.StringArray:
    """The texts between each two ends, without copying them."""
    return pa.StringArray.from_buffers(len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(data))


def every_second(count: int, first: int) -> pa.Array:
    """Every second position below `count`, beginning with `first`."""
    return pa.array(np.arange(first, count, 2, dtype=np.int32))


def find(data: Bytes, *wanted: str) -> Elements:
    """The positions of some ASCII characters, ascending."""
    found = [np.empty(0, np.int32)]
    size = min(len(data), _BLOCK)
    marks, more = np.empty(size, bool), np.empty(size, bool)
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        marked, others = marks[: len(block)], more[: len(block)]
        np.equal(block, ord(wanted[0]), out=marked)
        for character in wanted[1:]:
            np.equal(block, ord(character), out=others)
            np.logical_or(marked, others, out=marked)
        found.append((np.flatnonzero(marked) + start).astype(np.int32))
    return np.concatenate(found)


def find_strings(texts: pa.StringArray) -> tuple[Strings, Flags]:
    """The strings, and which texts have an odd number of quotes; if any, nothing else holds.

    Args:
        texts: None of them begins with a quote, or ends in a backslash.
    """
    offsets, data = buffers(texts)
    marks = find(data, '"', "\\")
    is_quote = data[marks] == ord('"')
    quotes, backslashes = marks[is_quote], marks[~is_quote]
    if len(backslashes):
        suspects = np.flatnonzero(data[quotes - 1] == ord("\\"))
        escaped = _is_escaped(quotes[suspects], backslashes)
        quotes = np.delete(quotes, suspects[escaped])
    counts = np.diff(np.searchsorted(quotes, offsets))
    opening, closing = quotes[::2].copy(), quotes[1::2].copy()
    spelled = np.searchsorted(opening, backslashes, side="right") - 1
    spelled = spelled[np.diff(spelled, prepend=-1) > 0]
    return Strings(data, opening, closing, spelled, counts // 2), counts % 2 > 0


def _is_escaped(quotes: Elements, backslashes: Elements) -> Flags:
    """Which of the quotes behind a backslash have an odd number of them right before."""
    starts = backslashes[np.diff(backslashes, prepend=-2) > 1]
    run = np.searchsorted(starts, quotes) - 1
    escaped: Flags = (quotes - starts[run]) % 2 > 0
    return escaped
