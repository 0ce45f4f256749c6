"""A TCP receiver that may take offence at what it reads."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_EVENT_ID = re.compile(rb"externalId=(\S+)")


def ids_in(data: bytes) -> list[str]:
    """The ids of the events in what was read."""
    return [event_id.decode() for event_id in _EVENT_ID.findall(data)]


class RejectingReceiver:
    """Reads each connection to its end, then closes it in order or resets it, as `accept` says.

    A connection that carries nothing was made ahead, and is left out.

    Attributes:
        batches: The ids of each connection that was closed in order.
        offered: The ids of each connection, accepted or not.
    """

    def __init__(self, accept: Callable[[list[str]], bool]) -> None:
        self.accept = accept
        self.batches: list[list[str]] = []
        self.offered: list[list[str]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def url(self, **options: object) -> str:
        """Its sensor URL."""
        query = "&".join(
            f"{key}={value}" for key, value in {"name": "rejecting", **options}.items()
        )
        return f"tcp://127.0.0.1:{self.port}?{query}"

    @property
    def received(self) -> list[str]:
        """The ids of all events that were accepted, in order."""
        return [event_id for batch in self.batches for event_id in batch]

    def _serve(self) -> None:
        with contextlib.suppress(OSError), ThreadPoolExecutor(32) as threads:
            while True:
                threads.submit(self._read, self._socket.accept()[0])

    def _read(self, connection: socket.socket) -> None:
        with connection:
            data = b""
            with contextlib.suppress(OSError):
                while part := connection.recv(65_536):
                    data += part
            if not data:
                return
            with self._lock:
                offered = ids_in(data)
                self.offered.append(offered)
                if self.accept(offered):
                    self.batches.append(offered)
                else:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
