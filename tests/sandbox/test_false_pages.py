from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.false_pages import counting, made_up, meanwhile, same
from tests.sandbox.conftest import ASC, NOON, Caller, events

if TYPE_CHECKING:
    from sandbox.halo_api import HaloStandIn

RANGE = {"since": NOON.isoformat(), "until": (NOON + timedelta(hours=1)).isoformat()}


def test_another_count(halo: HaloStandIn, caller: Caller) -> None:
    """The page is right but for its count."""
    halo["alpha"].add(events(3))
    halo.fail(counting(lambda count: count * 10))
    told, right = caller.get(**ASC).json(), caller.get(**ASC).json()
    assert (told.pop("count"), right.pop("count")) == (30, 3)
    assert told == right


def test_something_happens_meanwhile(halo: HaloStandIn, caller: Caller) -> None:
    """What is added with an answer is on the next."""
    halo["alpha"].add(events(1))
    halo.fail(meanwhile(lambda: halo["alpha"].add(events(1, name="x"))))
    assert len(caller.ids(**ASC)) == 1
    assert len(caller.ids(**ASC)) == 2


def test_the_same_page_for_ever(halo: HaloStandIn, caller: Caller) -> None:
    """Whatever is asked for; the count may change with every request."""
    page = [json.dumps(event).encode() for event in events(2)]
    halo.fail(same(page, lambda request: 5 + request), times=None)
    answers = [caller.get(page=number).json() for number in (1, 7)]
    assert [answer["count"] for answer in answers] == [5, 6]
    assert all(
        [event["id"] for event in answer["events"]] == ["e0000", "e0001"] for answer in answers
    )
    assert "next" in answers[0]["pagination"]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("apart", [0, 1])
def test_new_events_for_ever(halo: HaloStandIn, caller: Caller, order: str, apart: int) -> None:
    """In the order and range that were asked for, new ids every time."""
    halo.fail(made_up(None, apart=apart), times=None)
    query = RANGE | {"sort_by": f"created_at.{order}", "per_page": "20"}
    answers = [caller.get(page=number, **query).json() for number in (1, 2, 2)]
    assert "count" not in answers[0]
    listed = [event for answer in answers for event in answer["events"]]
    assert len({event["id"] for event in listed}) == len(listed) == 60
    dates = [event["created_at"] for event in listed[:40]]
    assert dates == sorted(dates, reverse=order == "desc")
    assert len(set(dates)) == (40 if apart else 1)
    assert all(date.startswith("2026-03-14T12:") for date in dates)


def test_padding(halo: HaloStandIn, caller: Caller) -> None:
    """Every event has a log entry of so many characters, the same every time, and is else right."""
    halo["alpha"].add(events(3))
    right = caller.get(**ASC).json()["events"]
    halo.switches.padding = 3_000_000
    padded, again = (caller.get(**ASC).json()["events"] for _ in range(2))
    entries = [event.pop("original_log_entry") for event in padded]
    assert [event.pop("original_log_entry") for event in again] == entries
    assert padded == right
    assert [len(entry) for entry in entries] == [3_000_000] * 3
    assert len(set(entries)) == 3
