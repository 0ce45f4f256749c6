"""Connections that are made ahead of the batches they are for.

They are used in the order in which they were made, whichever batch they are for: a receiver may
serve one connection after the other, in their order.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Generic

from tasks.errors import SensorError
from tasks.syslog.transport import AnyConnection

if TYPE_CHECKING:
    from tasks.syslog.transport import StreamTransport


class AheadConnections(Generic[AnyConnection]):
    """The connections made ahead to one destination. Safe in several threads.

    Args:
        transport: Makes them.
        most: How many there may be.

    Attributes:
        most: The same; it may be changed.
    """

    def __init__(self, transport: StreamTransport[AnyConnection], most: int) -> None:
        self.most = most
        self._transport = transport
        self._pool = ThreadPoolExecutor(1, "ahead")  # one after the other: their order is known
        self._made: deque[Future[AnyConnection]] = deque()
        self._taking = 0
        self._lock = threading.Lock()

    def make(self, wanted: int) -> None:
        """Begin to connect, until there are as many as wanted; waits for nothing.

        Not while one is taken, which may have to be made, and before those that are used later.
        """
        with self._lock:
            while not self._taking and len(self._made) < min(wanted, self.most):
                self._made.append(self._pool.submit(self._transport.connect))

    def take(self) -> tuple[AnyConnection, bool]:
        """A connection, and whether it was made ahead, or none was.

        It is only a gain of time: where one failed, or the receiver ended it meanwhile, another one
        serves.

        Raises:
            SensorError: There is no connection.
        """
        lost = False
        with self._lock:
            self._taking += 1
        try:
            while (made := self._next()) is not None:
                with suppress(SensorError):
                    connection = made.result()
                    if connection.is_open():
                        return connection, not lost
                    connection.close()
                lost = True
            return self._transport.connect(), not lost
        finally:
            with self._lock:
                self._taking -= 1

    def close(self) -> None:
        """Close all, so that who connects now does not have to wait behind them."""
        while (made := self._next()) is not None:
            if not made.cancel():
                made.add_done_callback(_close)

    def _next(self) -> Future[AnyConnection] | None:
        with self._lock:
            return self._made.popleft() if self._made else None


def _close(made: Future[AnyConnection]) -> None:
    with suppress(SensorError):
        made.result().close()
