"""Decodes an event's JSON text into Python values without changing any of them.

orjson is fast, and exact for text, booleans, null and integers of 64 bits. The standard library
decodes text that orjson refuses (such as a lone surrogate escape), and events with a float, or a
longer integer, that orjson would write in other digits than Halo's. Text that the standard library
refuses, too, is split into the object's members by its brackets, and each member is decoded alone:
a value that cannot be decoded is kept as its text.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from tasks.raw_json import NotJson, members

Event = dict[str, Any]

_PLAIN = frozenset((str, bool, int, type(None)))
_DIGITS_OF_INT64 = 18
# orjson writes no more than 254 levels, and what is read level by level must not exhaust the stack.
_MANY_BRACKETS = 100

# Every escape is matched, so that an escaped backslash before a "u" is not taken for one.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class UndecodableError(ValueError):
    """The text is no event: no object, or no members can be found in it; the message says which."""


def decode(text: bytes) -> Event:
    """The event's fields; of a key that comes twice, the last value, as JSON readers do.

    A lone surrogate becomes U+FFFD, which UTF-8 can carry; NaN and Infinity become their names; a
    control character that should have been escaped is taken as it is; a number that Python would
    change is an `orjson.Fragment` of its text. A member that is no JSON, or nested too deeply to
    be written again, is a `str`: its text.

    Raises:
        UndecodableError: the text is no event.
    """
    if has_many_brackets(text):
        return _decode_exactly(text)
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _decode_exactly(text)
    if not isinstance(event, dict):
        raise UndecodableError(f"not a JSON object but a {type(event).__name__}")
    for key, value in event.items():
        if type(value) not in _PLAIN and not _is_exact(key, value, text):
            return _decode_exactly(text)
    return event


def has_many_brackets(text: bytes) -> bool:
    """Whether JSON may be nested too deeply to be written again; where False, it is not."""
    return text.count(b"[") + text.count(b"{") > _MANY_BRACKETS


def compact(value: object) -> str:
    """Any decoded value as compact JSON, keys sorted at every level, text unescaped."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _is_exact(key: str, value: Any, text: bytes) -> bool:
    """Whether orjson changed nothing of an event's value.

    It changed nothing if there is no float, or if the text holds the key with exactly the JSON that
    orjson writes for the value. That JSON ends in a bracket: a number could go on after its end.
    """
    if not _has_float(value):
        return True
    if type(value) is float:
        return False
    name = orjson.dumps(key) + b":"
    return text.count(name) == text.count(name + orjson.dumps(value)) == 1


def _has_float(value: Any) -> bool:
    if type(value) is dict or type(value) is list:
        for inner in value.values() if type(value) is dict else value:
            if _has_float(inner):
                return True
    return type(value) is float


def _decode_exactly(text: bytes) -> Event:
    try:
        clean = _ESCAPE.sub(_no_lone_surrogate, text.decode())
    except UnicodeDecodeError as error:
        raise UndecodableError(f"not UTF-8: {error.reason} at byte {error.start}") from error
    try:
        event = _value(clean)
        orjson.dumps(event)
    except json.JSONDecodeError as error:
        return _decode_members(clean, f"not JSON: {error}")
    except (RecursionError, orjson.JSONEncodeError):
        return _decode_members(clean, "nested too deeply")
    if not isinstance(event, dict):
        raise UndecodableError(f"not a JSON object but a {type(event).__name__}")
    return event


def _decode_members(text: str, fault: str) -> Event:
    """The fields of an object that has a `fault`, each decoded alone, or else kept as its text."""
    try:
        found = members(text.encode())
    except NotJson:
        raise UndecodableError(fault) from None
    return {key: _value_or_text(value.decode()) for key, value in found.items()}


def _value_or_text(text: str) -> Any:
    try:
        value = _value(text)
        # as deep as it will be written again
        orjson.dumps({"": value})
    except (json.JSONDecodeError, RecursionError, orjson.JSONEncodeError):
        return text
    return value


def _value(text: str) -> Any:
    return json.loads(
        text,
        strict=False,
        parse_float=orjson.Fragment,
        parse_int=_integer,
        parse_constant=str,
    )


def _integer(digits: str) -> int | orjson.Fragment:
    return int(digits) if len(digits) <= _DIGITS_OF_INT64 else orjson.Fragment(digits)


def _no_lone_surrogate(escape: re.Match[str]) -> str:
    return "\ufffd" if escape["lone"] else escape.group()
