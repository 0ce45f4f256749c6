"""The stand-in's listing of events: range, order, pages and filters, as the Halo API has them."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.conftest import ASC, NOON, Caller, events

if TYPE_CHECKING:
    from sandbox.halo_api import HaloStandIn


def test_range(halo: HaloStandIn, caller: Caller) -> None:
    """`since` is inclusive; `until` is exclusive, or inclusive by switch."""
    halo["alpha"].add(events(5))
    bounds = {"since": "2026-03-14T12:00:01Z", "until": "2026-03-14T12:00:03.000000Z"}
    assert caller.ids(**bounds, **ASC) == ["e0001", "e0002"]
    halo.switches.until_inclusive = True
    assert caller.ids(**bounds, **ASC) == ["e0001", "e0002", "e0003"]
    assert caller.get(since="2026-03-14T12:00:03Z", until="2026-03-14T12:00:01Z").json() == {
        "count": 0,
        "pagination": {},
        "events": [],
    }


def test_page_size(halo: HaloStandIn, caller: Caller) -> None:
    """Ten events a page by default, as many as asked for, and silently no more than the cap."""
    halo["alpha"].add(events(30))
    assert len(caller.ids()) == 10
    assert len(caller.ids(per_page=25)) == 25
    halo.switches.max_per_page = 20
    assert len(caller.ids(per_page=25)) == 20


def test_order(halo: HaloStandIn, caller: Caller) -> None:
    """Both orders sort by time; without one the pages are scrambled, yet together complete."""
    halo["alpha"].add(reversed(events(30)))
    expected = [f"e{at:04}" for at in range(30)]
    assert caller.ids(per_page=30, **ASC) == expected
    assert caller.ids(per_page=30, sort_by="created_at.desc") == expected[::-1]
    pages = [caller.ids(per_page=7, page=page) for page in range(1, 6)]
    read = [identity for page in pages for identity in page]
    assert read not in (expected, expected[::-1])
    assert sorted(read) == expected
    halo.switches.unsorted = "shuffled"
    assert caller.ids(per_page=30) != caller.ids(per_page=30)
    assert sorted(caller.ids(per_page=30)) == expected
    halo.switches.unsorted = "desc"
    assert caller.ids(per_page=30) == expected[::-1]


def test_equal_times(halo: HaloStandIn, caller: Caller) -> None:
    """Events of one millisecond keep their places, or change them with every request by switch."""
    halo["alpha"].add([*events(50, step=0), *events(1, start=NOON - timedelta(1), name="a")])
    assert caller.ids(per_page=51, **ASC) == caller.ids(per_page=51, **ASC)
    halo.switches.shuffle_ties = True
    first, second = caller.ids(per_page=51, **ASC), caller.ids(per_page=51, **ASC)
    assert first != second
    assert sorted(first) == sorted(second)
    assert first[0] == second[0] == "a0000"


def test_pagination(halo: HaloStandIn, caller: Caller) -> None:
    """`next` and `prev` are absolute URLs that keep the query; the ends have none."""
    halo["alpha"].add(events(25))
    answer = caller.get(per_page=10, since="2026-03-14T12:00:00Z", **ASC).json()
    assert answer["count"] == 25
    assert "prev" not in answer["pagination"]
    following = answer["pagination"]["next"]
    assert following.startswith(f"{halo.url}/v1/events?")
    seen = [answer]
    while "next" in seen[-1]["pagination"]:
        url = seen[-1]["pagination"]["next"]
        seen.append(caller.http.get(url, headers=caller.headers).json())
    assert [len(page["events"]) for page in seen] == [10, 10, 5]
    assert seen[2]["pagination"]["prev"] == following
    assert caller.ids(page=4) == []


def test_pagination_switches(halo: HaloStandIn, caller: Caller) -> None:
    """`count` and `pagination` can be absent, and `next` can name a foreign origin."""
    halo["alpha"].add(events(11))
    halo.switches.next_origin = "https://evil.example"
    assert caller.get().json()["pagination"]["next"].startswith("https://evil.example/v1/events?")
    halo.switches.count = halo.switches.pagination = False
    assert set(caller.get().json()) == {"events"}


def test_page_depth(halo: HaloStandIn, caller: Caller) -> None:
    """Pages beyond the limit are empty, or 422 by switch; `next` ends there, `count` does not."""
    halo["alpha"].add(events(40))
    halo.switches.max_page = 3
    last = caller.get(page=3).json()
    assert last["count"] == 40
    assert "next" not in last["pagination"]
    assert caller.ids(page=4) == []
    halo.switches.past_max_page = "error"
    assert caller.get(page=4).status_code == 422
    halo.switches.max_page = None
    assert len(caller.ids(page=4)) == 10


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"type": "a_type"}, {0, 3, 6, 9}),
        ({"type": "a_type,b_type"}, {0, 1, 3, 4, 6, 7, 9}),
        ({"type": ["a_type", "b_type"]}, {1, 4, 7}),
        ({"critical": "true"}, {0, 2, 4, 6, 8}),
        ({"critical": "false"}, {1, 3, 5, 7, 9}),
        ({"server_id": "s1,s2"}, {1, 2, 5, 6, 9}),
        ({"group_id": "g3"}, {3, 8}),
        ({"server_platform": "linux"}, {0, 3, 6, 9}),
        ({"server_platform": "linux", "critical": "true", "type": "a_type"}, {0, 6}),
        ({"type": "none_such"}, set()),
    ],
)
def test_filters(
    halo: HaloStandIn, caller: Caller, params: dict[str, Any], expected: set[int]
) -> None:
    """Filters take several values by comma; a repeated parameter keeps only the last."""
    halo["alpha"].add(events(10))
    halo["alpha"].add([b"7"], created_at=NOON)
    answer = caller.get(**params, **ASC).json()
    assert answer["count"] == len(expected)
    assert [event["id"] for event in answer["events"]] == [f"e{at:04}" for at in sorted(expected)]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"since": "yesterday"}, 400),
        ({"until": "2026-03-14T12:00:00 00:00x"}, 400),
        ({"sort_by": "id.asc"}, 400),
        ({"page": "0"}, 422),
        ({"page": "two"}, 422),
        ({"per_page": "-1"}, 422),
    ],
)
def test_bad_parameters(caller: Caller, params: dict[str, str], code: int) -> None:
    """A parameter that makes no sense is refused, naming it."""
    answer = caller.get(**params)
    assert answer.status_code == code
    assert next(iter(params)) in answer.json()["error"]


def test_other_paths(caller: Caller) -> None:
    """Other paths are 404, other methods 405."""
    assert caller.http.get("/v2/events", headers=caller.headers).status_code == 404
    assert caller.http.post("/v1/events", headers=caller.headers).status_code == 405


def test_gzip(halo: HaloStandIn, caller: Caller) -> None:
    """Answers are packed where switched on and asked for, and only there."""
    halo["alpha"].add(events(10))
    assert "content-encoding" not in caller.get().headers
    halo.switches.gzip = True
    caller.headers["accept-encoding"] = "identity"
    assert "content-encoding" not in caller.get().headers
    caller.headers["accept-encoding"] = "gzip"
    with caller.http.stream("GET", "/v1/events", headers=caller.headers) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        packed = b"".join(answer.iter_raw())
    assert len(json.loads(gzip.decompress(packed))["events"]) == 10
