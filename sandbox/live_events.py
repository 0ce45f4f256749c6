"""Goes on making events, so that the stand-in is as live as an account with servers in it."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from sandbox.events import generate_encoded
from sandbox.password_guesses import password_guesses

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox.halo_api import HaloStandIn

_STEP = timedelta(seconds=30)
_GUESS_EVERY = 10
_GUESSES = 12
_GUESSERS = ("203.0.113.66", "198.51.100.200")


class LiveEvents(threading.Thread):
    """Gives a stand-in's accounts the events of each half minute before it begins.

    The first are those from now on. They are listed when their time comes. Every five minutes
    somebody guesses passwords at the first account.

    Args:
        halo: The stand-in.
        per_minute: Events a minute, of all accounts together.
        seed: Of the generator.
    """

    def __init__(self, halo: HaloStandIn, per_minute: float, seed: int = 0) -> None:
        super().__init__(name="live events", daemon=True)
        self._halo = halo
        self._per_minute = per_minute
        self._seed = seed
        self._since = halo.clock.now()
        self._stop_asked = threading.Event()

    def stop(self) -> None:
        """Make no more."""
        self._stop_asked.set()

    def run(self) -> None:
        """Make events until `stop` is called."""
        since = self._since
        made = 0.0
        step = 0
        while not self._stop_asked.is_set():
            until = since + _STEP
            made += self._per_minute * (_STEP / timedelta(minutes=1))
            self._make(int(made), since, until, step)
            made -= int(made)
            since, step = until, step + 1
            self._stop_asked.wait((since - self._halo.clock.now()).total_seconds())

    def _make(self, count: int, since: datetime, until: datetime, step: int) -> None:
        accounts = list(self._halo.accounts.values())
        for at, account in enumerate(accounts):
            # the same number of each, and one more of some: a different one each time
            share = (count + (at + step) % len(accounts)) // len(accounts)
            account.add_encoded(generate_encoded(share, since, until, self._seed, account.name))
        if step % _GUESS_EVERY == _GUESS_EVERY - 1:
            source = _GUESSERS[step // _GUESS_EVERY % len(_GUESSERS)]
            name = accounts[0].name
            accounts[0].add(
                password_guesses(_GUESSES, since, until, source, seed=self._seed, account=name)
            )
