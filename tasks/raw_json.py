"""Cuts JSON text into the texts of its members or elements, without decoding their values.

This is slower than a decoder, and accepts what a decoder would refuse or change: numbers of any
size, duplicate keys, lone surrogates, any depth.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARKS = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},:]', re.DOTALL)
_CLOSES = {b"{": b"}", b"[": b"]"}
_BLANK = b" \t\r\n"


class NotJson(ValueError):  # noqa: N818 - reads as a sentence
    """The text is not the object or array that was expected."""


def members(text: bytes) -> dict[str, bytes]:
    """The members of an object, from key to the text of its value; of equal keys, the last counts.

    Raises:
        NotJson: The text is no object, or is cut off.
    """
    found: dict[str, bytes] = {}
    for start, stop, colon in _split(text, b"{"):
        if colon is None:
            raise NotJson("a member of an object has no key")
        try:
            key = json.loads(text[start:colon].decode("utf-8", "replace"), strict=False)
        except (ValueError, RecursionError):
            key = None
        if not isinstance(key, str):
            raise NotJson("a key of an object is no string")
        found[key] = text[colon + 1 : stop].strip(_BLANK)
    return found


def elements(text: bytes) -> list[bytes]:
    """The texts of an array's elements.

    Raises:
        NotJson: The text is no array, or is cut off.
    """
    return [text[start:stop].strip(_BLANK) for start, stop, _ in _split(text, b"[")]


def _split(text: bytes, opening: bytes) -> Iterator[tuple[int, int, int | None]]:
    """The start, end and colon of each member or element within the outermost brackets."""
    text = text.rstrip(_BLANK)
    begin = len(text) - len(text.lstrip(_BLANK))
    kind = "object" if opening == b"{" else "array"
    if text[begin : begin + 1] != opening:
        raise NotJson(f"it is no {kind}")
    start, colon = begin + 1, None
    for mark, at in _outermost(text, begin):
        if mark == b":":
            colon = colon or at
            continue
        if mark == b"," or text[start:at].strip(_BLANK):
            yield start, at, colon
        start, colon = at + 1, None
    if start != len(text):
        raise NotJson(f"something follows the {kind}")


def _outermost(text: bytes, begin: int) -> Iterator[tuple[bytes, int]]:
    """The commas and colons directly within the outermost brackets, and the closing bracket."""
    # one byte for each level: hostile text may have millions of levels
    open_brackets = bytearray()
    for match in _MARKS.finditer(text, begin):
        mark = match.group()
        if mark in _CLOSES:
            open_brackets += _CLOSES[mark]
        elif mark in _CLOSES.values():
            if open_brackets.pop() != ord(mark):
                raise NotJson("its brackets do not match")
            if not open_brackets:
                yield mark, match.start()
                return
        elif len(open_brackets) == 1 and not mark.startswith(b'"'):
            yield mark, match.start()
    raise NotJson("it is cut off")
