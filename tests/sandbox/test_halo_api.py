from __future__ import annotations

import gzip
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sandbox import faults
from sandbox.halo_api import Clock, HaloStandIn
from sandbox.odd_events import malformed, odd
from tests.sandbox.conftest import NOON, Caller, events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ASC = {"sort_by": "created_at.asc"}
TOKEN = "/oauth/access_token"


def test_login_by_basic_and_by_form(halo: HaloStandIn, caller: Caller) -> None:
    """A key logs in by Basic authentication and by a form body, and gets a bearer token."""
    key, secret = halo["alpha"].key
    form = {"grant_type": "client_credentials", "client_id": key, "client_secret": secret}
    answer = caller.http.post(TOKEN, data=form)
    assert answer.status_code == 200
    said = answer.json()
    assert said["token_type"] == "bearer"
    assert said["expires_in"] == 900
    assert said["scope"] == "read"
    assert halo["alpha"].counters.logins == 2


@pytest.mark.parametrize(
    ("key", "secret"), [("unknown", "x"), ("", ""), (None, "wrong")], ids=["key", "none", "secret"]
)
def test_wrong_key(halo: HaloStandIn, caller: Caller, key: str | None, secret: str) -> None:
    """A wrong key, secret or none gets 401 and counts as a failed login."""
    pair = (halo["alpha"].key[0] if key is None else key, secret)
    answer = caller.http.post(TOKEN, params={"grant_type": "client_credentials"}, auth=pair)
    assert answer.status_code == 401
    assert halo.counters.failed_logins == 1


def test_login_misused(halo: HaloStandIn, caller: Caller) -> None:
    """A login without its grant type is refused with 400, by GET with 405, garbled with 401."""
    assert caller.http.post(TOKEN, auth=caller.key).status_code == 400
    assert caller.http.get(TOKEN, auth=caller.key).status_code == 405
    garbled = {"authorization": "Basic !!!"}
    grant = {"grant_type": "client_credentials"}
    assert caller.http.post(TOKEN, params=grant, headers=garbled).status_code == 401


def test_rotated_key(halo: HaloStandIn, connect: Callable[..., Caller]) -> None:
    """Two keys of an account both work and see the same events."""
    halo["alpha"].add(events(3))
    old = connect(halo)
    halo["alpha"].rotate_key()
    new = connect(halo)
    assert old.key != new.key
    assert sorted(old.ids()) == sorted(new.ids())
    old.log_in()


def test_no_token(caller: Caller) -> None:
    """A listing without a token, or with one that was never given, is refused with 401."""
    assert caller.http.get("/v1/events").status_code == 401
    foreign = {"authorization": "Bearer 0123"}
    assert caller.http.get("/v1/events", headers=foreign).status_code == 401


def test_token_expires(halo: HaloStandIn, connect: Callable[..., Caller]) -> None:
    """A token ends after its life, after so many requests, and when told to."""
    halo.switches.token_life = 0.05
    halo.switches.says_expires_in = 600
    brief = connect(halo)
    time.sleep(0.06)
    assert brief.get().status_code == 401
    halo.switches.token_life = 900
    halo.switches.token_requests = 2
    counted = connect(halo)
    assert [counted.get().status_code for _ in range(4)] == [200, 200, 401, 401]
    halo.switches.token_requests = None
    ended = connect(halo)
    halo.expire_tokens()
    assert ended.get().status_code == 401


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


def test_times_are_served_as_they_are(halo: HaloStandIn, caller: Caller) -> None:
    """Timestamps with 0, 3 and 6 decimals come back as they were given, sorted by their value."""
    texts = ["2026-03-14T12:00:01Z", "2026-03-14T12:00:01.001Z", "2026-03-14T12:00:01.000999Z"]
    halo["alpha"].add({"id": text, "created_at": text} for text in texts)
    assert caller.ids(**ASC) == [texts[0], texts[2], texts[1]]


def test_logins_are_events(halo: HaloStandIn, caller: Caller) -> None:
    """By switch, every login is itself an event of its account; by default it is none."""
    assert caller.ids() == []
    halo.switches.login_events = True
    caller.log_in()
    listed = caller.get().json()["events"]
    assert [event["type"] for event in listed] == ["api_login_success"]


def test_odd_and_malformed_events(halo: HaloStandIn, caller: Caller) -> None:
    """Whatever an event is, it is served byte for byte, at the place it was given."""
    given = [*malformed(NOON).values(), *odd(NOON).values()]
    halo["alpha"].add(given, created_at=NOON)
    answer = caller.get(per_page=100, **ASC)
    assert answer.json()["count"] == len(given)
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


def test_accounts_are_apart(halo: HaloStandIn, connect: Callable[..., Caller]) -> None:
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
    assert halo["alpha"].counters.in_flight == 0
    assert halo["alpha"].counters.peak(60) == 9


def test_counters(halo: HaloStandIn, caller: Caller) -> None:
    """Counters and the log tell what was asked, and can be set back."""
    caller.get(page=2, per_page=5)
    caller.http.get("/v1/events")
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


def test_auth_file(halo: HaloStandIn, tmp_path: Path) -> None:
    """The auth file has one line an account, with its newest key, for its owner alone."""
    halo["beta"].rotate_key()
    file = halo.write_auth(tmp_path / "auth")
    assert file.stat().st_mode & 0o777 == 0o600
    lines = [line.split("|") for line in file.read_text().splitlines()]
    assert lines == [[*halo[name].key, name] for name in ("alpha", "beta")]


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
