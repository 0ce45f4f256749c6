"""Any history of arrival, any mishap on the way: in the end raw is what was ever listed."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox import faults
from tasks.retry_policy import RetryPolicy
from tests.extract.harness import MINUTE, NOW, Harness, event

if TYPE_CHECKING:
    from sandbox.halo_api import HaloStandIn

BEGIN = NOW.replace(hour=20)
LOOKBACK = 15
SINGLE_ATTEMPT = RetryPolicy(total=0, attempt=5, read=5)


@dataclass(frozen=True)
class Arrival:
    """Events created at the same time, and how much later they are listed."""

    minute: int
    micros: int
    late: int
    many: int


@dataclass(frozen=True)
class Sync:
    """A sync so many minutes after the one before, and what happens to it.

    Attributes:
        fails: Every so many-th listing fails, from the first one on; 0 for none.
        first: The first listing that fails.
        stops: It is interrupted when so many windows are done; 0 for not at all.
    """

    after: int
    fails: int
    first: int
    stops: int


arrivals = st.builds(
    Arrival,
    minute=st.integers(0, 12 * 60) | st.integers(3 * 60 + 40, 4 * 60 + 20),
    micros=st.sampled_from([0, 0, 1, 999_999]) | st.integers(0, 59_999_999),
    late=st.integers(0, LOOKBACK),
    many=st.sampled_from([1, 1, 2, 60, 130]),
)
syncs = st.builds(
    Sync,
    after=st.sampled_from([0, 1, 5, 5, 5, 7, 15, 16, 60, 300]),
    fails=st.sampled_from([0, 0, 0, 1, 2, 3]),
    first=st.integers(0, 4),
    stops=st.sampled_from([0, 0, 0, 0, 1, 2]),
)
switches = st.fixed_dictionaries(
    {
        "count": st.booleans(),
        "until_inclusive": st.booleans(),
        "max_per_page": st.sampled_from([500, 500, 40]),
    }
)


def live(halo: HaloStandIn, history: list[Arrival], runs: list[Sync], odd: dict[str, Any]) -> None:
    """Let it happen, and look at what is staged in the end."""
    halo.renew()
    halo.switches.set(**odd)
    halo.clock.set(BEGIN)
    number = 0
    for arrival in history:
        created = BEGIN + arrival.minute * MINUTE + timedelta(microseconds=arrival.micros)
        group = [event(number + at, created) for at in range(arrival.many)]
        halo["alpha"].add(group, visible_from=created + arrival.late * MINUTE)
        number += arrival.many
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(halo, Path(folder), halo_start=BEGIN, halo_lookback_minutes=LOOKBACK)
        for run in runs:
            halo.clock.advance(run.after * MINUTE)
            if run.fails:
                fault = faults.status(500)
                halo.fail(fault, after=run.first, every=run.fails, times=None)
            stop = threading.Event()

            def progress(done: int, _: int, stop: threading.Event = stop, run: Sync = run) -> None:
                if run.stops and done >= run.stops:
                    stop.set()

            harness.sync(retry_policy=SINGLE_ATTEMPT, stop=stop, progress=progress)
            halo.heal()
        end = max([halo.clock.now(), BEGIN + 13 * 60 * MINUTE])
        halo.clock.set(end)
        assert harness.sync().problems == []
        harness.assert_exact()
        (covered,) = harness.coverage()
        assert (covered.since, covered.until) == (BEGIN, end)


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(st.lists(arrivals, max_size=12), st.lists(syncs, max_size=10), switches)
def test_raw_is_what_was_ever_listed(
    running: HaloStandIn, history: list[Arrival], runs: list[Sync], odd: dict[str, Any]
) -> None:
    """Late, equal and many events, failing and interrupted syncs: the last one makes it exact."""
    live(running, history, runs, odd)


@pytest.mark.soak
@settings(max_examples=3000, suppress_health_check=list(HealthCheck))
@given(st.lists(arrivals, max_size=40), st.lists(syncs, max_size=30), switches)
def test_raw_is_what_was_ever_listed_in_thousands_of_histories(
    running: HaloStandIn, history: list[Arrival], runs: list[Sync], odd: dict[str, Any]
) -> None:
    """The same, longer and more often."""
    live(running, history, runs, odd)
