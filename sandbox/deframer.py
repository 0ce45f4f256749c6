"""Cuts what a stream brings into syslog messages, as a receiver does (RFC 6587)."""

from __future__ import annotations

import re

_COUNT = re.compile(rb"([1-9][0-9]{0,9}) ")
_COUNT_LONGEST = 11


class Deframer:
    """Cuts a stream into messages, framed by octet counting or by newlines (RFC 6587).

    Attributes:
        fault: What is wrong with a stream that is framed in neither way; nothing of it is read
            from there on.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.fault: str | None = None

    @property
    def torn(self) -> bool:
        """Whether something is left over that is no whole message."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete with this data."""
        self._rest += data
        if self.fault:
            return []
        if not self._rest[:1].isdigit():
            *messages, self._rest = self._rest.split(b"\n")
            return messages
        messages, position = [], 0
        while found := _COUNT.match(self._rest, position):
            end = found.end() + int(found[1])
            if end > len(self._rest):
                break
            messages.append(self._rest[found.end() : end])
            position = end
        self._rest = self._rest[position:]
        if not found and len(self._rest) >= _COUNT_LONGEST:
            self.fault = f"no octet count where one is due: {self._rest[:_COUNT_LONGEST]!r}"
        return messages
