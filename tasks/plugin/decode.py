"""An event's JSON text as Python values, none of them changed.

orjson is fast and exact for text, booleans, null and integers of 64 bits. An event with anything
else (floats, lists, objects, longer integers), or that orjson refuses (a lone surrogate escape), is
decoded by the standard library, its numbers kept as they are written.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

_PLAIN = frozenset((str, bool, int, type(None)))
_DIGITS_OF_INT64 = 18

# Every escape is matched, so that an escaped backslash before a "u" is not taken for one.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class UndecodableError(ValueError):
    """The text is no event: not JSON, not an object, nested too deeply. The message says which."""


def decode(text: bytes) -> dict[str, Any]:
    """The event's fields; of a key that comes twice, the last value, as JSON readers do.

    A lone surrogate becomes U+FFFD (UTF-8 cannot carry it), NaN and Infinity become their names, a
    number that Python would change becomes an `orjson.Fragment` of its text. Whatever is returned,
    `compact` can write.

    Raises:
        UndecodableError: there is nothing to go on with.
    """
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _decode_exactly(text)
    if type(fields) is dict and _PLAIN.issuperset(map(type, fields.values())):
        return fields
    return _decode_exactly(text)


def compact(value: object) -> str:
    """The value as compact JSON, keys sorted at every level, text unescaped."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _decode_exactly(text: bytes) -> dict[str, Any]:
    try:
        string = _ESCAPE.sub(_no_lone_surrogate, text.decode())
        fields = json.loads(
            string, parse_float=orjson.Fragment, parse_int=_integer, parse_constant=str
        )
    except UnicodeDecodeError as error:
        raise UndecodableError(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise UndecodableError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise UndecodableError("nested too deeply") from error
    if not isinstance(fields, dict):
        raise UndecodableError(f"not a JSON object but a {type(fields).__name__}")
    try:
        orjson.dumps(fields)
    except orjson.JSONEncodeError as error:
        raise UndecodableError("nested too deeply") from error
    return fields


def _integer(digits: str) -> int | orjson.Fragment:
    return int(digits) if len(digits) <= _DIGITS_OF_INT64 else orjson.Fragment(digits)


def _no_lone_surrogate(escape: re.Match[str]) -> str:
    return "\ufffd" if escape["lone"] else escape.group()
