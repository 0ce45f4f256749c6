"""What could not be read: named, a gap in the coverage, filled by a later sync, or lost."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox import faults
from tasks.retry_policy import RetryPolicy
from tasks.time_window import Window, isoformat
from tests.extract.harness import BRIEF, COVERED, MINUTE, NOW, START, Harness, event, events

if TYPE_CHECKING:
    from sandbox.halo_api import HaloStandIn


@pytest.mark.parametrize("others", [0, 300])
def test_ties_in_no_order_without_a_count_are_a_gap(
    halo: HaloStandIn, harness: Harness, others: int
) -> None:
    """Pages that swap what shares a time hide events: that is said, and never called complete."""
    halo.switches.set(shuffle_ties=True, count=False, pagination=False, max_per_page=7)
    halo["alpha"].add([event(number, START) for number in range(60)])
    halo["alpha"].add(events(others, START + MINUTE, START + 300 * MINUTE, first=60))
    result = harness.sync()
    assert result.gaps
    assert "another order every time" in result.problems[0]


def test_a_window_that_fails_is_named_and_filled_by_the_next_sync(
    halo: HaloStandIn, harness: Harness
) -> None:
    """One window's fault is a gap with account, range and reason; the others are staged."""
    halo["alpha"].add(events(300, START, NOW))
    day = Window(NOW.replace(day=3, hour=0), NOW.replace(day=4, hour=0))
    halo.fail(faults.status(500), since=day.since, until=day.until, times=None)
    result = harness.sync(retry_policy=BRIEF)
    assert [(gap.since, gap.until) for gap in result.gaps] == [
        ("2026-03-03T00:00:00Z", "2026-03-04T00:00:00Z")
    ]
    (problem,) = result.problems
    assert "alpha" in problem
    assert str(day) in problem
    assert "500" in problem
    assert harness.coverage() == [Window(START, day.since), Window(day.until, NOW)]
    halo.heal()
    assert harness.sync().problems == []
    harness.assert_exact()
    assert harness.coverage() == COVERED


def test_a_beginning_that_fails_is_not_forgotten(halo: HaloStandIn, harness: Harness) -> None:
    """The first window of an account is a gap too when it fails, and is filled."""
    halo["alpha"].add(events(300, START, NOW))
    halo.fail(faults.status(500), since=START, until=START + 2 * MINUTE, times=None)
    assert len(harness.sync(retry_policy=BRIEF).problems) == 1
    assert harness.coverage()[0].since > START
    halo.heal()
    harness.sync()
    harness.assert_exact()
    assert harness.coverage() == COVERED


def test_a_second_look_that_fails_is_taken_later(halo: HaloStandIn, harness: Harness) -> None:
    """Where the last part of covered time can't be read again, a later sync still does."""
    midnight = NOW.replace(hour=0)
    halo.clock.set(midnight)
    harness.sync(retry_policy=BRIEF)
    late = event(1, midnight - 5 * MINUTE)
    halo["alpha"].add([late, event(2, midnight + MINUTE)])
    halo.fail(faults.status(500), since=midnight - 15 * MINUTE, until=midnight, times=None)
    halo.clock.set(midnight + timedelta(hours=3))
    assert len(harness.sync(retry_policy=BRIEF).problems) == 1
    assert [row["event_id"] for row in harness.raw()] == [f"{2:032x}"]
    halo.heal()
    halo.clock.set(midnight + timedelta(hours=6))
    assert harness.sync().new == 1
    harness.assert_exact()
    assert harness.coverage() == [Window(START, midnight + timedelta(hours=6))]


def test_an_api_without_answers_costs_one_retry_limit(harness: Harness) -> None:
    """An address where nobody listens is given up as a whole, with the setting to look at."""
    harness.settings = harness.settings.model_copy(update={"halo_api_url": "http://127.0.0.1:9"})
    started = time.monotonic()
    result = harness.sync(clock=lambda: NOW + timedelta(days=80), retry_policy=BRIEF)
    assert time.monotonic() - started < 5 * BRIEF.total
    (problem,) = result.problems
    assert "HALO_API_URL" in problem
    assert "http://127.0.0.1:9" in problem
    assert result.gaps[0].since == "2026-03-01T12:00:00Z"
    assert result.gaps[-1].until == "2026-05-23T12:00:00Z"


