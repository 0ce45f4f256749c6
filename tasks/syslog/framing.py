"""Where one message ends on a stream and the next begins (RFC 6587).

A framing takes the columns whose row-wise concatenation is the message and gives back the
columns whose row-wise concatenation is the framed message. It does not look at their content.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# A column of strings, or one string for every row.
Part = Any


def none(parts: list[Part]) -> list[Part]:
    """One datagram is one message (RFC 5426)."""
    return parts


def newline(parts: list[Part]) -> list[Part]:
    """A line feed after each message (RFC 6587, 3.4.2). The messages must hold none themselves."""
    return [*parts, "\n"]


def octet(parts: list[Part]) -> list[Part]:
    """``LENGTH SPACE MESSAGE``, the length in bytes (RFC 6587, 3.4.1; RFC 5425, 4.3)."""
    lengths = (
        len(part.encode()) if isinstance(part, str) else pc.binary_length(part) for part in parts
    )
    return [pc.cast(reduce(pc.add, lengths), pa.string()), " ", *parts]


def relp(parts: list[Part]) -> list[Part]:
    """A RELP frame without the transaction number in front, which each session counts anew."""
    return [" syslog ", *octet(parts), "\n"]


class Framing(NamedTuple):
    """What is done to each message, and how people are told of it."""

    frame: Callable[[list[Part]], list[Part]]
    description: str


FRAMINGS: Mapping[str, Framing] = {
    "none": Framing(none, "one datagram a message"),
    "newline": Framing(newline, "a newline after each message"),
    "octet": Framing(octet, "octet counting"),
    "relp": Framing(relp, "a RELP frame a message, acknowledged one by one"),
}
"""The framings by name."""
