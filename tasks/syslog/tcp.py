"""Batches over TCP: a connection a batch, whose orderly end confirms it."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, ClassVar

from tasks.errors import SensorError
from tasks.syslog.connection import Connection
from tasks.syslog.destination import Destination, StreamDestination
from tasks.syslog.end_delay import EndDelay
from tasks.syslog.message_buffers import buffers_of, touched
from tasks.syslog.network import Address, SendingRate, explain, name_of, resolve
from tasks.syslog.transport import CONFIRMED, FAILED, UNCONFIRMED, Outcome

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

    from tasks.syslog.message_buffers import MessageBuffer
    from tasks.syslog.transport import StreamTransport

LEAST_SHARE = 0.05  # seconds that each further address gets of the time to connect


class TcpDestination(StreamDestination):
    """One TCP listener."""

    def open_transport(self) -> StreamTransport[Connection]:
        """See :class:`Destination`."""
        return TcpTransport(self, self.connections)


class TcpTransport:
    """TCP to one destination; :class:`tasks.syslog.tls_transport.TlsTransport` puts TLS inside."""

    keeps_connections: ClassVar[bool] = False
    certificate_until: datetime | None = None

    def __init__(self, destination: Destination, connections: int = 1) -> None:
        self._destination = destination
        self._sending_rate = SendingRate(destination.rate)
        self._preferred: Address | None = None
        self._end_delay = EndDelay(connections)

    def deliver(
        self,
        messages: pa.BinaryArray | pa.ChunkedArray,
        connection: Connection | None = None,
    ) -> Outcome:
        """See :class:`tasks.syslog.transport.StreamTransport`: all confirmed, or none."""
        total = len(messages)
        if not total:
            return Outcome.of()
        runs = buffers_of(messages)
        try:
            connection = connection or self.connect()
        except SensorError as error:
            return Outcome.of((FAILED, total), error=str(error))
        try:
            for run in runs:
                self._send(connection, run)
            connection.finish()
        except OSError as error:
            connection.abort()
            self._end_delay.failed()
            begun = touched(runs, connection.taken)
            return Outcome.of((UNCONFIRMED, begun), (FAILED, total - begun), error=self.say(error))
        except BaseException:
            connection.abort()
            raise
        connection.close()
        self._end_delay.confirmed()
        return Outcome.of((CONFIRMED, total))

    def connect(self) -> Connection:
        """See :class:`tasks.syslog.transport.StreamTransport`.

        It goes to the first address that answers, the one that did last time before others.
        """
        deadline = time.monotonic() + self._destination.timeout
        addresses = resolve(self._destination, socket.SOCK_STREAM)
        addresses.sort(key=lambda address: address != self._preferred)
        faults = []
        for index, address in enumerate(addresses):
            share = (deadline - time.monotonic()) / (len(addresses) - index)
            try:
                connection = self._open(address, max(share, LEAST_SHARE))
            except OSError as error:
                faults.append(f"{name_of(address)}: {self._explain(error)}")
            else:
                self._preferred = address
                return connection
        raise SensorError(f"{self._destination.address}: {'; '.join(faults)}")

    def check(self) -> str:
        """See :class:`tasks.syslog.transport.Transport`: goes through all but the sending."""
        connection = self.connect()
        about = connection.describe()
        try:
            connection.finish()
        except OSError as error:
            connection.abort()
            raise SensorError(
                f"{self.say(error)} (connected, then ended in order without sending anything: "
                "batches would stay unconfirmed)"
            ) from None
        except BaseException:
            connection.abort()
            raise
        connection.close()
        return f"{about}, closes in order"

    def require_served(self, count: int) -> None:
        """See :class:`tasks.syslog.transport.StreamTransport`.

        One connection has to end in order while all others are open. A receiver that serves fewer
        would accept some of them only when our end is there already. An end that it sends as soon
        as it has accepted then looks like a confirmation.
        """
        with contextlib.ExitStack() as others:
            for _ in range(count - 1):
                others.callback(self.connect().close)
            self.check()

    def close(self) -> None:
        """See :class:`tasks.syslog.transport.Transport`: nothing is kept open."""

    def _send(self, connection: Connection, run: MessageBuffer) -> None:
        burst = self._sending_rate.burst or len(run)
        for first in range(0, len(run), burst):
            last = min(first + burst, len(run))
            self._sending_rate.wait(last - first)
            connection.send(run.slice(first, last))

    def _open(self, address: Address, seconds: float) -> Connection:
        deadline = time.monotonic() + seconds
        family, where = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(seconds)
            sock.connect(where)
            _refuse_itself(sock)
            return self._establish(sock, deadline)
        except BaseException:
            sock.close()
            raise

    def _establish(self, sock: socket.socket, deadline: float) -> Connection:  # noqa: ARG002
        """Make a connection of a connected socket, until a point in time by the monotonic clock."""
        return Connection(sock, self._destination.timeout, self._end_delay)

    def say(self, error: OSError) -> str:
        """An error of a connection as a sentence that names the destination."""
        return f"{self._destination.address}: {self._explain(error)}"

    def _explain(self, error: OSError) -> str:
        return explain(error, self._destination.timeout)


def _refuse_itself(sock: socket.socket) -> None:
    """Where nothing listens on an ephemeral port, TCP may connect a socket to itself."""
    if sock.getsockname() == sock.getpeername():
        raise ConnectionRefusedError
