"""When a batch may be sent: in order, and only some at the same time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tasks.load.early_end import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable


class Turns:
    """The turns of batches, which are numbered from 0. Safe in several threads.

    A batch whose turn has not come may connect ahead of it. A receiver may serve one connection
    after the other, in their order: it must not wait for one whose turn comes later. So a batch
    connects ahead only when all that have their turn are connected.

    Args:
        count: How many have their turn at the same time.
        stop: Set when no more are to be given.
    """

    def __init__(self, count: int, stop: threading.Event) -> None:
        self._count = count
        self._stop = stop
        self._changed = threading.Condition()
        self._next = 0
        self._sending: set[int] = set()
        self._connecting: set[int] = set()
        self._over = False

    @property
    def over(self) -> bool:
        """Whether no more turns are given."""
        return self._over or self._stop.is_set()

    def connects_ahead(self, number: int) -> bool:
        """Wait until a batch may connect; whether it does so ahead of its turn.

        Raises:
            Stopped: It does not come.
        """
        with self._changed:
            self._wait(number, lambda: self._is_free or not self._connecting)
            return not self._is_free

    def take(self, number: int) -> None:
        """Wait for the turn of a batch, which is to connect then if it is not connected.

        Raises:
            Stopped: It does not come.
        """
        with self._changed:
            self._wait(number, lambda: self._is_free)
            self._next += 1
            self._sending.add(number)
            self._connecting.add(number)
            self._changed.notify_all()

    def connected(self, number: int) -> None:
        """Note that a batch that has its turn is connected, or is not going to be."""
        with self._changed:
            self._connecting.discard(number)
            self._changed.notify_all()

    def give_no_more(self) -> None:
        """Give no more turns; those that are taken go on."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def end(self, number: int, *, well: bool) -> None:
        """End the turn of a batch, if it has it. Unless it went well, no more are given."""
        with self._changed:
            self._sending.discard(number)
            self._over |= not well
            self._changed.notify_all()

    @property
    def _is_free(self) -> bool:
        return len(self._sending) < self._count

    def _wait(self, number: int, condition: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: self.over or (self._next == number and condition()))
        if self.over:
            raise Stopped
