"""The stand-in's clock, and events that appear or leave as it moves on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from sandbox.halo_api import Clock, HaloStandIn
from tests.sandbox.conftest import ASC, NOON, Caller, events


def test_date(halo: HaloStandIn, caller: Caller) -> None:
    """Every answer carries the API's `Date`, skewed or absent by switch."""
    halo.clock.set(NOON)
    assert parsedate_to_datetime(caller.get().headers["date"]) == NOON
    halo.switches.date_skew = -90
    assert parsedate_to_datetime(caller.get().headers["date"]) == NOON - timedelta(seconds=90)
    halo.switches.date = False
    assert "date" not in caller.get().headers


def test_clock_runs() -> None:
    """The clock is the machine's, can be moved on, and stands still once set."""
    clock = Clock()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    clock.advance(timedelta(hours=1))
    assert clock.now() - datetime.now(UTC) > timedelta(minutes=59)
    clock.set(NOON)
    clock.advance(timedelta(minutes=1))
    assert clock.now() == NOON + timedelta(minutes=1)


def test_late_events(halo: HaloStandIn, caller: Caller) -> None:
    """An event is listed from its time on, or so much later, or from a given time on."""
    alpha = halo["alpha"]
    halo.clock.set(NOON)
    alpha.add(events(1, name="now"))
    alpha.add(events(1, name="soon", start=NOON + timedelta(minutes=1)))
    alpha.add(events(1, name="late", start=NOON), late=timedelta(minutes=5))
    alpha.add(events(1, name="told", start=NOON), visible_from=NOON + timedelta(minutes=9))
    seen = []
    for minute in (0, 1, 5, 9):
        halo.clock.set(NOON + timedelta(minutes=minute))
        seen.append(caller.ids(**ASC))
    assert seen[0] == ["now0000"]
    assert seen[1] == ["now0000", "soon0000"]
    assert sorted(seen[2]) == ["late0000", "now0000", "soon0000"]
    assert sorted(seen[3]) == ["late0000", "now0000", "soon0000", "told0000"]
    assert len(alpha.visible()) == 4


def test_events_inserted_while_paging(halo: HaloStandIn, caller: Caller) -> None:
    """Events added to appear after so many listings shift the pages that follow."""
    halo["alpha"].add(events(20))
    halo["alpha"].add(events(3, start=NOON - timedelta(1), name="new"), after_requests=1)
    first, second = caller.ids(**ASC), caller.ids(page=2, **ASC)
    assert first == [f"e{at:04}" for at in range(10)]
    assert second[:3] == first[-3:]
    assert caller.get(**ASC).json()["count"] == 23


def test_clock_moves_with_requests(halo: HaloStandIn, caller: Caller) -> None:
    """A clock that moves with every request lets events come and leave while pages are read."""
    halo.clock.set(NOON)
    halo.switches.retention_days = 90
    halo["alpha"].add(events(10, start=NOON - timedelta(days=90), step=1, name="old"))
    halo["alpha"].add(events(10, start=NOON, step=1, name="new"))
    assert len(caller.ids(per_page=50)) == 11
    halo.clock.per_request = timedelta(seconds=1)
    assert caller.ids(per_page=1, **ASC) == ["old0001"]
    assert caller.ids(per_page=1, **ASC) == ["old0002"]
    assert caller.get().json()["count"] == 11
