"""A CEF parser written from the specification, sharing nothing with the renderer.

Strict: what the specification does not allow is an error, not a guess.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

HEADER = ("version", "vendor", "product", "device_version", "signature_id", "name", "severity")

_HEADER_FIELD = re.compile(r"((?:\\[\\|]|[^\\|])*)\|")
_KEY = re.compile(r"(?:^| )([A-Za-z][A-Za-z0-9]*)=")
_VALUE = re.compile(r"(?:\\[\\=nr]|[^\\=])*")
_UNESCAPED = {"\\\\": "\\", "\\=": "=", "\\n": "\n", "\\r": "\r"}

_REPLACED = {
    "\u2028",
    "\u2029",
    "\ufeff",
    *map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]),
}


def is_forbidden(character: str) -> bool:
    """Say whether no line may hold a character: Unicode Cc, separators, byte order mark, bidi."""
    return unicodedata.category(character) == "Cc" or character in _REPLACED


class Decoded(NamedTuple):
    """A line's header by the names of `HEADER`, and its pairs in their order."""

    header: dict[str, str]
    pairs: list[tuple[str, str]]


def decode(line: str) -> Decoded:
    """Parse a CEF line.

    Raises:
        ValueError: the line is not CEF, or holds a character that no line may hold.
    """
    for character in line:
        if is_forbidden(character):
            raise ValueError(f"forbidden character {character!r}")
    if not line.startswith("CEF:"):
        raise ValueError("no CEF header")
    at = len("CEF:")
    fields = []
    for _ in HEADER:
        field = _HEADER_FIELD.match(line, at)
        if field is None:
            raise ValueError(f"header ends early, at {at}")
        fields.append(re.sub(r"\\(.)", r"\1", field[1]))
        at = field.end()
    return Decoded(dict(zip(HEADER, fields, strict=True)), _pairs(line[at:]))


def _pairs(extension: str) -> list[tuple[str, str]]:
    """Split at the equals signs that no backslash precedes: each belongs to a key."""
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(extension):
        key = _KEY.match(extension, at)
        if key is None:
            raise ValueError(f"no key at {at} of {extension!r}")
        span = _VALUE.match(extension, key.end())
        assert span is not None
        end = span.end()
        if end < len(extension):
            # what stands before the next key belongs to this value, but for one space
            end = extension.rfind(" ", key.end(), end)
        if end < 0 or (span.end() < len(extension) and extension[span.end()] != "="):
            raise ValueError(f"value of {key[1]} is not escaped: {extension!r}")
        value = re.sub(r"\\.", lambda hit: _UNESCAPED[hit[0]], extension[key.end() : end])
        pairs.append((key[1], value))
        at = end
    return pairs
