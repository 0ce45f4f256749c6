"""When a batch may be sent: in order, and only some at the same time."""

from __future__ import annotations

import threading

from tasks.load.early_end import Stopped


class Turns:
    """The turns of batches, which are numbered from 0. Safe in several threads.

    Args:
        count: How many have their turn at the same time.
        stop: Set when no more are to be given.

    Attributes:
        taken: How many were given.
    """

    def __init__(self, count: int, stop: threading.Event) -> None:
        self.taken = 0
        self._count = count
        self._stop = stop
        self._changed = threading.Condition()
        self._sending: set[int] = set()
        self._over = False

    @property
    def over(self) -> bool:
        """Whether no more turns are given."""
        return self._over or self._stop.is_set()

    def take(self, number: int) -> None:
        """Wait for the turn of a batch.

        Raises:
            Stopped: It does not come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.over or self._has_come(number))
            if self.over:
                raise Stopped
            self.taken += 1
            self._sending.add(number)
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

    def _has_come(self, number: int) -> bool:
        return number == self.taken and len(self._sending) < self._count
