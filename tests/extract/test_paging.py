"""What makes paging hard: equal timestamps, moving pages, and all that clients disagree about."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import faults
from sandbox.false_pages import counting
from sandbox.faults import Fault
from sandbox.halo_api import HaloStandIn
from sandbox.halo_state import Clock
from tasks.time_window import MICROSECOND, Window, isoformat, parse_time
from tests.extract.harness import BRIEF, MINUTE, NOW, START, Harness, event, events

if TYPE_CHECKING:
    from pathlib import Path

BURST = NOW - timedelta(days=1, seconds=1)
QUIRKS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "until is inclusive": {"until_inclusive": True},
    "no count": {"count": False},
    "no next": {"pagination": False},
    "neither": {"count": False, "pagination": False, "until_inclusive": True},
    "a page is capped": {"max_per_page": 33},
    "a page is capped, no count": {"max_per_page": 33, "count": False},
    "no order unless asked": {"unsorted": "shuffled"},
    "gzip": {"gzip": True},
}


def switch(halo: HaloStandIn, switches: dict[str, Any]) -> None:
    """Set switches of the stand-in."""
    for name, value in switches.items():
        setattr(halo.switches, name, value)


@pytest.mark.parametrize("quirk", QUIRKS)
def test_every_reading_of_the_api_gives_every_event(
    halo: HaloStandIn, harness: Harness, quirk: str
) -> None:
    """Whatever clients disagree about, all events are staged once, and so at every repeat."""
    switch(halo, QUIRKS[quirk])
    halo.populate(3000, days=3, until=NOW)
    halo["alpha"].add(events(40, NOW.replace(hour=0), NOW.replace(hour=0) + MICROSECOND, 10_000))
    halo["alpha"].add(events(40, START, START + MICROSECOND, 20_000))
    for _ in range(2):
        assert harness.sync().problems == []
        harness.assert_exact()
        assert harness.coverage() == [Window(START, halo.clock.now())]
        halo.clock.advance(MINUTE)


@pytest.mark.parametrize("quirk", ["as it is", "until is inclusive", "no count", "neither"])
@pytest.mark.parametrize("count", [1_500, 5_000, 5_001, 12_000])
def test_any_number_of_events_may_share_a_time(
    halo: HaloStandIn, harness: Harness, quirk: str, count: int
) -> None:
    """A burst at one time is read whole, whether it fits into the page limit or not."""
    switch(halo, QUIRKS[quirk])
    halo["alpha"].add(events(900, START, NOW, first=100_000))
    halo["alpha"].add([event(at, BURST) for at in range(count)])
    assert harness.sync().problems == []
    harness.assert_exact()
    assert len(harness.files()) < 50


def test_a_burst_out_of_reach_of_every_filter_is_a_gap(halo: HaloStandIn, harness: Harness) -> None:
    """Where `count` says that there is more than any listing shows, that is said and a gap."""
    alike = [event(at, BURST, type="unheard_of", critical=False) for at in range(10_050)]
    halo["alpha"].add(alike)
    halo["alpha"].add(events(900, START, NOW, first=100_000))
    result = harness.sync()
    assert result.new == 10_900
    (gap,) = result.gaps
    assert "50 of 10,050" in gap.reason
    assert BURST in Window(parse_time(gap.since), parse_time(gap.until))
    assert not any(BURST in window for window in harness.coverage())
    assert harness.sync().new == 0
    assert len(harness.raw()) == 10_900


def test_a_count_that_is_never_reached_is_a_gap(halo: HaloStandIn, harness: Harness) -> None:
    """A window whose listing shows less than its count is staged, and is no coverage."""
    halo["alpha"].add(events(30, START, START + MINUTE))
    page = b'{"count":31,"events":[' + b",".join(halo["alpha"].visible()) + b"]}"
    halo.fail(faults.body(page), times=None)
    result = harness.sync(retry_policy=BRIEF, window=Window(START, START + 2 * MINUTE))
    assert result.new == 30
    assert "counts 31" in result.gaps[0].reason
    assert harness.coverage() == []
    halo.heal()
    assert harness.sync().problems == []
    harness.assert_exact()
    assert harness.coverage() == [Window(START, NOW)]


@pytest.mark.parametrize("count", [True, False])
@pytest.mark.parametrize("after", range(8))
def test_events_inserted_while_paging_are_found(tmp_path: Path, *, after: int, count: bool) -> None:
    """What is inserted at any place of a listing while its pages are read costs no event."""
    places = (0, 1, 99, 100, 101, 250, 349)
    since, until = NOW.replace(hour=1), NOW - timedelta(hours=1)
    with HaloStandIn([f"at-{at}" for at in places], clock=Clock(NOW), count=count) as halo:
        for at in places:
            place = since + (until - since) * at / 350
            account = halo[f"at-{at}"]
            account.add(events(350, since, until))
            account.add(events(3, place, place + MICROSECOND, 1000), after_requests=after)
            harness = Harness(halo, tmp_path, halo_start=since)
            assert harness.sync(account.name).problems == []
            harness.assert_exact(account.name)


def test_events_inserted_with_every_request_cost_no_other(
    halo: HaloStandIn, harness: Harness
) -> None:
    """A window that never stands still is read in the end; what came meanwhile is late."""
    since = NOW.replace(hour=1)
    halo["alpha"].add(events(500, since, NOW - timedelta(hours=1)))
    for at in range(60):
        place = since + MINUTE * at
        halo["alpha"].add([event(1000 + at, place)], after_requests=at)
    assert harness.sync().problems == []
    staged = {row["event_id"] for row in harness.raw()}
    assert {f"{at:032x}" for at in range(500)} <= staged


@pytest.mark.parametrize("count", [True, False])
def test_events_that_leave_while_paging_cost_no_other(
    halo: HaloStandIn, harness: Harness, *, count: bool
) -> None:
    """At the old end events leave with every request; none that stays is missed."""
    switch(halo, {"count": count, "retention_days": 90})
    start = NOW - timedelta(days=90)
    halo["alpha"].add(events(2000, start, start + timedelta(days=1)))
    halo.clock.per_request = MINUTE
    harness.settings = harness.settings.model_copy(update={"halo_start": start})
    assert harness.sync().problems == []
    staged = {row["event_id"] for row in harness.raw()}
    kept = halo.clock.now() - timedelta(days=90)
    stayed = [json.loads(body) for body in halo["alpha"].visible()]
    stayed = [one for one in stayed if one["created_at"] >= isoformat(kept)]
    assert 1000 < len(stayed) < 1990
    assert {one["id"] for one in stayed} <= staged


@pytest.mark.parametrize("many", [0, 30, 150])
def test_a_count_of_something_else_is_a_gap_after_so_many_requests(
    halo: HaloStandIn, harness: Harness, many: int
) -> None:
    """However far `count` is from what is listed, a window is split only where pages show it."""
    halo.fail(counting(lambda _: 10**12), times=None)
    halo["alpha"].add(events(many, START, START + MINUTE))
    result = harness.sync(window=Window(START, START + 2 * MINUTE))
    assert result.new == many
    assert "the API counts 1,000,000,000,000 events" in result.gaps[0].reason
    assert harness.coverage() == []
    assert halo.counters.requests < 1000
    halo.heal()
    assert harness.sync().problems == []
    harness.assert_exact()


@pytest.mark.parametrize("events_each", [100, 250, 1000])
def test_a_count_of_the_page_alone_is_seen_through(
    halo: HaloStandIn, harness: Harness, events_each: int
) -> None:
    """Where `count` counts the page's events only, a next page tells that there are more."""

    async def happen(exchange: Any) -> None:
        page = json.loads(exchange.page([]))
        page["count"] = len(page["events"])
        await exchange.answer(200, json.dumps(page).encode(), [])

    halo.fail(Fault("count of the page", happen), times=None)
    for day in range(3):
        since = START + timedelta(days=day)
        halo["alpha"].add(events(events_each, since, since + MINUTE, 10_000 * day))
    assert harness.sync().problems == []
    assert len(harness.raw()) == 3 * events_each


