"""The events that the stand-in serves: whatever was added, as it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.halo_api import HaloStandIn
from sandbox.odd_events import malformed, odd
from tests.sandbox.conftest import ASC, NOON, Caller, events

if TYPE_CHECKING:
    from collections.abc import Callable


def test_times_are_served_as_they_are(halo: HaloStandIn, caller: Caller) -> None:
    """Timestamps with 0, 3 and 6 decimals come back as they were given, sorted by their value."""
    texts = ["2026-03-14T12:00:01Z", "2026-03-14T12:00:01.001Z", "2026-03-14T12:00:01.000999Z"]
    halo["alpha"].add({"id": text, "created_at": text} for text in texts)
    assert caller.ids(**ASC) == [texts[0], texts[2], texts[1]]


def test_odd_and_malformed_events(halo: HaloStandIn, caller: Caller) -> None:
    """Whatever an event is, it is served byte for byte, at the place it was given."""
    given = [*malformed(NOON).values(), *odd(NOON).values()]
    halo["alpha"].add(given, created_at=NOON)
    answer = caller.get(per_page=100, **ASC)
    assert answer.content.startswith(b'{"count":%d,' % len(given))
    assert answer.content.endswith(b'"events":[' + b",".join(given) + b"]}")
    with pytest.raises(ValueError, match="created_at="):
        halo["alpha"].add([malformed(NOON)["no date"]])


def test_values_that_orjson_refuses(halo: HaloStandIn, caller: Caller) -> None:
    """Events given as dicts may hold integers beyond 64 bits and lone surrogates."""
    event = {"id": "x", "created_at": "2026-03-14T12:00:00Z", "n": 2**80, "m": "\ud800"}
    halo["alpha"].add([event])
    assert b'"n":1208925819614629174706176,"m":"\\ud800"' in caller.get().content


def test_many_events_out_of_order(halo: HaloStandIn, caller: Caller) -> None:
    """Large and small additions, in any order of time, end up sorted."""
    halo.switches.max_per_page = 10_000
    whole = events(4500)
    halo["alpha"].add(whole[2000:])
    halo["alpha"].add(whole[:1500])
    halo["alpha"].add(reversed(whole[1500:2000]))
    assert caller.ids(per_page=10_000, **ASC) == [event["id"] for event in whole]


def test_generated_events_are_served(connect: Callable[..., Caller]) -> None:
    """A stand-in made with a number of events spreads them over its accounts and days."""
    with HaloStandIn(3, events=1000, days=2, until=NOON, max_per_page=1000) as halo:
        counts = [connect(halo, name).get().json()["count"] for name in halo.accounts]
        assert list(halo.accounts) == ["alpha", "beta", "gamma"]
        assert counts == [334, 333, 333]
        listed = connect(halo).get(per_page=1000, **ASC).json()["events"]
    times = [event["created_at"] for event in listed]
    assert min(times) >= "2026-03-12T12"
    assert max(times) < "2026-03-14T12"
