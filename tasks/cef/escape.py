"""Characters that a value may not hold inside a line, and their replacements.

The rules are data: a format has one `Escape` for each kind of place that a value can take.
Most values need no escaping, and only that case has to be fast: a whole column is searched as
bytes, without looking at its rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REPLACEMENT = "\ufffd"

FORBIDDEN = r"[\x00-\x1f\x7f-\x{9f}\x{2028}\x{2029}\x{feff}\x{202a}-\x{202e}\x{2066}-\x{2069}]"
"""Characters that receivers split, truncate or reorder on (RE2 syntax): Unicode Cc, line and
paragraph separator, byte order mark, bidirectional controls."""

_FORBIDDEN_CHARACTERS = re.compile(
    re.sub(r"\\x\{(\w+)\}", lambda hit: chr(int(hit[1], 16)), FORBIDDEN)
)
_FORBIDDEN_FIRST_BYTES = bytes([*range(0x20), 0x7F, 0xC2, 0xE2, 0xEF])

_BLOCK = 1 << 18  # bytes: with two arrays of marks as long, what the second cache can hold
_SPACE = np.uint8(0x20)
_PRINTABLE = np.uint8(0x7E - 0x20)

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]


def holds(texts: pa.StringArray, byte: bytes) -> bool:
    """Say whether any of `texts` holds `byte`, without looking at the rows."""
    _, ends, data = texts.buffers()
    if data is None:
        return False
    offsets = np.frombuffer(ends, np.int32)
    start, stop = offsets[texts.offset], offsets[texts.offset + len(texts)]
    return bool((np.frombuffer(data, np.uint8)[start:stop] == ord(byte)).any())


def replace_forbidden(texts: pa.StringArray) -> pa.StringArray:
    """Put U+FFFD in place of every forbidden character."""
    return pc.replace_substring_regex(texts, FORBIDDEN, REPLACEMENT)


def spell_out_forbidden(texts: pa.StringArray) -> pa.StringArray:
    r"""Spell every forbidden character as JSON does (`\u202e`, RFC 8259 section 7)."""
    spelled = [
        None
        if text is None
        else _FORBIDDEN_CHARACTERS.sub(lambda hit: f"\\u{ord(hit[0]):04x}", text)
        for text in texts.to_pylist()
    ]
    return pa.array(spelled, pa.string())


@dataclass(frozen=True)
class Escape:
    """The rules for the values of one kind of place in a line.

    `replaced` maps at most 15 ASCII characters to their replacements, in the order in which they
    are replaced. `forbidden` then replaces the characters of `FORBIDDEN` that are left.
    """

    replaced: Mapping[str, str]
    forbidden: Callable[[pa.StringArray], pa.StringArray] = replace_forbidden

    @cached_property
    def _specials(self) -> list[np.uint8]:
        return [np.uint8(ord(special)) for special in self.replaced if " " < special < "\x7f"]

    @cached_property
    def _kinds(self) -> npt.NDArray[np.uint16]:
        """Tasks by byte, as bits: bit 0 means `forbidden`, the next ones each of `replaced`."""
        table = np.zeros(256, np.uint16)
        table[list(_FORBIDDEN_FIRST_BYTES)] = 1
        for at, character in enumerate(self.replaced):
            table[ord(character)] = 2 << at
        return table

    def find(self, data: Bytes) -> tuple[Positions, npt.NDArray[np.uint16]]:
        """Find the bytes of UTF-8 `data` that need escaping, or may need it.

        Returns their positions, ascending, and the tasks of each, as bits. `apply` takes the
        bits of a whole text, or-ed.
        """
        found = [np.empty(0, np.int64)]
        size = min(len(data), _BLOCK)
        low = np.empty(size, np.uint8)
        suspect, special = np.empty(size, bool), np.empty(size, bool)
        for start in range(0, len(data), _BLOCK):
            block = data[start : start + _BLOCK]
            low, suspect, special = low[: len(block)], suspect[: len(block)], special[: len(block)]
            # one comparison for both ends of printable ASCII: the subtraction wraps around
            np.subtract(block, _SPACE, out=low)
            np.greater(low, _PRINTABLE, out=suspect)
            for byte in self._specials:
                np.equal(block, byte, out=special)
                np.logical_or(suspect, special, out=suspect)
            if suspect.any():
                found.append(np.flatnonzero(suspect) + start)
        positions = np.concatenate(found)
        kinds = self._kinds[data[positions]]
        return positions[kinds > 0], kinds[kinds > 0]

    def apply(self, texts: pa.StringArray, kinds: int) -> pa.StringArray:
        """Escape `texts`, all of which need exactly the tasks in `kinds`."""
        for at, (character, replacement) in enumerate(self.replaced.items()):
            if kinds & (2 << at):
                texts = pc.replace_substring(texts, character, replacement)
        return self.forbidden(texts) if kinds & 1 else texts
