"""This machine's clock and the Halo API's, and what it means where they differ.

The API's time is the `Date` of its answers. Nothing is read beyond the earlier of the two clocks,
so that a fast one never marks the future as covered; what lies beyond is left to a later sync.
How far they are apart decides what is said of it:

- Up to a minute: nothing.
- Up to 15 minutes: a note. The newest events come so much later, and none is lost; exit code 0.
- More, where the stretch between the clocks was wanted: its events don't come. That is a problem
  (exit code 1) and a gap, which names both clocks. So is any other stretch that could not be read
  because an answer's `Date` lay before it, unless it is the last 15 minutes.
- A staging that is covered for more than 15 minutes beyond this machine's time tells that the
  clock was set back. Until that time comes nothing new is read: a problem, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from tasks.time_window import Window, isoformat, union

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

TOLERATED = timedelta(minutes=15)
"""So much later may the newest events come before it is a problem; that of the usual lookback."""


class HeldBack(NamedTuple):
    """A stretch that was planned and lies beyond the API's time, and that time."""

    window: Window
    api_time: datetime


@dataclass(frozen=True)
class Clocks:
    """What an extraction wanted to read, by this machine's clock.

    Attributes:
        now: This machine's time: nothing later is planned.
        until: The end of what is wanted; None where that is everything there is.
        staged_until: So far the account is covered, or begins there; None for a new one.
    """

    now: datetime
    until: datetime | None
    staged_until: datetime | None

    def unread(
        self, held_back: Sequence[HeldBack], ahead: timedelta | None
    ) -> list[tuple[Window, str]]:
        """What could not be read because the clocks are apart, and why; none where it is little.

        Args:
            held_back: What was not read because an answer's `Date` lay before it.
            ahead: How far this machine's clock is ahead of the API's; None where no answer had a
                `Date`.
        """
        windows = union(window for window, _ in held_back)
        api_time = self.now - (ahead or timedelta())
        if windows and windows[-1].until - windows[0].since > TOLERATED:
            # of some answers alone, perhaps
            seen = (
                api_time if self.now - api_time > TOLERATED else min(time for _, time in held_back)
            )
            return [(window, differ(self.now, seen)) for window in windows]
        if api_time - self.now > TOLERATED and self._to_the_end:
            later = Window(self.now, min(api_time, self.until or api_time))
            return [(later, differ(self.now, api_time))]
        return []

    def set_back(self) -> str:
        """What to say where the account is staged far beyond this machine's time; else nothing."""
        end = self.staged_until
        if end is None or end - self.now <= TOLERATED or not self._to_the_end:
            return ""
        now = _second(self.now)
        return (
            f"this machine's clock says {now}, and events are staged up to {_second(end)}, "
            f"{_length(end - self.now)} later; nothing new is read before that time comes: set "
            "this machine's clock (NTP) if it is wrong; if it is right, it was fast once, and "
            f"`halo-usm extract --since {now}` reads what has come since"
        )

    @property
    def _to_the_end(self) -> bool:
        return self.until is None or self.until > self.now


def differ(now: datetime, api_time: datetime) -> str:
    """That the clocks are apart, how much, and what to do."""
    side = "later" if api_time > now else "earlier"
    return (
        f"this machine's clock says {_second(now)}, and the Halo API's (the Date of its answers) "
        f"{_second(api_time)}, {_length(abs(api_time - now))} {side}; nothing is read beyond the "
        "earlier of both: set this machine's clock (NTP) if it is wrong; if it is right, find out "
        "what puts this Date on the API's answers (a proxy, or what HALO_API_URL names)"
    )


def _second(moment: datetime) -> str:
    return isoformat(moment.replace(microsecond=0))


def _length(length: timedelta) -> str:
    if length >= timedelta(days=2):
        return f"{length // timedelta(days=1):,} days"
    if length >= timedelta(hours=2):
        return f"{length // timedelta(hours=1)} hours"
    return f"{length // timedelta(minutes=1)} minutes"
