"""A window that grows while it is read, as those of busy accounts do."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import pytest

from sandbox.false_pages import meanwhile
from tasks.time_window import Window
from tests.extract.harness import MINUTE, NOW, Harness, event, events

if TYPE_CHECKING:
    from sandbox.halo_api import HaloStandIn

WINDOW_READS = 2
LEAVING = NOW - timedelta(days=89, hours=1)
RANGES = {
    "asc": Window(NOW - 14 * MINUTE, NOW),
    "desc": Window(LEAVING, LEAVING + 14 * MINUTE),
}


def grow(halo: HaloStandIn, window: Window, many: int, *, after: timedelta = MINUTE) -> None:
    """Insert so many events anywhere in a window (behind its beginning) with every answer."""
    random, numbers = Random(many), count(100_000)
    length = (window.duration - after) / timedelta(microseconds=1)

    def insert() -> None:
        places = (after + timedelta(microseconds=random.random() * length) for _ in range(many))
        halo["alpha"].add([event(next(numbers), window.since + place) for place in places])

    halo.fail(meanwhile(insert), times=None)


@pytest.mark.parametrize("size", [99, 100, 495, 500])
@pytest.mark.parametrize("many", [1, 5, 20])
@pytest.mark.parametrize("order", RANGES)
def test_a_window_that_grows_is_complete(
    halo: HaloStandIn, harness: Harness, order: str, many: int, size: int
) -> None:
    """All that was there is staged, and what came meanwhile by the next look; it is no gap."""
    window = RANGES[order]
    halo["alpha"].add(events(size, window.since, window.until))
    grow(halo, window, many)
    result = harness.sync(window=window) if order == "desc" else harness.sync()
    assert (result.problems, result.gaps) == ([], [])
    assert {f"{at:032x}" for at in range(size)} <= {row["event_id"] for row in harness.raw()}
    pages = size / 100 + 1
    # each page read makes the listing longer by so many hundredths of a page
    assert halo.counters.requests <= WINDOW_READS * (pages + 2) * 100 / (100 - many) + 10
    halo.heal()
    result = harness.sync(window=window) if order == "desc" else harness.sync()
    assert result.problems == []
    harness.assert_exact()


@pytest.mark.parametrize("order", RANGES)
@pytest.mark.parametrize("many", [1, 20])
def test_a_window_that_grows_beyond_the_page_limit_is_split(
    halo: HaloStandIn, harness: Harness, order: str, many: int
) -> None:
    """It has 50 full pages when it is begun, and more later."""
    window = RANGES[order]
    halo["alpha"].add(events(5000, window.since, window.until))
    grow(halo, window, many)
    result = harness.sync(window=window)
    assert (result.problems, result.gaps) == ([], [])
    assert {f"{at:032x}" for at in range(5000)} <= {row["event_id"] for row in harness.raw()}
    assert halo.counters.requests < 1000
    halo.heal()
    assert harness.sync(window=window).problems == []
    harness.assert_exact()


@pytest.mark.parametrize("many", [1, 5, 20])
def test_a_window_that_grows_is_complete_without_count(
    halo: HaloStandIn, harness: Harness, many: int
) -> None:
    """Nothing says how many there are; what was there is read all the same."""
    window = RANGES["asc"]
    halo.switches.set(count=False, pagination=False)
    halo["alpha"].add(events(500, window.since, window.until))
    grow(halo, window, many)
    assert harness.sync().problems == []
    assert {f"{at:032x}" for at in range(500)} <= {row["event_id"] for row in harness.raw()}
    halo.heal()
    assert harness.sync().problems == []
    harness.assert_exact()


def test_events_that_come_while_a_busy_account_is_read_are_staged_by_the_next_sync(
    halo: HaloStandIn, harness: Harness
) -> None:
    """Its clock runs: what is created meanwhile appears some minutes late, and never is a gap."""
    halo["alpha"].add(events(3_000, NOW - 3 * 60 * MINUTE, NOW))
    halo.clock.per_request = timedelta(seconds=1)
    numbers = count(100_000)

    def insert() -> None:
        now = halo.clock.now()
        late = [event(next(numbers), now - at * MINUTE) for at in range(10)]
        halo["alpha"].add(late)

    halo.fail(meanwhile(insert), times=None)
    for _ in range(3):
        assert harness.sync().problems == []
        halo.clock.advance(5 * MINUTE)
    halo.heal()
    halo.clock.advance(MINUTE)
    assert harness.sync().problems == []
    harness.assert_exact()
