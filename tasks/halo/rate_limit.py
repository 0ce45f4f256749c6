"""The account's limits: how many requests a second, and when to stay silent."""

from __future__ import annotations

import asyncio

_SLACK = 1.02
"""Requests are a little further apart than the rate says, for what the network bunches up."""


class RateLimit:
    """Lets requests go at most so many a second, and none while the API asked for silence.

    Args:
        per_second: The ceiling; None for none.
    """

    def __init__(self, per_second: float | None = None) -> None:
        self._interval = _SLACK / per_second if per_second else 0.0
        self._next = 0.0
        self._silent_until = 0.0

    async def turn(self) -> None:
        """Wait until the next request may go."""
        loop = asyncio.get_running_loop()
        at = max(loop.time(), self._next)
        self._next = at + self._interval
        # silence may be asked for while others are waiting already
        while (wait := max(at, self._silent_until) - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(wait)

    def silence(self, seconds: float) -> None:
        """Let no request go for so long, of all that the account has."""
        until = asyncio.get_running_loop().time() + seconds
        self._silent_until = max(self._silent_until, until)
