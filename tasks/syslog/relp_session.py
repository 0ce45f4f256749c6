"""A RELP session: messages go out ahead of their answers, which may come in any order."""

from __future__ import annotations

import contextlib
import re
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from tasks.redaction import foreign_text
from tasks.syslog.relp_frames import (
    Answer,
    FrameReader,
    RelpError,
    answer_of,
    frame,
    number_after,
)
from tasks.syslog.transport import CONFIRMED, FAILED, UNCONFIRMED, Outcome

if TYPE_CHECKING:
    from tasks.syslog.connection import Connection
    from tasks.syslog.message_buffers import MessageBuffer
    from tasks.syslog.network import SendingRate
    from tasks.syslog.relp_frames import Frame

# 0 is the version that librelp speaks and asks for, whatever its specification says of it.
_OFFERS = b"relp_version=0\nrelp_software=halo-usm\ncommands=syslog"
_OFFER = re.compile(rb"(?:^|[ \n])(\w+)=([^\n]*)")
MOST_UNANSWERED = 1024
"""Messages that may wait for their answers at once: 20,000 a second over a path of 50 ms."""
_CHUNK = 64 * 1024
_OK = 200
_SHOWN_ANSWERS = 3


class _Waiting(NamedTuple):
    """A message that was sent: its row in the batch, and its bytes."""

    row: int
    size: int


class MessageOutcomes:
    """What becomes of the messages of one batch, by their rows."""

    def __init__(self, count: int) -> None:
        self._statuses = [FAILED] * count
        self._refused: dict[int, Answer] = {}

    def begin(self, first: int, last: int) -> None:
        """Any part of the messages from `first` up to, not including, `last` may have gone out."""
        self._statuses[first:last] = [UNCONFIRMED] * (last - first)

    def take_back(self, first: int, last: int) -> None:
        """No part of these messages has gone out."""
        self._statuses[first:last] = [FAILED] * (last - first)

    def answer(self, row: int, answer: Answer) -> None:
        """A message was answered."""
        if answer.code == _OK:
            self._statuses[row] = CONFIRMED
        else:
            self._statuses[row] = FAILED
            self._refused[row] = answer

    def outcome(self, address: str, fault: str | None) -> Outcome:
        """The outcome of the batch, which a fault may have ended early."""
        statuses = pa.array(self._statuses, pa.string())
        if not self._refused:
            return Outcome(statuses, fault)
        said = dict.fromkeys(f"{one.code} {one.text}" for one in self._refused.values())
        texts = ", ".join([*said][:_SHOWN_ANSWERS])
        refusal = f"the receiver refused {len(self._refused):,} of the messages: {texts}"
        error = f"{fault}; {refusal}" if fault else f"{address}: {refusal}"
        refused = pa.array([row in self._refused for row in range(len(statuses))])
        return Outcome(statuses, error, refused)


