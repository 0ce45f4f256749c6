"""The place in what an extraction reads where covered time ended before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tasks.time_window import MICROSECOND, Window, difference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.extract.plan import PlannedRange


class LookbackBoundary:
    """Where covered time ends, and what of it before that is still to be read again.

    The microsecond at the boundary is only staged when all of that was read: until then the gap
    there tells that covered time once ended, and the next run looks before it again.
    """

    def __init__(self, run: PlannedRange) -> None:
        assert run.boundary is not None
        self.moment = run.boundary
        self._unread = [Window(run.window.since, run.boundary)]
        self._looking = 0
        self._looked = asyncio.Event()

    def cut(self, windows: Iterable[Window]) -> list[Window]:
        """Windows that are parts of another, none reaching over the boundary."""
        cut = []
        for window in windows:
            if window.since < self.moment < window.until:
                cut += [Window(window.since, self.moment), Window(self.moment, window.until)]
            else:
                cut.append(window)
        return cut

    def begin(self, window: Window) -> None:
        """A window is going to be read."""
        if window.until <= self.moment:
            self._looking += 1
            self._looked.clear()

    def end(self, window: Window) -> None:
        """A window was read, or could not be."""
        if window.until <= self.moment:
            self._looking -= 1
        if not self._looking:
            self._looked.set()

    async def turn(self, window: Window) -> None:
        """Wait until all windows before are read, where this one holds the boundary."""
        while self.moment in window and self._looking:
            await self._looked.wait()

    def stageable(self, window: Window) -> list[Window]:
        """What of a window that was read may be staged."""
        self._unread = [piece for part in self._unread for piece in difference(part, [window])]
        if self.moment not in window or not self._unread:
            return [window]
        return difference(window, [Window(self.moment, self.moment + MICROSECOND)])
