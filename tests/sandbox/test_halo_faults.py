from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sandbox import faults
from tests.sandbox.conftest import NOON, Caller, events

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.halo_api import HaloStandIn


@pytest.fixture(autouse=True)
def _events(halo: HaloStandIn) -> None:
    halo["alpha"].add(events(60))


@pytest.mark.parametrize("code", [400, 403, 404, 422, 429, 500, 502, 503, 504])
def test_status(halo: HaloStandIn, caller: Caller, code: int) -> None:
    """An error status is answered once, by default, and then the API is well again."""
    planned = halo.fail(faults.status(code))
    answers = [caller.get() for _ in range(2)]
    assert [answer.status_code for answer in answers] == [code, 200]
    assert "retry-after" not in answers[0].headers
    assert planned.hits == 1


def test_unauthorized_in_the_middle(halo: HaloStandIn, caller: Caller) -> None:
    """A 401 in the middle of a listing also ends the token: only a new login helps."""
    halo.fail(faults.status(401), after=2)
    codes = [caller.get(page=page).status_code for page in range(1, 5)]
    assert codes == [200, 200, 401, 401]
    caller.log_in()
    assert caller.get(page=3).status_code == 200


def test_retry_after(halo: HaloStandIn, caller: Caller) -> None:
    """`Retry-After` comes as seconds or as a date by the API's clock."""
    halo.clock.set(NOON)
    halo.fail(faults.status(429, retry_after=7))
    halo.fail(faults.status(503, retry_after=7, as_date=True))
    assert caller.get().headers["retry-after"] == "7"
    said = parsedate_to_datetime(caller.get().headers["retry-after"])
    assert said == NOON + timedelta(seconds=7)


@pytest.mark.parametrize("fault", [faults.timeout(), faults.stall()], ids=lambda f: f.name)
def test_silence(halo: HaloStandIn, caller: Caller, fault: faults.Fault) -> None:
    """An answer never comes, or stops in its middle, with the connection open."""
    halo.fail(fault)
    caller.http.timeout = httpx.Timeout(0.2)
    with pytest.raises(httpx.ReadTimeout):
        caller.get()
    caller.http.timeout = httpx.Timeout(5)
    assert caller.get().status_code == 200


def test_drip(halo: HaloStandIn, caller: Caller) -> None:
    """A page comes byte by byte: no single read ever waits long."""
    halo.fail(faults.drip(0.02))
    started = time.monotonic()
    with caller.http.stream("GET", "/v1/events", headers=caller.headers) as answer:
        pieces = answer.iter_raw()
        while answer.num_bytes_downloaded < 10:
            next(pieces)
    assert time.monotonic() - started > 0.15


def test_reset(halo: HaloStandIn, caller: Caller) -> None:
    """The connection is reset (RST), not closed."""
    halo.fail(faults.reset())
    with pytest.raises(httpx.ReadError, match=r"reset"):
        caller.get()
    assert halo["alpha"].counters.statuses[0] == 1
    assert caller.get().status_code == 200


def test_cut_off(halo: HaloStandIn, caller: Caller) -> None:
    """A body ends before the length that was promised."""
    halo.fail(faults.cut_off(0.3))
    with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without sending complete"):
        caller.get()


@pytest.mark.parametrize(
    ("fault", "starts"),
    [
        (faults.html(), b"<!DOCTYPE html>"),
        (faults.error_inside(), b'{"error"'),
        (faults.not_json(), b'{"count":3,"events":[{"id":"0123'),
        (faults.body(b""), b""),
    ],
    ids=["html", "error inside", "not json", "empty"],
)
def test_other_bodies(
    halo: HaloStandIn, caller: Caller, fault: faults.Fault, starts: bytes
) -> None:
    """Status 200 with HTML, an error, half a JSON text or nothing instead of events."""
    halo.fail(fault)
    answer = caller.get()
    assert answer.status_code == 200
    assert answer.content.startswith(starts)
    assert b'"created_at"' not in answer.content


def test_bad_gzip(halo: HaloStandIn, caller: Caller) -> None:
    """A body that is said to be gzip cannot be unpacked."""
    halo.fail(faults.bad_gzip())
    with pytest.raises(httpx.DecodingError):
        caller.get()


