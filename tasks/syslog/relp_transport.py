"""Batches over RELP, each message with an acknowledgement of its own.

The session stays open between batches, so that these cost no connecting; one that has ended
meanwhile is replaced by a new one.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tasks.errors import SensorError
from tasks.syslog.message_buffers import buffers_of
from tasks.syslog.network import SendingRate
from tasks.syslog.relp_session import MessageOutcomes, RelpSession
from tasks.syslog.transport import Outcome

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

    def __init__(self, destination: Destination, stream: TcpTransport) -> None:
        self._address = destination.address
        self._sending_rate = SendingRate(destination.rate)
        self._stream = stream
        self._session: RelpSession | None = None

    @property
    def certificate_until(self) -> datetime | None:
        """See :class:`tasks.syslog.transport.Transport`."""
        return self._stream.certificate_until

    def deliver(self, messages: pa.BinaryArray | pa.ChunkedArray) -> Outcome:
        """See :class:`tasks.syslog.transport.Transport`: each message has its own outcome."""
        if not len(messages):
            return Outcome.of()
        outcomes = MessageOutcomes(len(messages))
        fault = None
        try:
            self._opened().send(buffers_of(messages), outcomes, self._sending_rate)
        except SensorError as error:
            fault = str(error)
        except OSError as error:
            self._abandon()
            fault = self._stream.say(error)
        except BaseException:
            self._abandon()
            raise
        return outcomes.outcome(self._address, fault)

    def check(self) -> str:
        """See :class:`tasks.syslog.transport.Transport`: opens a session, and closes it."""
        try:
            session = self._opened()
            about = session.describe()
            self._session = None
            session.close()
        except OSError as error:
            self._abandon()
            raise SensorError(self._stream.say(error)) from None
        except BaseException:
            self._abandon()
            raise
        return f"{about}, closes in order"

    def close(self) -> None:
        """See :class:`tasks.syslog.transport.Transport`: nothing depends on how it goes."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(OSError):
                session.close()

    def _opened(self) -> RelpSession:
        """The open session, or a new one.

        Raises:
            SensorError: There is no connection.
            OSError: There is no session.
        """
        if self._session is not None:
            try:
                self._session.require_open()
            except OSError:
                self._abandon()
        if self._session is None:
            self._session = RelpSession(self._stream.connect())
            self._session.open()
        return self._session

    def _abandon(self) -> None:
        if self._session is not None:
            self._session.abort()
            self._session = None