class RelpSession:
    """A session on a connection.

    Args:
        connection: Just made; it is closed by :meth:`finish`, :meth:`close` or :meth:`abort`.

    Raises:
        OSError: The session is of no more use, and is to be aborted.
    """

    def __init__(self, connection: Connection) -> None:
        self._software = ""
        self._connection = connection
        self._reader = FrameReader()
        self._number = 0
        self._waiting: dict[int, _Waiting] = {}
        self._outcomes = MessageOutcomes(0)
        self._asked: int | None = None
        self._reply = b""
        self._closing = False
        connection.listener = self._take

    def open(self) -> None:
        """Agree on the session: to be called first."""
        try:
            reply = self._ask("open", _OFFERS)
        except TimeoutError:
            raise TimeoutError(
                f"no answer to opening a RELP session within {self._connection.timeout:g} s: the "
                "receiver is stuck, or this is not the port of a RELP listener"
            ) from None
        except RelpError:
            raise
        except ConnectionError:
            raise ConnectionAbortedError(
                "the receiver hung up instead of opening a RELP session; its log may say why, for "
                "example that it wants a client certificate (cert= and key=)"
            ) from None
        answer = answer_of(reply)
        if answer.code != _OK:
            raise RelpError(f"the receiver refuses the session: {answer.code} {answer.text}")
        offers = dict(_OFFER.findall(reply))
        commands = offers.get(b"commands", b"").split(b",")
        if b"relp_version" not in offers or b"syslog" not in commands:
            raise RelpError("the receiver offers no RELP session that takes syslog messages")
        software = offers.get(b"relp_software", b"").split(b",")[:2]
        self._software = foreign_text(b" ".join(software).decode(errors="replace"))

    def is_open(self) -> bool:
        """See :class:`tasks.syslog.transport.StreamConnection`."""
        try:
            self._connection.take_arrived()
            self._connection.require_not_ended()
            self._require_not_closing()
        except OSError:
            return False
        return True

    def send(
        self, buffers: list[MessageBuffer], outcomes: MessageOutcomes, rate: SendingRate
    ) -> None:
        """Send a batch; returning means that every message was answered."""
        self._outcomes = outcomes
        try:
            self._send_all(buffers, rate)
        except TimeoutError:
            raise TimeoutError(
                f"the receiver acknowledged next to nothing for {self._connection.timeout:g} s; "
                "its own output may be stuck, which its log tells; if it is only slow, raise "
                "timeout="
            ) from None

    def _send_all(self, buffers: list[MessageBuffer], rate: SendingRate) -> None:
        row = 0
        for buffer in buffers:
            index = 0
            while index < len(buffer):
                if len(self._waiting) >= MOST_UNANSWERED:
                    self._wait_for(MOST_UNANSWERED // 2)  # so that many are sent at once
                count = self._fitting(buffer, index, rate.burst or MOST_UNANSWERED)
                rate.wait(count)
                self._send(buffer, index, index + count, row)
                index += count
                row += count
        self._wait_for(0)

    def describe(self) -> str:
        """What is known of the receiver, for people."""
        return f"{self._connection.describe()}, RELP with {self._software or 'unnamed software'}"

    def finish(self) -> None:
        """End the session and the connection in order; they are aborted where that fails."""
        try:
            self._ask("close")
            with contextlib.suppress(OSError):  # the receiver may have left already
                self._connection.end()
        except BaseException:
            self._connection.abort()
            raise
        self._connection.close()

    def close(self) -> None:
        """End both, where nothing depends on how it goes."""
        with contextlib.suppress(OSError):
            self.finish()

    def abort(self) -> None:
        """Give up, once what was answered by now is counted."""
        with contextlib.suppress(OSError):
            self._connection.take_arrived()
        self._connection.abort()

    def _fitting(self, buffer: MessageBuffer, index: int, most: int) -> int:
        """How many messages are sent at once: what a chunk holds, and may wait for answers."""
        most = min(most, MOST_UNANSWERED - len(self._waiting), len(buffer) - index)
        end = buffer.offsets[index] + _CHUNK
        return max(1, bisect_left(buffer.offsets, end, index, index + most) - index)

    def _send(self, buffer: MessageBuffer, first: int, last: int, row: int) -> None:
        # an answer that is there already answers nothing
        self._connection.take_arrived()
        self._require_not_closing()
        numbers: list[int] = []
        parts: list[bytes] = []
        for index in range(first, last):
            self._number = number_after(self._number)
            message = buffer.slice(index, index + 1)
            numbers.append(self._number)
            parts.append(b"%d" % self._number + message)
            self._waiting[self._number] = _Waiting(row + index - first, len(message))
        before = self._connection.taken
        self._outcomes.begin(row, row + last - first)
        try:
            self._connection.send(memoryview(b"".join(parts)))
        except BaseException:
            starts = [*accumulate(map(len, parts), initial=0)][:-1]
            begun = bisect_left(starts, self._connection.taken - before)
            self._outcomes.take_back(row + begun, row + last - first)
            for number in numbers[begun:]:
                self._waiting.pop(number, None)
            raise

    def _ask(self, command: str, data: bytes = b"") -> bytes:
        """Send a command of the session itself, and wait for its answer's data."""
        self._connection.take_arrived()
        self._number = number_after(self._number)
        self._asked = self._number
        self._connection.send(memoryview(frame(self._number, command, data)))
        while self._asked is not None:
            self._wait()
        return self._reply

    def _wait_for(self, count: int) -> None:
        """Wait until so many messages are left without an answer."""
        while len(self._waiting) > count:
            self._wait()

    def _wait(self) -> None:
        self._require_not_closing()
        self._connection.wait()

    def _require_not_closing(self) -> None:
        if self._closing:
            raise ConnectionAbortedError("the receiver ended the session; its log may say why")

    def _take(self, data: bytes) -> None:
        """Count what the receiver says."""
        for one in self._reader.feed(data):
            self._take_frame(one)

    def _take_frame(self, one: Frame) -> None:
        if one.number == 0:  # a hint, of which there is one kind
            self._closing |= one.command == b"serverclose"
        elif one.command != b"rsp":
            raise RelpError(f"the receiver says {one.command.decode()!r}, which is no answer")
        elif one.number == self._asked:
            self._asked, self._reply = None, one.data
        elif (message := self._waiting.pop(one.number, None)) is None:
            raise RelpError(
                f"the receiver answers transaction {one.number}, which waits for no answer"
            )
        else:
            self._connection.answered += message.size
            self._outcomes.answer(message.row, answer_of(one.data))
