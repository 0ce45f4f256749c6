"""The account's limits: how many requests a second, and when none may go."""

from __future__ import annotations

import asyncio

_SLACK = 1.02
"""Requests are a little further apart than the rate says: the network may bunch them up."""


class RateLimit:
    """Lets requests go at most so many a second, and none while requests are suspended.

    Args:
        per_second: The ceiling; None for none.
    """

    def __init__(self, per_second: float | None = None) -> None:
        self._interval = _SLACK / per_second if per_second else 0.0
        self._next = 0.0
        self._suspended_until = 0.0

    async def acquire(self) -> None:
        """Wait until the next request may go."""
        loop = asyncio.get_running_loop()
        at = max(loop.time(), self._next)
        self._next = at + self._interval
        # the account may be suspended while requests are waiting here
        while (wait := max(at, self._suspended_until) - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(wait)

    def suspend(self, seconds: float) -> None:
        """Let no request of the account go for so many seconds."""
        until = asyncio.get_running_loop().time() + seconds
        self._suspended_until = max(self._suspended_until, until)
