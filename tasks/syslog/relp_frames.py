"""RELP on the wire: frames, transaction numbers, answers (the specification is librelp's).

RELP-FRAME = TXNR SP COMMAND SP DATALEN [SP DATA] LF
RSP-DATA   = RSP-CODE [SP HUMANMSG] [LF CMDDATA]
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, NamedTuple

from tasks.redaction import foreign_text

if TYPE_CHECKING:
    from collections.abc import Iterator

LAST_NUMBER = 999_999_999
"""After it comes 1; 0 is for hints, which nobody answers."""

_HEADER = re.compile(rb"([0-9]{1,9}) ([A-Za-z]{1,32}) (?:0{1,9}(?=\n)|([0-9]{1,9}) )")
_BEGUN_HEADER = re.compile(rb"([0-9]{1,9}( ([A-Za-z]{1,32}( [0-9]{0,9})?)?)?)?")
_ANSWER = re.compile(rb"([0-9]{3})(?: ([^\n]*))?(?:\n.*)?", re.DOTALL)
_LONGEST = 16 * 1024
"""Bytes of data: an answer is a short sentence, or the receiver's offers."""
_SHOWN = 60


class RelpError(ConnectionAbortedError):
    """What the receiver says is not RELP, or makes no sense; the connection is of no more use."""


class Frame(NamedTuple):
    """A frame from the receiver."""

    number: int
    command: bytes
    data: bytes


class Answer(NamedTuple):
    """What a receiver says of a message: a code, 200 where it took it, and a text for people."""

    code: int
    text: str


class FrameReader:
    """Takes a stream apart, in whatever pieces it arrives."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole with these further bytes.

        Raises:
            RelpError: What comes next is no frame, or too long for an answer.
        """
        self._data, self._at = self._data[self._at :] + data, 0
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        header = _HEADER.match(self._data, self._at)
        if header is None:
            if _BEGUN_HEADER.fullmatch(self._data, self._at) is None:
                raise self._no_frame()
            return None
        number, command, length = header.groups()
        size = int(length or 0)
        if size > _LONGEST:
            raise RelpError(f"the receiver announces an answer of {size:,} bytes")
        end = header.end() + size
        if len(self._data) <= end:
            return None
        if self._data[end] != ord("\n"):
            raise self._no_frame()
        self._at = end + 1
        return Frame(int(number), command, self._data[header.end() : end])

    def _no_frame(self) -> RelpError:
        shown = foreign_text(self._data[self._at :].decode("latin-1"), _SHOWN)
        return RelpError(
            f"the receiver's answer is not RELP: '{shown}'; is this the port of a RELP listener?"
        )


def frame(number: int, command: str, data: bytes = b"") -> bytes:
    """A frame as it is sent."""
    return b"%d %s %d%s\n" % (number, command.encode(), len(data), data and b" " + data)


def number_after(number: int) -> int:
    """The next transaction number."""
    return 1 if number >= LAST_NUMBER else number + 1


@functools.lru_cache(maxsize=64)  # nearly all say "200 OK"
def answer_of(data: bytes) -> Answer:
    """The code and text of an answer.

    Raises:
        RelpError: There is no code.
    """
    found = _ANSWER.fullmatch(data)
    if found is None:
        shown = foreign_text(data.decode("latin-1"), _SHOWN)
        raise RelpError(f"the receiver's answer has no code such as 200: '{shown}'")
    return Answer(int(found[1]), foreign_text((found[2] or b"").decode(errors="replace")))
