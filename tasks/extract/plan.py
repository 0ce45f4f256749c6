"""Which windows an extraction reads, decided before anything is fetched."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tasks.time_window import Window, difference

HALO_KEEPS = timedelta(days=90)
"""Older events are gone from Halo."""
HALO_BEGAN = datetime(2010, 1, 1, tzinfo=UTC)
"""There was no Halo before: an earlier time is a mistake."""


@dataclass(frozen=True)
class PlannedRange:
    """A stretch of time to be read.

    Attributes:
        window: The stretch.
        overdue: Whether it is a gap so old that Halo has dropped it, unless it says otherwise.
        boundary: Where covered time ends in it: what is before is read again, for events that
            appeared late. None where it is all of one kind.
    """

    window: Window
    boundary: datetime | None = None
    overdue: bool = False


@dataclass(frozen=True)
class Plan:
    """What an extraction is to do.

    Attributes:
        runs: What is read; sorted, none overlapping another.
        begin: Where the account begins from now on, None where it began there or earlier. It is
            to be remembered before anything later is staged, so that a beginning that fails is a
            gap, and not forgotten.
        synced: Whether the account is synced from there on, or a range of it extracted by itself.
    """

    runs: list[PlannedRange] = field(default_factory=list)
    begin: datetime | None = None
    synced: bool = True


def plan_sync(
    covered: list[Window],
    begin: datetime | None,
    *,
    start: datetime,
    now: datetime,
    lookback: timedelta,
    synced: bool = True,
) -> Plan:
    """From where the account begins to now: what is not covered, and what to look at again.

    Covered time ends where an extraction once ended, so its last part was read when late events
    were still to come: at its end, and before each gap.

    Args:
        covered: The coverage, and what is lost; sorted, nothing touching.
        begin: Where the account begins; None for one of which nothing is staged.
        start: Where that one is to begin, and one that was never synced, unless it does earlier.
        now: The end of the range.
        lookback: How much of covered time, before each of its ends, is read again.
        synced: Whether a sync began at `begin`, or only ranges were extracted by themselves.
    """
    since = min(start, begin or start)
    if begin is not None and synced:
        since = begin
    if since >= now:
        return Plan()
    runs = _runs(covered, Window(since, now), lookback)
    if begin is None:
        return Plan(runs, since)
    runs = [part for run in runs for part in _overdue(run, begin, now - HALO_KEEPS)]
    if covered:
        last = covered[-1]
        look = max(last.since, last.until - lookback)
        # an extraction of this very moment, or a clock that was set back
        if last.until >= now > look:
            runs.append(PlannedRange(Window(look, now)))
    return Plan(runs, None if synced else since)


def plan_range(
    covered: list[Window],
    begin: datetime | None,
    window: Window,
    *,
    now: datetime,
    lookback: timedelta,
    synced: bool = True,
) -> Plan:
    """A range, whether it is covered or not.

    Where it goes on from where covered time ends, the last part of that is read again too: it
    would not be known later that covered time once ended there.
    """
    if window.since >= now:
        return Plan()
    wanted = Window(window.since, min(window.until, now))
    runs = _runs(covered, wanted, lookback)
    runs += [PlannedRange(piece) for piece in difference(wanted, [run.window for run in runs])]
    earlier = begin is None or wanted.since < begin
    runs.sort(key=lambda run: run.window)
    return Plan(runs, wanted.since if earlier else None, synced)


def _runs(covered: list[Window], wanted: Window, lookback: timedelta) -> list[PlannedRange]:
    """What of a range is not covered, each with what is to be read again before it."""
    ends = {piece.until: piece for piece in covered}
    runs = []
    for gap in difference(wanted, covered):
        piece = ends.get(gap.since)
        look = max(piece.since, gap.since - lookback) if piece else gap.since
        boundary = gap.since if look < gap.since else None
        runs.append(PlannedRange(Window(look, gap.until), boundary))
    return runs


def _overdue(run: PlannedRange, begin: datetime, oldest: datetime) -> list[PlannedRange]:
    """The run, or what of it is older than `oldest` and what is not.

    What lies before the account's beginning so far was never wanted, and is not overdue.
    """
    gap = Window(run.boundary or run.window.since, run.window.until)
    if gap.since >= oldest or gap.since < begin:
        return [run]
    if gap.until <= oldest:
        return [PlannedRange(gap, overdue=True)]
    return [
        PlannedRange(Window(gap.since, oldest), overdue=True),
        PlannedRange(Window(oldest, gap.until)),
    ]
