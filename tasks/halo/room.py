"""Room for pages: what bounds the memory of windows that are read at the same time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Lease:
    """What one window holds of the room.

    Args:
        room: It is taken from.
        free: So many pages need no room: most windows have no more.
    """

    def __init__(self, room: Room, free: int) -> None:
        self._room = room
        self._free = free
        self.held = 0

    async def hold(self, pages: int) -> None:
        """Wait for room for so many pages, once: a window that has some is never kept waiting."""
        if pages > self._free and not self.held:
            self.held = await self._room.take(pages)


class Room:
    """So many pages may be held at the same time.

    Args:
        pages: Its size.
    """

    def __init__(self, pages: int) -> None:
        self._size = pages
        self._left = pages
        self._freed = asyncio.Condition()

    async def take(self, pages: int) -> int:
        """Wait for so much room, or for all of it where it is smaller; returns how much."""
        wanted = min(pages, self._size)
        async with self._freed:
            await self._freed.wait_for(lambda: self._left >= wanted)
            self._left -= wanted
        return wanted

    @asynccontextmanager
    async def lease(self, free: int) -> AsyncIterator[Lease]:
        """A lease, given back at the end."""
        lease = Lease(self, free)
        try:
            yield lease
        finally:
            self._left += lease.held
            async with self._freed:
                self._freed.notify_all()
