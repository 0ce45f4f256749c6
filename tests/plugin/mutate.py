"""Mutated events: realistic ones, spoiled as a careless writer or an attacker would."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sandbox.events import generate
from tasks.plugin.derive.families import families

if TYPE_CHECKING:
    from random import Random

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**64, 10**40, -0.0, "", " ", "-", "null", [], {}, [None]),
    *("true", "True", "203.0.113.7", "::ffff:1.2.3.4", "fe80::1%eth0 x", "01.2.3.4", "2001:db8::"),
    *("a=b c=d", "x\nCEF:0|a|b|c|d|e|f|", "\r\n", "\\", "|", "\x00\x1b[31m\x85\u2028\ufeff\u202e"),
    *("\ud800", "\udfff\ud800", "é" * 2000, "<b>x</b>&amp;", "<" * 300, "&#1;<!--", "😀" * 5000),
    {"a": {"b": [1, 2.50, {"c": "\ud800"}]}},
    [[[[[[[1e308]]]]]]],
    *(text for family in families() for text, _ in family.examples),
)
_KEYS = (
    "type",
    "message",
    "original_log_entry",
    "",
    "é",
    "a b",
    "x" * 300,
    "cs1",
    "extras",
    "\ud800",
)
_PIECES = (
    b"\\ud800",
    b"\\u0000",
    b"\\",
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b":",
    b"1e999",
    b"NaN",
    b"\xff",
)


@cache
def _seeds() -> list[dict[str, Any]]:
    since, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    return list(generate(1000, since, until, seed=7))


def mutated(random: Random) -> bytes:
    """The text of one event, spoiled here and there: JSON mostly, and UTF-8 mostly."""
    event = dict(random.choice(_seeds()))
    for _ in range(random.choice((0, 1, 1, 2, 5))):
        key = random.choice((*event, *_KEYS))
        event[key] = random.choice(_VALUES)
    text = json.dumps(
        event,
        ensure_ascii=random.random() < 0.5,
        separators=random.choice(((",", ":"), (", ", ": "), ("\n,", "\t:"))),
    ).encode(errors="surrogatepass")
    for _ in range(random.choice((0, 0, 0, 0, 1, 3))):
        start, length = random.randrange(len(text) + 1), random.choice((0, 0, 1, 5, 100))
        text = text[:start] + random.choice((b"", *_PIECES)) + text[start + length :]
    return text
