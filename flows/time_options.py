"""The options of commands and flows that tell a range of time or how long to wait, checked."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from tasks.errors import SettingsError
from tasks.redaction import foreign_text
from tasks.time_window import Window, isoformat, parse_time

_WAIT_MINUTES = 10.0


def parse_range(since: str, until: str | None) -> Window:
    """The range `[since, until)` of a command; `until` is now by default.

    Raises:
        SettingsError: A bound is not a time, or the range is empty or backward.
    """
    first = parse_time(since, "--since")
    return range_between(first, None if until is None else parse_time(until, "--until"))


def range_between(since: datetime, until: datetime | None) -> Window:
    """The range `[since, until)`; `until` is now by default.

    Raises:
        SettingsError: The range is empty or backward.
    """
    until = until or datetime.now(UTC)
    if since >= until:
        raise SettingsError(
            f"since {isoformat(since)} is not before until {isoformat(until)}: "
            "the range is empty or backward; exchange or change them"
        )
    return Window(since, until)


def range_if_given(since: str | None, until: str | None) -> Window | None:
    """The range of a command that needs none; raises what `parse_range` does."""
    if since is None and until is not None:
        raise SettingsError(
            f"--until {foreign_text(until)} needs a --since: say where the range begins"
        )
    return None if since is None else parse_range(since, until)


def check_halo_has(window: Window) -> None:
    """Refuse a range in which Halo cannot have events.

    Raises:
        SettingsError: It begins before there was Halo, or in the future.
    """
    from tasks.halo_history import HALO_BEGAN

    since = isoformat(window.since)
    if window.since < HALO_BEGAN:
        raise SettingsError(
            f"--since {since}: there was no Halo before {HALO_BEGAN.year}; write a later time"
        )
    if window.since > (now := datetime.now(UTC)):
        raise SettingsError(
            f"--since {since} is in the future, by this machine's clock, which says "
            f"{now:%Y-%m-%dT%H:%M:%SZ}; write an earlier time, or set the clock (NTP)"
        )


def wait_seconds(minutes: float | None, *, in_turn: bool) -> float:
    """How long a command waits for another run that holds its account or destination, in seconds.

    Args:
        minutes: The value of `--wait`; None where it was not given.
        in_turn: Whether the command is a replay or was given a range or a lookback. It then
            waits for ten minutes by default; else it leaves its work to the other run.

    Raises:
        SettingsError: The value is negative or not a finite number.
    """
    if minutes is None:
        minutes = _WAIT_MINUTES if in_turn else 0.0
    if not 0 <= minutes < math.inf:
        raise SettingsError(f"--wait: {minutes:g} is not a number of minutes; write 0 or more")
    return minutes * 60