def test_requests_that_fail_at_the_same_moment_are_one_failure(
    halo: HaloStandIn, harness: Harness
) -> None:
    """However many windows learn at once that nothing is answered, the account says so once."""
    halo.fail(faults.status(500), times=None)
    halo.switches.latency_ms = 50
    now = NOW + timedelta(days=80)
    halo.clock.set(now)

    def clock() -> datetime:
        # meanwhile the other answers come, and are all met at once
        time.sleep(0.02)
        return now

    result = harness.sync(clock=clock, retry_policy=RetryPolicy(total=0.0, first_contact=0.0))
    (problem,) = result.problems
    assert "HTTP 500" in problem
    assert result.gaps[0].since == "2026-03-01T12:00:00Z"
    assert result.gaps[-1].until == "2026-05-23T12:00:00Z"


def test_the_lookback_before_a_gap_is_read_first_however_it_is_split(
    halo: HaloStandIn, harness: Harness
) -> None:
    """Where covered time ended stays no gap, though what is before it comes later than the rest."""
    midnight = NOW.replace(hour=0)
    halo.clock.set(midnight + 5 * MINUTE)
    harness.sync()
    halo["alpha"].add(events(6000, midnight, midnight + timedelta(hours=3)))
    halo.clock.set(midnight + timedelta(hours=3))
    # the whole day so far is the first such listing, and its part before the boundary the second
    before = Window(midnight, midnight + 5 * MINUTE)
    late = faults.status(503, retry_after=1)
    planned = halo.fail(late, since=before.since, until=before.until, after=1)
    assert harness.sync().problems == []
    assert planned.hits == 1
    harness.assert_exact()
    assert harness.coverage() == [Window(START, midnight + timedelta(hours=3))]


def test_of_a_gap_only_what_halo_has_dropped_is_lost(halo: HaloStandIn, harness: Harness) -> None:
    """Where Halo has some of a gap's events, those are staged, and the time before them is lost."""
    halo["alpha"].add(events(300, START, NOW))
    day = Window(NOW.replace(day=3, hour=0), NOW.replace(day=4, hour=0))
    halo["alpha"].add([b"7"], created_at=day.until - MINUTE)
    halo.fail(faults.status(500), since=day.since, until=day.until, times=None)
    harness.sync(retry_policy=BRIEF)
    halo.heal()
    halo.clock.advance(timedelta(days=95))
    # what is older than noon of that day is gone
    noon = day.since + timedelta(hours=12)
    halo.switches.retention_days = (halo.clock.now() - noon) / timedelta(days=1)
    result = harness.sync()
    (gap,) = result.gaps
    assert (gap.since, gap.lost) == ("2026-03-03T00:00:00Z", True)
    assert result.malformed == 1
    first = min(row["created_at"] for row in harness.raw() if row["created_at"] >= noon)
    assert gap.until == isoformat(first)
    assert harness.coverage() == [
        Window(START, day.since),
        Window(first, halo.clock.now()),
    ]
    assert harness.sync().problems == []


def test_a_gap_that_halo_has_dropped_is_lost_once(halo: HaloStandIn, harness: Harness) -> None:
    """A gap older than Halo keeps events fails once, is remembered as lost, and asked no more."""
    halo.switches.retention_days = 90
    halo["alpha"].add(events(300, START, NOW))
    day = Window(NOW.replace(day=3, hour=0), NOW.replace(day=4, hour=0))
    halo.fail(faults.status(500), since=day.since, until=day.until, times=None)
    harness.sync(retry_policy=BRIEF)
    halo.heal()
    halo.clock.advance(timedelta(days=100))
    result = harness.sync()
    assert any("lost" in problem for problem in result.problems)
    assert all(gap.lost for gap in result.gaps)
    halo.clock.advance(5 * MINUTE)
    assert harness.sync().problems == []


def test_a_range_of_many_days_is_said_once(halo: HaloStandIn, harness: Harness) -> None:
    """Days without a break between them that fail for the same reason are one range in words."""
    halo.switches.retention_days = 90
    halo["alpha"].add(events(300, START, NOW + timedelta(days=201)))
    harness.sync()
    halo.clock.advance(timedelta(days=200))
    result = harness.sync()
    (problem,) = result.problems
    assert (
        f"account alpha: {Window(NOW, halo.clock.now() - timedelta(days=90))}: it was " in problem
    )
    assert "more" not in problem
    assert len(result.gaps) > 100


def test_an_old_gap_is_filled_where_the_api_still_has_it(
    halo: HaloStandIn, harness: Harness
) -> None:
    """An API that keeps events for longer fills gaps of any age, and empty ones are not lost."""
    halo["alpha"].add([event(1, START), event(2, NOW)])
    day = Window(NOW.replace(day=3, hour=0), NOW.replace(day=4, hour=0))
    halo.fail(faults.status(500), since=day.since, until=day.until, times=None)
    harness.sync(retry_policy=BRIEF)
    halo.heal()
    halo.clock.advance(timedelta(days=95))
    assert harness.sync().problems == []
    harness.assert_exact()
