"""A budget that bounds the memory of responses that are requested at the same time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SMALL = 1024 * 1024
"""Bytes of a response that needs no reservation: a hundred events have a tenth of that."""
UNKNOWN = 32 * 1024 * 1024
"""Bytes that are reserved for the first responses of an account."""


class PageBudget:
    """Limits the bytes of responses between their request and the storing of their events.

    The size of a response is only known once it is there, so the size of an earlier one is
    reserved for it.

    Args:
        size: In bytes.

    Attributes:
        last: Bytes of the account's last response.
    """

    def __init__(self, size: int) -> None:
        self.last = UNKNOWN
        self._size = size
        self._left = size
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def reserve(self, expected: int) -> AsyncIterator[None]:
        """Hold so many bytes during the body, at most the whole budget, once they are free."""
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
