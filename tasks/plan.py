"""Which windows an extraction reads, decided before anything is fetched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.windows import MICROSECOND, Window, difference

if TYPE_CHECKING:
    from datetime import datetime, timedelta


@dataclass(frozen=True)
class Run:
    """A stretch of time to be read.

    Attributes:
        window: The stretch.
        edge: Where covered time ends in it: what is before is read again, for events that
            appeared late. None where it is all of one kind.
    """

    window: Window
    edge: datetime | None = None


@dataclass(frozen=True)
class Plan:
    """What an extraction is to do.

    Attributes:
        runs: What is read; sorted, none overlapping another.
        anchor: The first microsecond of an account that has nothing staged from then on. It is
            staged before anything else, so that a beginning that fails is a gap, and is not
            forgotten.
    """

    runs: list[Run] = field(default_factory=list)
    anchor: Window | None = None


def plan_sync(
    covered: list[Window], *, start: datetime, now: datetime, lookback: timedelta
) -> Plan:
    """From where the account begins to now: what is not covered, and what to look at again.

    Covered time ends where an extraction once ended, so its last part was read when late events
    were still to come: at its end, and before each gap.

    Args:
        covered: The coverage, sorted, nothing touching.
        start: Where an account without coverage begins.
        now: The end of the range.
        lookback: How much of covered time, before each of its ends, is read again.
    """
    begin = covered[0].since if covered else start
    if begin >= now:
        return Plan()
    plan = _plan(covered, Window(begin, now), lookback)
    # an extraction of this very moment, or a clock that was set back
    last = covered[-1] if covered else None
    if last is not None and last.until >= now and max(last.since, last.until - lookback) < now:
        plan.runs.append(Run(Window(max(last.since, last.until - lookback), now)))
    return plan


def plan_range(
    covered: list[Window], window: Window, *, now: datetime, lookback: timedelta
) -> Plan:
    """A range, whether it is covered or not.

    Where it goes on from where covered time ends, the last part of that is read again too: it
    would not be known later that covered time once ended there.
    """
    if window.since >= now:
        return Plan()
    wanted = Window(window.since, min(window.until, now))
    plan = _plan(covered, wanted, lookback)
    again = [Run(piece) for piece in difference(wanted, [run.window for run in plan.runs])]
    return Plan(sorted([*plan.runs, *again], key=lambda run: run.window), plan.anchor)


def _plan(covered: list[Window], wanted: Window, lookback: timedelta) -> Plan:
    ends = {piece.until: piece for piece in covered}
    runs = []
    for gap in difference(wanted, covered):
        piece = ends.get(gap.since)
        look = max(piece.since, gap.since - lookback) if piece else gap.since
        edge = gap.since if look < gap.since else None
        runs.append(Run(Window(look, gap.until), edge))
    if covered and covered[0].since <= wanted.since:
        return Plan(runs)
    return Plan(runs, Window(wanted.since, wanted.since + MICROSECOND))
