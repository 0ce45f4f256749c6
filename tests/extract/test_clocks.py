"""This machine's clock and the API's: what is read where they differ, and what is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.faults import Fault
from tasks.errors import HaloInvalid
from tasks.extract.account import check_account
from tasks.time_window import Window, parse_time, union
from tests.extract.harness import COVERED, MINUTE, NOW, QUICK, START, Harness, events

if TYPE_CHECKING:
    from sandbox.halo_api import HaloStandIn
    from tasks.extract.result import ExtractResult

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LONG_AGO = datetime(1970, 1, 2, tzinfo=UTC)


@pytest.fixture
def synced(halo: HaloStandIn, harness: Harness) -> Harness:
    """An account that was synced two hours ago; events have come since."""
    halo["alpha"].add(events(500, START, NOW))
    halo.clock.set(NOW - 2 * HOUR)
    harness.sync()
    halo.clock.set(NOW)
    return harness


def gaps(result: ExtractResult) -> list[Window]:
    """What the result calls a gap, merged."""
    return union(Window(parse_time(gap.since), parse_time(gap.until)) for gap in result.gaps)


@pytest.mark.parametrize("minutes", [-15, -2, 2, 15])
def test_clocks_that_differ_by_minutes_are_a_warning(synced: Harness, minutes: int) -> None:
    """Events are read up to the earlier of both; those after it come later, and all come."""
    result = synced.sync(clock=lambda: NOW + minutes * MINUTE)
    assert (result.problems, result.gaps) == ([], [])
    (note,) = result.warnings
    assert ("ahead of" if minutes > 0 else "behind") in note
    assert f"{abs(minutes) * 60} s" in note
    assert synced.coverage() == [Window(START, min(NOW, NOW + minutes * MINUTE))]
    later = synced.sync()
    assert (later.problems, later.notes) == ([], [])
    synced.assert_exact()


def test_clocks_that_differ_by_a_minute_are_taken_as_equal(synced: Harness) -> None:
    """What networks and rounding do to a clock is not spoken of."""
    for minutes in (-1, 1):
        result = synced.sync(clock=lambda minutes=minutes: NOW + minutes * MINUTE)
        assert (result.problems, result.notes) == ([], [])


@pytest.mark.parametrize("ahead", [16 * MINUTE, 120 * DAY, 20_000 * DAY])
def test_a_fast_clock_is_a_problem_and_never_covers_the_future(
    halo: HaloStandIn, synced: Harness, ahead: timedelta
) -> None:
    """What there is by the API's time is staged; both clocks are named; a right clock goes on."""
    halo.reset_counters()
    result = synced.sync(clock=lambda: NOW + ahead)
    (problem,) = result.problems
    assert "account alpha" in problem
    assert f"says {NOW + ahead:%Y-%m-%dT%H:%M:%SZ}" in problem
    assert "2026-03-04T12:00:00Z" in problem
    assert "set this machine's clock (NTP)" in problem
    assert result.notes == []
    assert gaps(result) == [Window(NOW, NOW + ahead)]
    assert synced.coverage() == COVERED
    assert halo.counters.requests < 30, "days of the API's future are not asked for"
    halo["alpha"].add(events(100, NOW, NOW + MINUTE, first=1000))
    halo.clock.advance(2 * MINUTE)
    assert synced.sync().problems == []
    synced.assert_exact()


def test_a_first_sync_by_a_fast_clock_reads_nothing_or_says_what_it_left_out(
    halo: HaloStandIn, harness: Harness
) -> None:
    """Its 90 days end in the future, or leave out the first: the command for those is named."""
    halo["alpha"].add(events(300, NOW - 80 * DAY, NOW))
    harness.settings = harness.settings.model_copy(update={"halo_start": None})
    result = harness.sync(clock=lambda: NOW + 120 * DAY)
    assert (result.new, len(result.problems), result.notes) == (0, 1, [])
    assert harness.files() == []
    result = harness.sync(clock=lambda: NOW + 30 * DAY)
    assert 0 < result.new < 300
    (note,) = result.warnings
    begins = NOW - 60 * DAY
    command = f"--since 2025-12-04T12:00:00Z --until {begins:%Y-%m-%dT%H:%M:%SZ}"
    assert f"`halo-usm extract {command}`" in note
    harness.sync(window=Window(NOW - 90 * DAY, begins))
    assert harness.sync().problems == []
    harness.assert_exact()


