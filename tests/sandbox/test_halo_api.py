"""The stand-in as a server of accounts: what it counts, how it starts anew and stops."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from sandbox import faults
from sandbox.halo_api import HaloStandIn
from tests.sandbox.conftest import NOON, TOKEN, Caller, events

if TYPE_CHECKING:
    from collections.abc import Callable


def test_accounts_are_separate(halo: HaloStandIn, connect: Callable[..., Caller]) -> None:
    """A token shows its own account's events, and each account counts for itself."""
    halo["alpha"].add(events(2))
    halo["beta"].add(events(3, name="b"))
    alpha, beta = connect(halo, "alpha"), connect(halo, "beta")
    assert len(alpha.ids()) == 2
    assert len(beta.ids()) == 3
    beta.ids()
    assert halo["alpha"].counters.pages == 1
    assert halo["beta"].counters.paths == {TOKEN: 1, "/v1/events": 2}
    assert halo["beta"].counters.events == 6
    assert halo.counters.requests == 5


def test_latency_overlaps(halo: HaloStandIn, caller: Caller) -> None:
    """Concurrent requests wait for the latency at the same time, and are counted as concurrent."""
    halo.switches.latency_ms = 150
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: caller.get(), range(8)))
    took = time.monotonic() - started
    assert {answer.status_code for answer in answers} == {200}
    assert 0.15 <= took < 1.1
    assert halo["alpha"].counters.max_in_flight > 1
    # An answer may be read before the server has counted that it is done.
    while halo["alpha"].counters.in_flight and time.monotonic() < started + 10:
        time.sleep(0.01)
    assert halo["alpha"].counters.in_flight == 0
    assert halo["alpha"].counters.peak(60) == 9


def test_counters(halo: HaloStandIn, caller: Caller) -> None:
    """Counters and the log tell what was asked, and can be set back."""
    caller.get(page=2, per_page=5)
    caller.http.get("/v1/events")
    until = time.monotonic() + 30
    while len(halo.log) < 3 and time.monotonic() < until:  # it counts once it has answered
        time.sleep(0.01)
    stats = halo.stats()
    assert stats["statuses"] == {"200": 2, "401": 1}
    assert stats["accounts"]["alpha"]["logins"] == 1
    assert stats["accounts"]["alpha"]["requests"] == 2
    assert halo.log[1] == ("alpha", "GET", "/v1/events", "page=2&per_page=5", 200)
    halo.reset_counters()
    assert halo.stats()["requests"] == 0
    assert not halo.log


def test_renewed(halo: HaloStandIn, caller: Caller, connect: Callable[..., Caller]) -> None:
    """A stand-in made as new keeps its address, accounts and keys, and nothing else."""
    halo["alpha"].add(events(3))
    halo["alpha"].rotate_key()
    halo.fail(faults.status(500), times=None)
    halo.switches.count = False
    halo.clock.set(NOON)
    halo.renew()
    assert caller.get().status_code == 401
    again = connect(halo)
    assert again.key == caller.key
    assert again.get().json() == {"count": 0, "pagination": {}, "events": []}
    assert halo.clock.now() > NOON
    with pytest.raises(ValueError, match="no switch latency;"):
        halo.switches.set(latency=5)


def test_stops_with_requests_in_flight(connect: Callable[..., Caller]) -> None:
    """Leaving the context breaks what is in flight instead of waiting for it."""
    with HaloStandIn() as halo, ThreadPoolExecutor(1) as pool:
        caller = connect(halo)
        halo.switches.latency_ms = 60_000
        waiting = pool.submit(caller.get)
        while not halo["alpha"].counters.in_flight:
            time.sleep(0.01)
        started = time.monotonic()
        halo.stop()
        with pytest.raises(httpx.TransportError):
            waiting.result(5)
    assert time.monotonic() - started < 4
