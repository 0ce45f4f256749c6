"""This machine's clock and the Halo API's, and what follows where they differ.

The API's time is the `Date` of its responses. Nothing is read beyond the earlier of the two clocks,
so that a fast one never marks the future as covered; what lies beyond is left to a later sync.
How far they differ decides what is reported:

- Up to a minute: nothing.
- Up to 15 minutes: a warning. The newest events are read that much later, and none is lost; exit
  code 0.
- More, where the time between the clocks was wanted: its events are missing. That is a problem
  (exit code 1) and a gap, and the message names both clocks. The same holds for any other window
  that was not read because a response's `Date` lay before it, except the last 15 minutes.
- Coverage that ends more than 15 minutes after this machine's time shows that the clock was set
  back. Nothing new is read until that time comes, which is a problem, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from tasks.extract.result import FailedWindow
from tasks.time_window import Window, isoformat, union

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

CLOCK_PROBLEM_AFTER = timedelta(minutes=15)
"""Clocks that differ by more are a problem; as long as the default lookback."""


class PostponedWindow(NamedTuple):
    """A planned window that was not read because it lies after the API's time; and that time."""

    window: Window
    api_time: datetime


@dataclass(frozen=True)
class Clocks:
    """What an extraction wanted to read, by this machine's clock.

    Attributes:
        now: This machine's time: nothing later is planned.
        until: The end of the range that is wanted; None for everything up to now.
        staged_until: Where the account's coverage ends, or where the account begins if nothing is
            covered; None for a new account.
    """

    now: datetime
    until: datetime | None
    staged_until: datetime | None

    def unread(
        self, postponed: Sequence[PostponedWindow], ahead: timedelta | None
    ) -> list[FailedWindow]:
        """What could not be read because the clocks differ, and why; nothing where that is short.

        Args:
            postponed: What was not read because a response's `Date` lay before it.
            ahead: How far this machine's clock is ahead of the API's; None where no response
                had a `Date`.
        """
        windows = union(window for window, _ in postponed)
        api_time = self.now - (ahead or timedelta())
        if windows and windows[-1].until - windows[0].since > CLOCK_PROBLEM_AFTER:
            # perhaps only some responses had a wrong Date
            seen = (
                api_time
                if self.now - api_time > CLOCK_PROBLEM_AFTER
                else min(time for _, time in postponed)
            )
            return [FailedWindow(window, describe_difference(self.now, seen)) for window in windows]
        if api_time - self.now > CLOCK_PROBLEM_AFTER and self._to_the_end:
            later = Window(self.now, min(api_time, self.until or api_time))
            return [FailedWindow(later, describe_difference(self.now, api_time))]
        return []

    def set_back_fault(self) -> str:
        """A message where the account is staged far beyond this machine's time; else empty."""
        end = self.staged_until
        if end is None or end - self.now <= CLOCK_PROBLEM_AFTER or not self._to_the_end:
            return ""
        now = _second(self.now)
        return (
            f"this machine's clock says {now}, and events are staged up to {_second(end)}, "
            f"{_duration(end - self.now)} later; nothing new is read before that time comes: set "
            "this machine's clock (NTP) if it is wrong; if it is right, it was fast once, and "
            f"`halo-usm extract --since {now}` reads what has come since"
        )

    @property
    def _to_the_end(self) -> bool:
        return self.until is None or self.until > self.now


def describe_difference(now: datetime, api_time: datetime) -> str:
    """How far the clocks differ, and what to do."""
    side = "later" if api_time > now else "earlier"
    return (
        f"this machine's clock says {_second(now)}, and the Halo API's (the Date of its answers) "
        f"{_second(api_time)}, {_duration(abs(api_time - now))} {side}; nothing is read beyond the "
        "earlier of both: set this machine's clock (NTP) if it is wrong; if it is right, find out "
        "what puts this Date on the API's answers (a proxy, or what HALO_API_URL names)"
    )


def _second(moment: datetime) -> str:
    return isoformat(moment.replace(microsecond=0))


def _duration(length: timedelta) -> str:
    if length >= timedelta(days=2):
        return f"{length // timedelta(days=1):,} days"
    if length >= timedelta(hours=2):
        return f"{length // timedelta(hours=1)} hours"
    return f"{length // timedelta(minutes=1)} minutes"