def test_a_date_of_long_ago_is_a_problem(halo: HaloStandIn, synced: Harness) -> None:
    """A proxy that alters the API's answers keeps every event away: that is said, and a gap."""
    halo.switches.date_skew = (LONG_AGO - NOW).total_seconds()
    before = synced.files()
    result = synced.sync()
    (problem,) = result.problems
    assert "1970-01-02T00:00:00Z, 20,515 days earlier" in problem
    assert "a proxy" in problem
    assert gaps(result) == [Window(NOW - 2 * HOUR - 15 * MINUTE, NOW)]
    assert synced.files() == before
    halo.switches.date_skew = 0
    assert synced.sync().problems == []
    synced.assert_exact()


def test_some_answers_of_long_ago_are_a_gap(halo: HaloStandIn, harness: Harness) -> None:
    """What a proxy kept has an earlier `Date`: those windows are not covered, the others are."""
    halo["alpha"].add(events(500, START, NOW))
    day = Window(NOW.replace(day=3, hour=0), NOW.replace(day=4, hour=0))

    async def happen(exchange: Any) -> None:
        halo.switches.date_skew = -30 * 86_400
        await exchange.answer(200, exchange.page([]), [])
        halo.switches.date_skew = 0

    halo.fail(Fault("kept by a proxy", happen), since=day.since, until=day.until, times=None)
    result = harness.sync()
    (problem,) = result.problems
    assert "30 days earlier" in problem
    assert gaps(result) == [day]
    assert harness.coverage() == [Window(START, day.since), Window(day.until, NOW)]
    halo.heal()
    assert harness.sync().problems == []
    harness.assert_exact()


@pytest.mark.parametrize("behind", [16 * MINUTE, HOUR])
def test_a_slow_clock_is_a_problem(synced: Harness, behind: timedelta) -> None:
    """Events that are newer than this machine's time don't come: both clocks are named."""
    result = synced.sync(clock=lambda: NOW - behind)
    (problem,) = result.problems
    assert f"says {NOW - behind:%Y-%m-%dT%H:%M:%SZ}" in problem
    assert "later" in problem
    assert gaps(result) == [Window(NOW - behind, NOW)]
    assert synced.coverage() == [Window(START, NOW - behind)]
    synced.sync()
    synced.assert_exact()


def test_a_clock_that_was_set_back_is_a_problem_though_nothing_is_asked(synced: Harness) -> None:
    """Where raw covers time that has not come, nothing is read: no sync calls that a success."""
    result = synced.sync(clock=lambda: NOW - 120 * DAY)
    (problem,) = result.problems
    assert "says 2025-11-04T12:00:00Z, and events are staged up to 2026-03-04T10:00:00Z" in problem
    assert "119 days later" in problem
    assert "`halo-usm extract --since 2025-11-04T12:00:00Z`" in problem
    past = Window(START, START + HOUR)
    assert synced.sync(clock=lambda: NOW - 10 * MINUTE, window=past).problems == []


def test_a_range_in_the_past_is_read_by_a_slow_clock(halo: HaloStandIn, synced: Harness) -> None:
    """Nothing of it was kept from being read, and so it is a note; by a `Date` before it, a gap."""
    past = Window(START, START + DAY)
    result = synced.sync(clock=lambda: NOW - HOUR, window=past)
    assert result.problems == []
    assert "behind" in result.warnings[0]
    halo.switches.date_skew = (LONG_AGO - NOW).total_seconds()
    result = synced.sync(window=past)
    assert len(result.problems) == 1
    assert gaps(result) == [past]


def test_an_extraction_that_takes_an_hour_is_no_difference_of_clocks(
    halo: HaloStandIn, harness: Harness
) -> None:
    """Both clocks move on while events are read."""
    halo["alpha"].add(events(500, START, NOW))
    halo.clock.per_request = 10 * MINUTE
    result = harness.sync()
    assert halo.clock.now() - NOW >= HOUR
    assert (result.problems, result.notes) == ([], [])


def test_a_fast_clock_gives_nothing_up_as_lost(halo: HaloStandIn, synced: Harness) -> None:
    """Time that is older than 90 days by a wrong clock alone is covered, events or not."""
    halo.renew()
    halo.clock.set(NOW)
    result = synced.sync(clock=lambda: NOW + 120 * DAY)
    assert [gap.lost for gap in result.gaps] == [False]
    assert synced.coverage() == COVERED


@pytest.mark.parametrize("ahead", [-HOUR, HOUR])
def test_a_check_says_that_clocks_differ(
    halo: HaloStandIn, harness: Harness, ahead: timedelta
) -> None:
    """`check` fails where a sync would."""
    halo.clock.run()
    halo.clock.advance(ahead)
    with pytest.raises(
        HaloInvalid, match=r"this machine's clock says .*: set this machine's clock"
    ):
        check_account(harness.account(), harness.settings, QUICK)
