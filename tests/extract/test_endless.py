"""An API whose listings have no end: bounded requests and memory, a gap that says why."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from sandbox.false_pages import made_up, same
from sandbox.halo_api import HaloStandIn
from tasks.time_window import Window
from tests.extract.harness import MINUTE, NOW, START, Harness, events
from tests.flows.command import command_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.faults import Fault
    from tasks.extract.result import ExtractResult

PAGE = [json.dumps(one).encode() for one in events(100, NOW - 2 * MINUTE, NOW - MINUTE)]
MIB = 1024 * 1024
BESIDE = 150
"""Requests that a window may take in addition to those for the pages of its first count."""
# what is listed, and how many requests may be made for a window before it is given up
FAULTS: dict[str, tuple[Callable[[], Fault], int]] = {
    "1e9 of the same": (lambda: same(PAGE, 10**9), 60),
    "1e6 of the same": (lambda: same(PAGE, 10**6), BESIDE + 20),
    "6,000 of the same": (lambda: same(PAGE, 6000), BESIDE + 620),
    "the same, and no count": (lambda: same(PAGE, None), 20),
    "more of the same with every answer": (
        lambda: same(PAGE, lambda n: 100 * (n + 1)),
        BESIDE + 20,
    ),
    "many more with every answer": (lambda: same(PAGE, lambda n: 10**5 * (n + 1)), BESIDE + 20),
    "1e9 made up": (lambda: made_up(10**9), 60),
    "1e6 made up": (lambda: made_up(10**6), BESIDE + 20),
    "1e6 made up at one time": (lambda: made_up(10**6, apart=0), BESIDE + 20),
    "made up, more with every answer": (lambda: made_up(lambda n: 100 * (n + 1)), BESIDE + 20),
    "made up, one more with every answer": (lambda: made_up(lambda n: 6000 + n), BESIDE + 20),
    "made up, and a count of the page": (lambda: made_up(100), BESIDE + 10),
    "made up, 7 a page": (lambda: made_up(10**6, size=7), BESIDE + 20),
    "made up, no count": (lambda: made_up(None), BESIDE),
    "made up at one time, no count": (lambda: made_up(None, apart=0), BESIDE),
}


@pytest.fixture(autouse=True)
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less retry_policy, for less time."""
    monkeypatch.setattr("tasks.halo.request_budget.EXTRA_REQUESTS", BESIDE)
    monkeypatch.setattr("tasks.halo.request_budget.EXTRA_REQUESTS_INCONSISTENT", BESIDE)
    monkeypatch.setattr("tasks.halo.request_budget.REQUESTS_WITHOUT_COUNT", BESIDE)


def named(result: ExtractResult) -> list[str]:
    """What is said of gaps, each with the figures."""
    assert result.gaps
    for problem in result.problems:
        assert "a gap, which the next sync tries to fill" in problem
        assert "the API " in problem or "out of reach" in problem
    return result.problems


@pytest.mark.parametrize("fault", FAULTS)
def test_windows_without_end_are_gaps_after_so_many_requests(
    halo: HaloStandIn, harness: Harness, fault: str
) -> None:
    """A day and a half of it: named with figures, the other windows go on, and it heals."""
    make, most = FAULTS[fault]
    halo["alpha"].add(events(300, START, NOW - 2880 * MINUTE, first=1000))
    halo.fail(make(), since=NOW - 1440 * MINUTE, times=None)
    result = harness.sync()
    assert named(result)
    assert halo.counters.requests <= 2 * most + 20
    staged = {row["event_id"] for row in harness.raw()}
    assert {f"{1000 + at:032x}" for at in range(300)} <= staged
    halo.heal()
    assert harness.sync().problems == []
    assert harness.coverage()[0].since == START


@pytest.mark.parametrize(
    "fault",
    [
        "1e9 of the same",
        "1e6 of the same",
        "the same, and no count",
        "many more with every answer",
        "1e6 made up",
        "made up at one time, no count",
    ],
)
def test_a_short_window_without_end_is_a_gap_after_so_many_requests(
    halo: HaloStandIn, harness: Harness, fault: str
) -> None:
    """What every sync reads, the last minutes: the same."""
    make, most = FAULTS[fault]
    halo.clock.set(NOW - 5 * MINUTE)
    assert harness.sync().problems == []
    halo.clock.set(NOW)
    halo.fail(make(), times=None)
    before = halo.counters.requests
    result = harness.sync()
    assert named(result)
    assert halo.counters.requests - before <= most + 120
    halo.heal()
    assert harness.sync().problems == []


def test_an_api_that_ignores_the_page_is_read_where_one_page_is_all(
    halo: HaloStandIn, harness: Harness
) -> None:
    """A hundred events are a full page; that the next one is the same says that there are none."""
    halo.fail(same(PAGE, 100), since=NOW.replace(hour=0), times=None)
    assert harness.sync().problems == []
    assert len(harness.raw()) == 100


def test_a_sync_without_end_exits_1_and_names_the_gap(tmp_path: Path) -> None:
    """As its user sees it: one message an account, with the figures; the other one is staged."""
    with HaloStandIn(2, events=200, days=1) as halo:
        halo.fail(same(PAGE, 10**9), account="alpha", times=None)
        halo_usm = command_for(tmp_path, halo, "tcp://127.0.0.1:1", days=2)
        result = halo_usm("extract", code=1)
        assert halo.counters.requests < 200
        assert result.stderr.count("error: ") == 1
        assert "account alpha: [" in result.stderr
        assert "counts 1,000,000,000 events" in result.stderr
        status = halo_usm.status()["accounts"]
    assert status["beta"]["staged"] == 100
    assert status["beta"]["gaps"] == []
    assert status["alpha"]["gaps"]


def test_memory_does_not_grow_with_pages(
    halo: HaloStandIn, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is listed without end, nothing but ids is kept."""
    monkeypatch.setattr("tasks.halo.window_reader.MAX_HELD", MIB)
    monkeypatch.setattr("tasks.halo.request_budget.REQUESTS_WITHOUT_COUNT", 60)
    halo.fail(made_up(None, apart=0, message="m" * 20_000), times=None)
    tracemalloc.start()
    try:
        assert harness.sync(window=Window(NOW - MINUTE, NOW)).gaps
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert halo.counters.requests * 100 * 20_000 > 100 * MIB
    assert peak < 30 * MIB
