"""A TCP receiver in a process of its own that only reads, and counts lines."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from typing import TYPE_CHECKING

from tests.bench.listening_process import ListeningProcess

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.sharedctypes import Synchronized

_READ = 256 * 1024
_POLL_SECONDS = 0.005


class ReadingReceiver(ListeningProcess):
    """Listens on a free port while the context is entered, each connection in a thread.

    Args:
        host: The address to listen on.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self._lines = multiprocessing.get_context("spawn").Value("Q")
        super().__init__(_serve, host, self._lines)

    @property
    def lines(self) -> int:
        """How many lines were read so far."""
        return int(self._lines.value)

    def wait_for(self, lines: int, seconds: float = 300.0) -> None:
        """Wait until so many lines were read.

        Raises:
            TimeoutError: They were not.
        """
        until = time.monotonic() + seconds
        while self.lines < lines:
            if time.monotonic() > until:
                raise TimeoutError(f"{self.lines} of {lines} lines came")
            time.sleep(_POLL_SECONDS)


def _serve(there: Connection, host: str, lines: Synchronized[int]) -> None:
    with socket.create_server((host, 0)) as server:
        there.send(server.getsockname()[1])
        while True:
            threading.Thread(target=_read, args=(server.accept()[0], lines)).start()


def _read(connection: socket.socket, lines: Synchronized[int]) -> None:
    with connection:
        while data := connection.recv(_READ):
            count = data.count(b"\n")
            with lines.get_lock():
                lines.value += count
