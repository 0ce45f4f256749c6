"""Batches over RELP, each message with an acknowledgement of its own.

Sessions stay open between batches, so that these cost no connecting; one that has ended meanwhile
is replaced by a new one.
"""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar

from tasks.errors import SensorError
from tasks.syslog.message_buffers import buffers_of
from tasks.syslog.network import SendingRate
from tasks.syslog.relp_session import MessageOutcomes, RelpSession
from tasks.syslog.transport import FAILED, Outcome

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

    from tasks.syslog.destination import Destination
    from tasks.syslog.tcp import TcpTransport


class RelpTransport:
    """RELP to one destination.

    Args:
        destination: Where to.
        stream: Connects to it, through TLS or not.
    """

    keeps_connections: ClassVar[bool] = True

    def __init__(self, destination: Destination, stream: TcpTransport) -> None:
        self._address = destination.address
        self._sending_rate = SendingRate(destination.rate)
        self._stream = stream
        self._idle: deque[RelpSession] = deque()

    @property
    def certificate_until(self) -> datetime | None:
        """See :class:`tasks.syslog.transport.Transport`."""
        return self._stream.certificate_until

    def deliver(
        self,
        messages: pa.BinaryArray | pa.ChunkedArray,
        connection: RelpSession | None = None,
    ) -> Outcome:
        """See :class:`tasks.syslog.transport.StreamTransport`: each message has its own outcome."""
        total = len(messages)
        if not total:
            return Outcome.of()
        try:
            session = connection or self.connect()
        except SensorError as error:
            return Outcome.of((FAILED, total), error=str(error))
        outcomes = MessageOutcomes(total)
        try:
            session.send(buffers_of(messages), outcomes, self._sending_rate)
        except OSError as error:
            session.abort()
            return outcomes.outcome(self._address, self._stream.say(error))
        except BaseException:
            session.abort()
            raise
        self._idle.append(session)
        return outcomes.outcome(self._address, None)

    def connect(self) -> RelpSession:
        """See :class:`tasks.syslog.transport.StreamTransport`: an idle session, or a new one."""
        with contextlib.suppress(IndexError):
            while not (session := self._idle.pop()).is_open():
                session.abort()
            return session
        return self._open()

    def require_served(self, count: int) -> None:
        """See :class:`tasks.syslog.transport.StreamTransport`: as many sessions are idle then."""
        with ThreadPoolExecutor(count, "session") as pool:
            opened = [pool.submit(self.connect) for _ in range(count)]
        # where some failed, the others are of use all the same
        self._idle.extend(one.result() for one in opened if one.exception() is None)
        for one in opened:
            one.result()

    def check(self) -> str:
        """See :class:`tasks.syslog.transport.Transport`: opens a session, and closes it."""
        session = self.connect()
        about = session.describe()
        try:
            session.finish()
        except OSError as error:
            raise SensorError(self._stream.say(error)) from None
        return f"{about}, closes in order"

    def close(self) -> None:
        """See :class:`tasks.syslog.transport.Transport`: nothing depends on how it goes."""
        idle, self._idle = self._idle, deque()
        with ThreadPoolExecutor(len(idle) or 1, "closing") as pool:
            deque(pool.map(RelpSession.close, idle), 0)

    def _open(self) -> RelpSession:
        """A new session.

        Raises:
            SensorError: There is none.
        """
        session = RelpSession(self._stream.connect())
        try:
            session.open()
        except OSError as error:
            session.abort()
            raise SensorError(self._stream.say(error)) from None
        except BaseException:
            session.abort()
            raise
        return session
