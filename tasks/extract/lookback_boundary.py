"""The time at which covered time ended before an extraction, within the range that it reads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tasks.time_window import MICROSECOND, Window, difference, subtract

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.extract.plan import PlannedRange


class LookbackBoundary:
    """Where covered time ended, and the part of the lookback before it that is still to be read.

    The microsecond at the boundary is only staged when the whole lookback was read. Until then
    there is a gap, from which the next run knows that covered time once ended here, and reads the
    lookback again.
    """

    def __init__(self, planned: PlannedRange) -> None:
        assert planned.boundary is not None
        self.moment = planned.boundary
        self._unread = [Window(planned.window.since, planned.boundary)]
        self._open = 0
        self._none_open = asyncio.Event()

    def split(self, windows: Iterable[Window]) -> list[Window]:
        """The windows, the one that reaches over the boundary split there."""
        split = []
        for window in windows:
            if window.since < self.moment < window.until:
                split += [Window(window.since, self.moment), Window(self.moment, window.until)]
            else:
                split.append(window)
        return split

    def started(self, window: Window) -> None:
        """Note that a window is going to be read."""
        if window.until <= self.moment:
            self._open += 1
            self._none_open.clear()

    def ended(self, window: Window) -> None:
        """Note that a window was read, or could not be read."""
        if window.until <= self.moment:
            self._open -= 1
        if not self._open:
            self._none_open.set()

    async def wait_for_lookback(self, window: Window) -> None:
        """Wait until all windows of the lookback are read, where this one holds the boundary."""
        while self.moment in window and self._open:
            await self._none_open.wait()

    def stageable(self, window: Window) -> list[Window]:
        """The parts of a window that was read which may be staged now."""
        self._unread = subtract(self._unread, [window])
        if self.moment not in window or not self._unread:
            return [window]
        return difference(window, [Window(self.moment, self.moment + MICROSECOND)])
