"""PageBudget for answers: what bounds the memory of those that are read at the same time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SMALL = 1024 * 1024
"""Bytes of an answer that needs no room: a hundred events have a tenth of that."""
UNKNOWN = 32 * 1024 * 1024
"""Bytes that the first answers of an account are taken to have."""


class PageBudget:
    """So many bytes of answers may be in memory between being asked for and being kept.

    How large an answer will be is only known when it is there: it is taken to be as large as one
    before it was.

    Args:
        size: In bytes.

    Attributes:
        last: Bytes of the last answer of the account.
    """

    def __init__(self, size: int) -> None:
        self.last = UNKNOWN
        self._size = size
        self._left = size
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, expected: int) -> AsyncIterator[None]:
        """Wait for so much room, or for all of it where it is smaller, and give it back."""
        wanted = min(expected, self._size) if expected > SMALL else 0
        if wanted:
            async with self._freed:
                await self._freed.wait_for(lambda: self._left >= wanted)
                self._left -= wanted
        try:
            yield
        finally:
            if wanted:
                self._left += wanted
                async with self._freed:
                    self._freed.notify_all()
