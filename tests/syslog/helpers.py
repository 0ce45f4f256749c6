"""What the delivery tests share: destinations, batches, and receivers that misbehave."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pytest

from tasks.syslog.message import encode
from tasks.syslog.sensor_url import parse_destinations

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.certificates import Certificate
    from tasks.syslog.destination import Destination
    from tasks.syslog.transport import Outcome

    Behaviour = Callable[[socket.socket], None]

BIG = 3000  # messages of `SIZE`: more than both kernels' buffers take
SIZE = 700  # bytes


WHEN = datetime(2016, 8, 22, 16, 24, 30, 726_000, tzinfo=UTC)


def destination(url: str) -> Destination:
    """The one destination of a URL."""
    (found,) = parse_destinations(url, Path.cwd())
    return found


def lines(count: int, first: int = 0, size: int = 60) -> pa.StringArray:
    """CEF lines that tell which they are."""
    texts = [f"CEF:0|CloudPassage|Halo|1|2|Test|3|cn1={first + n:08} msg=" for n in range(count)]
    return pa.array([text.ljust(size, "x") for text in texts], pa.string())


def batch(to: Destination, count: int = 3, first: int = 0, size: int = 60) -> pa.BinaryArray:
    """Framed messages around such lines."""
    times = pa.array([WHEN] * count, pa.timestamp("us", tz="UTC"))
    hosts = pa.array(["web-1.example"] * count, pa.string())
    return encode(lines(count, first, size), times, hosts, to)


def deliver(url: str, count: int = 3, size: int = 60) -> Outcome:
    """Deliver such a batch."""
    to = destination(url)
    transport = to.open_transport()
    outcome = transport.deliver(batch(to, count, size=size))
    transport.close()
    return outcome


def statuses(outcome: Outcome) -> set[str]:
    """The different statuses of an outcome."""
    return set(outcome.statuses.to_pylist())


def reset(connection: socket.socket) -> None:
    """Close so that the sender gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_all(connection: socket.socket) -> bytes:
    """Read to the sender's end."""
    data = b""
    while part := connection.recv(65536):
        data += part
    return data


class ScriptedReceiver:
    """Accepts on a free port and treats each connection as told, in a thread of its own.

    Args:
        behaviour: What to do with a connection; it is closed when the receiver stops, not before.
        receive_buffer: Bytes of the kernel's receive buffer, to be stuck sooner.
        context: Speaks TLS.
        host: The address to listen on.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        *,
        receive_buffer: int | None = None,
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._manner = behaviour
        self._context = context
        self._listener = socket.socket()
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind((host, 0))
        self._listener.listen()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop_listening()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self._connections:
            connection.close()
        self._listener.close()

    def stop_listening(self) -> None:
        """Refuse connections from now on."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)

    def url(self, **options: object) -> str:
        """Its sensor URL, with options."""
        query = "&".join(f"{key}={value}" for key, value in options.items())
        scheme = "tls" if self._context else "tcp"
        host, port = self._listener.getsockname()
        return f"{scheme}://{host}:{port}?{query}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            self._manner(connection)


def require_ipv6() -> None:
    """Skip the test on a machine without ::1."""
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")


def took(start: float) -> float:
    """Seconds since."""
    return time.monotonic() - start


def server_context(own: Certificate) -> ssl.SSLContext:
    """A server's side, TLS 1.2 and 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.cert, own.key)
    return context