def test_redirect(halo: HaloStandIn, caller: Caller) -> None:
    """A redirect points to the same path and query of another origin."""
    halo.fail(faults.redirect("http://127.0.0.2:8"))
    answer = caller.get(page=2)
    assert answer.status_code == 302
    assert answer.headers["location"] == "http://127.0.0.2:8/v1/events?page=2"


@pytest.mark.parametrize("declared", [True, False])
def test_oversized(halo: HaloStandIn, caller: Caller, declared: bool) -> None:  # noqa: FBT001
    """A valid body of any size, its length declared or chunked."""
    size = 3 * 1024 * 1024 + 17
    halo.fail(faults.oversized(size, declared=declared))
    answer = caller.get()
    assert len(answer.content) == size
    assert answer.json() == {"events": []}
    assert ("content-length" in answer.headers) is declared


def test_bomb(halo: HaloStandIn, caller: Caller) -> None:
    """A small packed body unpacks to a large one."""
    halo.fail(faults.bomb(4 * 1024 * 1024))
    answer = caller.get()
    assert len(answer.content) > 4 * 1024 * 1024
    assert int(answer.headers["content-length"]) < 10_000


def test_inject(halo: HaloStandIn, caller: Caller) -> None:
    """A page comes with items among its events that are none."""
    halo.fail(faults.inject([b"7", b'{"no":"id"}']))
    listed = caller.get(per_page=2, sort_by="created_at.asc").json()["events"]
    assert listed[:2] == [7, {"no": "id"}]
    assert [event["id"] for event in listed[2:]] == ["e0000", "e0001"]


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ({"times": None}, "XXXXXX"),
        ({"times": 2}, "XX...."),
        ({"after": 3}, "...X.."),
        ({"after": 1, "every": 2, "times": None}, ".X.X.X"),
        ({"page": 3, "times": None}, "..X..."),
        ({"account": "beta", "times": None}, "......"),
        ({"account": "alpha", "times": 1}, "X....."),
        ({"path": "/oauth/access_token", "times": None}, "......"),
    ],
    ids=str,
)
def test_turns(halo: HaloStandIn, caller: Caller, plan: dict[str, Any], expected: str) -> None:
    """A fault takes only the requests that it is planned for."""
    planned = halo.fail(faults.status(500), **plan)
    codes = [caller.get(page=page).status_code for page in range(1, 7)]
    assert "".join("X" if code == 500 else "." for code in codes) == expected
    assert planned.hits == expected.count("X")
    halo.heal()
    assert caller.get().status_code == 200


def test_turns_by_range(halo: HaloStandIn, caller: Caller) -> None:
    """A fault can be kept to listings whose range overlaps a given one."""
    at = datetime(2026, 3, 14, 12, tzinfo=UTC)
    halo.fail(faults.status(500), since=at, until=at + timedelta(hours=1), times=None)

    def code(since: str | None, until: str | None) -> int:
        given = {"since": since, "until": until}
        return caller.get(**{name: text for name, text in given.items() if text}).status_code

    assert code("2026-03-14T11:00:00Z", "2026-03-14T12:00:00Z") == 200
    assert code("2026-03-14T11:00:00Z", "2026-03-14T12:00:01Z") == 500
    assert code("2026-03-14T12:59:59Z", None) == 500
    assert code("2026-03-14T13:00:00Z", None) == 200
    assert code(None, None) == 500


def test_login_fault(halo: HaloStandIn, connect: Callable[..., Caller]) -> None:
    """Faults can hit the login, of one account alone."""
    halo.fail(faults.status(503), path="/oauth/access_token", account="beta", times=None)
    connect(halo, "alpha")
    with pytest.raises(httpx.HTTPStatusError, match="503"):
        connect(halo, "beta")
    assert halo["beta"].counters.logins == 0


def test_reset_is_seen_by_a_bare_socket(halo: HaloStandIn, caller: Caller) -> None:
    """What is sent for a reset is an RST: reading gives ECONNRESET, not an end of file."""
    halo.fail(faults.reset())
    port = int(halo.url.rpartition(":")[2])
    token = caller.headers["authorization"]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(
            f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode()
        )
        with pytest.raises(ConnectionResetError):
            raw.recv(10)
