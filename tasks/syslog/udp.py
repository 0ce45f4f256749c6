"""Messages over UDP, one a datagram (RFC 5426). Nobody can know whether one arrives."""

from __future__ import annotations

import errno
import os
import select
import socket
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.errors import SensorError
from tasks.syslog.destination import Destination, Rate
from tasks.syslog.message_buffers import MessageBuffer, buffers_of
from tasks.syslog.network import Address, SendingRate, explain, name_of, resolve
from tasks.syslog.transport import FAILED, SENT, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tasks.syslog.transport import Transport

# IPv4's largest payload. IPv6 has 20 bytes more, which no message may depend on.
MAX_DATAGRAM = 65_507
# A burst of more could overrun a receiver's default buffer (212,992 bytes on Linux, overhead in).
_BURST_BYTES = 32 * 1024
# How long the last datagram's "port unreachable" is waited for.
_ICMP_MILLISECONDS = 50


class UdpDestination(Destination):
    """One UDP listener."""

    acknowledges = False
    per_message_outcome = True

    rate: Rate = 1000.0

    @property
    def framing(self) -> str:
        """See :class:`Destination`: one datagram is one message."""
        return "none"

    def open_transport(self) -> Transport:
        """See :class:`Destination`."""
        return UdpTransport(self)


class UdpTransport:
    """UDP to one destination, at its rate.

    The socket is connected, so that an ICMP "port unreachable" is reported where nothing listens.
    It arrives late, with a later datagram or after the last one, and does not say which datagram it
    belongs to. So it fails the whole batch: some events may be repeated, and none is lost.
    """

    certificate_until: datetime | None = None

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._sending_rate = SendingRate(destination.rate)
        self._preferred: Address | None = None

    def deliver(self, messages: pa.BinaryArray | pa.ChunkedArray) -> Outcome:
        """See :class:`tasks.syslog.transport.Transport`: ``sent`` or ``failed``.

        Where the host has several addresses, one that refuses is followed by the next.
        """
        total = len(messages)
        if not total:
            return Outcome.of()
        runs = buffers_of(messages)
        here = self._destination.address
        faults = []
        try:
            for address in self._addresses():
                try:
                    statuses, errors = self._deliver_to(address, runs, total)
                except OSError as error:
                    faults.append(f"{name_of(address)}: {self._explain(error)}")
                    continue
                self._preferred = address
                return Outcome(
                    pa.array(statuses, pa.string()),
                    f"{here}: {'; '.join(errors)}" if errors else None,
                )
        except SensorError as error:
            return Outcome.of((FAILED, total), error=str(error))
        return Outcome.of((FAILED, total), error=f"{here}: {'; '.join(faults)}")

    def check(self) -> str:
        """See :class:`tasks.syslog.transport.Transport`: UDP can show no more than a route."""
        faults = []
        for address in self._addresses():
            try:
                with self._open(address):
                    return (
                        f"there is a route to {name_of(address)}; whether anything listens shows "
                        "only in sending, and what is lost on the way never does"
                    )
            except OSError as error:
                faults.append(f"{name_of(address)}: {self._explain(error)}")
        raise SensorError(f"{self._destination.address}: {'; '.join(faults)}")

    def close(self) -> None:
        """See :class:`tasks.syslog.transport.Transport`: nothing is kept open."""

    def _addresses(self) -> list[Address]:
        addresses = resolve(self._destination, socket.SOCK_DGRAM)
        return sorted(addresses, key=lambda address: address != self._preferred)

    def _open(self, address: Address) -> socket.socket:
        family, where = address
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.settimeout(self._destination.timeout)
            sock.connect(where)
        except BaseException:
            sock.close()
            raise
        return sock

    def _deliver_to(
        self, address: Address, runs: list[MessageBuffer], total: int
    ) -> tuple[list[str], list[str]]:
        """Statuses, one a message, and what went wrong.

        Raises:
            OSError: Nothing listens there: no message counts as handed over.
        """
        statuses: list[str] = []
        errors: dict[str, None] = {}
        with self._open(address) as sock:
            for burst in self._bursts(runs):
                self._sending_rate.wait(len(burst))
                for payload in burst:
                    try:
                        _send(sock, payload)
                    except ConnectionRefusedError:
                        raise
                    except OSError as error:
                        errors[self._explain(error)] = None
                        if error.errno != errno.EMSGSIZE:
                            return statuses + [FAILED] * (total - len(statuses)), list(errors)
                        statuses.append(FAILED)
                    else:
                        statuses.append(SENT)
            _require_not_refused(sock)
        return statuses, list(errors)

    def _bursts(self, runs: list[MessageBuffer]) -> Iterator[list[memoryview]]:
        """Messages to send at once: few, and few bytes."""
        most = self._sending_rate.burst or 1
        burst: list[memoryview] = []
        size = 0
        for run in runs:
            for index in range(len(run)):
                payload = run.slice(index, index + 1)
                if burst and (len(burst) == most or size + len(payload) > _BURST_BYTES):
                    yield burst
                    burst, size = [], 0
                burst.append(payload)
                size += len(payload)
        yield burst

    def _explain(self, error: OSError) -> str:
        if isinstance(error, ConnectionRefusedError):
            return "the datagrams were refused: nothing listens there; check port and receiver"
        if error.errno == errno.EMSGSIZE:
            return (
                f"a message does not fit into a datagram of {MAX_DATAGRAM} bytes; "
                "use tcp:// or tls://"
            )
        return explain(error, self._destination.timeout)


def _send(sock: socket.socket, payload: memoryview) -> None:
    if len(payload) > MAX_DATAGRAM:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    sock.send(payload)


def _require_not_refused(sock: socket.socket) -> None:
    poll = select.poll()
    poll.register(sock, 0)  # errors are always reported
    poll.poll(_ICMP_MILLISECONDS)
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
