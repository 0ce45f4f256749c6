"""Events that appear late, and how far back each sync looks for them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tasks.time_window import Window
from tests.extract.harness import MINUTE, NOW, START, Harness, event

if TYPE_CHECKING:
    from sandbox.halo_api import HaloStandIn


@pytest.mark.parametrize("minutes", [0, 1, 5, 14, 15])
def test_late_events_are_found(halo: HaloStandIn, harness: Harness, minutes: int) -> None:
    """An event that appears up to 15 minutes late is found by the syncs after it appeared."""
    created = NOW - 2 * MINUTE
    halo["alpha"].add([event(1, created)], visible_from=created + minutes * MINUTE)
    for step in (1, 3, 4, 9, 30):
        harness.sync()
        halo.clock.set(NOW + step * MINUTE)
    harness.sync()
    harness.assert_exact()


def test_events_late_by_any_offset_are_found_at_once(halo: HaloStandIn, harness: Harness) -> None:
    """Events created at any moment of the last 15 minutes of covered time are found."""
    harness.sync()
    late = [event(at, NOW - timedelta(seconds=at)) for at in range(1, 901)]
    late += [event(1000 + at, NOW - timedelta(microseconds=at)) for at in range(1, 50)]
    halo["alpha"].add(late)
    halo.clock.advance(5 * MINUTE)
    assert harness.sync().new == len(late)
    harness.assert_exact()


def test_a_deep_look_finds_what_is_later(halo: HaloStandIn, harness: Harness) -> None:
    """Events that appear a day late are found by a look as deep as that, and not before."""
    harness.sync()
    halo["alpha"].add([event(1, NOW - timedelta(hours=20))])
    assert harness.sync().new == 0
    assert harness.sync(lookback=24 * 60).new == 1


def test_the_last_look_reaches_over_midnight(halo: HaloStandIn, harness: Harness) -> None:
    """Covered time that ends just after midnight is read again on both its days."""
    midnight = NOW.replace(hour=0)
    halo.clock.set(midnight + 5 * MINUTE)
    harness.sync()
    halo["alpha"].add([event(1, midnight - 5 * MINUTE), event(2, midnight + MINUTE)])
    halo.clock.advance(5 * MINUTE)
    assert harness.sync().new == 2
    assert harness.coverage() == [Window(START, midnight + 10 * MINUTE)]