@pytest.mark.parametrize("most", [700, 1000, 2000])
def test_a_count_that_ends_at_some_number_is_seen_through(
    halo: HaloStandIn, harness: Harness, most: int
) -> None:
    """Where `count` says no more than so many, whatever there is, all events are read."""
    halo.switches.max_per_page = 10
    halo.fail(counting(lambda count: min(count, most)), times=None)
    halo["alpha"].add(events(6000, START, START + timedelta(hours=20)))
    result = harness.sync()
    assert result.problems == []
    harness.assert_exact()


@pytest.mark.parametrize("seed", range(4))
def test_bursts_anywhere_are_read_with_few_requests(
    halo: HaloStandIn, harness: Harness, seed: int
) -> None:
    """However events lie in time and whatever the API is like, no window is asked for endlessly."""
    random = Random(seed)
    halo.switches.set(
        max_per_page=7,
        until_inclusive=random.random() < 0.5,
        count=random.random() < 0.7,
        pagination=random.random() < 0.5,
    )
    number = 0
    while number < 4000:
        since = START + timedelta(seconds=random.randrange(3 * 86_400))
        length = timedelta(microseconds=10 ** random.randrange(11))
        many = random.choice([1, 50, 300, 600])
        found = [event(number + at, since + length * random.random()) for at in range(many)]
        halo["alpha"].add(one for one in found if one["created_at"] < isoformat(NOW))
        number += many
    assert harness.sync().problems == []
    harness.assert_exact()
    assert halo.counters.requests < 4 * number / 7


def test_a_foreign_next_is_not_followed(halo: HaloStandIn, harness: Harness) -> None:
    """The pages of a listing are asked of HALO_API_URL, whatever `pagination.next` says."""
    halo.populate(1000, days=3, until=NOW)
    halo.switches.next_origin = "http://127.0.0.1:9"
    assert harness.sync().problems == []
    harness.assert_exact()


def test_pages_beyond_the_limit_are_never_asked_for(halo: HaloStandIn, harness: Harness) -> None:
    """No query goes deeper than 50 pages, and an API that refuses page 51 loses nothing."""
    switch(halo, {"max_page": 50, "past_max_page": "error"})
    halo["alpha"].add(events(12_345, NOW - timedelta(hours=5), NOW))
    assert harness.sync().problems == []
    harness.assert_exact()
    windows = harness.coverage()
    assert all(one.until <= other.since for one, other in pairwise(windows))
