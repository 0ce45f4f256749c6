"""Which windows an extraction reads, decided before anything is fetched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.halo_history import HALO_KEEPS
from tasks.time_window import Window, difference, union

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from tasks.staging.coverage import Coverage


@dataclass(frozen=True)
class PlannedRange:
    """A range to be read.

    Attributes:
        window: The range.
        expired: Whether it is a gap so old that Halo has dropped its events, unless a look at its
            oldest event shows otherwise.
        boundary: Where covered time ended in it. What lies before is the lookback, which is read
            again for late events. None where the whole range is one or the other.
    """

    window: Window
    boundary: datetime | None = None
    expired: bool = False


@dataclass(frozen=True)
class Plan:
    """What an extraction reads.

    Attributes:
        ranges: What is read; sorted, none overlapping another.
        begin: Where the account begins from now on; None where it began there or earlier. This is
            written before any event is staged, so that a first range that fails is a gap.
        synced: Whether a sync has set where the account begins, and later ones read on from there;
            false where only `extract --since` has.
    """

    ranges: list[PlannedRange] = field(default_factory=list)
    begin: datetime | None = None
    synced: bool = True


def plan_sync(known: Coverage, *, start: datetime, now: datetime, lookback: timedelta) -> Plan:
    """From where the account begins to now: what is not covered, and what to look at again.

    Covered time ends where an extraction once ended. The last part of it, at its end and before
    each gap, was read too early for late events, and is read again. What Halo or retention has
    dropped is not.

    Args:
        known: What is known of the account's time.
        start: Where an account begins that was never synced, unless it begins earlier.
        now: The end of the range.
        lookback: How much of covered time, before each of its ends, is read again.
    """
    since = known.begin if known.begin and known.synced else min(start, known.begin or start)
    if since >= now:
        return Plan()
    covered = union([*known.covered, *known.lost])
    ranges = _uncovered(covered, Window(since, now), lookback, known.dropped)
    if known.begin is None:
        return Plan(ranges, since)
    ranges = [
        part
        for planned in ranges
        for part in _split_expired(planned, known.begin, now - HALO_KEEPS)
    ]
    if covered:
        last = covered[-1]
        lookback_start = max(last.since, last.until - lookback)
        # covered up to now, or further because the clock was set back
        if last.until >= now > lookback_start:
            ranges.append(PlannedRange(Window(lookback_start, now)))
    return Plan(ranges, None if known.synced else since)


def plan_range(known: Coverage, window: Window, *, now: datetime, lookback: timedelta) -> Plan:
    """A range, whether it is covered or not, without what retention has dropped.

    Where it begins at the end of covered time, the lookback before it is read again too: no later
    run could know that covered time once ended there.
    """
    if window.since >= now:
        return Plan()
    wanted = Window(window.since, min(window.until, now))
    ranges = _uncovered(known.covered, wanted, lookback, known.dropped)
    rest = difference(wanted, [*(planned.window for planned in ranges), *known.dropped])
    ranges += [PlannedRange(piece) for piece in rest]
    ranges.sort(key=lambda planned: planned.window)
    earlier = known.begin is None or wanted.since < known.begin
    return Plan(ranges, wanted.since if earlier else None, known.synced)


def _uncovered(
    covered: list[Window], wanted: Window, lookback: timedelta, dropped: Sequence[Window]
) -> list[PlannedRange]:
    """The gaps of a range, each with the lookback before it."""
    ends = {piece.until: piece for piece in covered}
    ranges = []
    for gap in difference(wanted, [*covered, *dropped]):
        piece = ends.get(gap.since)
        start = max(piece.since, gap.since - lookback) if piece else gap.since
        boundary = gap.since if start < gap.since else None
        ranges.append(PlannedRange(Window(start, gap.until), boundary))
    return ranges


def _split_expired(planned: PlannedRange, begin: datetime, oldest: datetime) -> list[PlannedRange]:
    """The range, cut at `oldest`: what is older is expired.

    A range before the account's beginning was never wanted, and is not expired.
    """
    gap = Window(planned.boundary or planned.window.since, planned.window.until)
    if gap.since >= oldest or gap.since < begin:
        return [planned]
    if gap.until <= oldest:
        return [PlannedRange(gap, expired=True)]
    return [
        PlannedRange(Window(gap.since, oldest), expired=True),
        PlannedRange(Window(oldest, gap.until)),
    ]
