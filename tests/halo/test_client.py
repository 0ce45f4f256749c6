"""The client against a real server: faults, limits, tokens, clocks."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import faults
from sandbox.faults import Fault
from tasks.errors import HaloError, HaloInvalid, HaloRefused, HaloUnavailable
from tasks.halo.client import ApiKey, HaloClient
from tasks.retry_policy import RetryPolicy
from tests.extract.harness import BRIEF, NOW, QUICK
from tests.halo.pages import ALL, TOKEN, client, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.halo_api import HaloStandIn

RETRYABLE = {
    "500": faults.status(500),
    "502": faults.status(502),
    "503, seconds": faults.status(503, retry_after=0),
    "504": faults.status(504),
    "408": faults.status(408),
    "429": faults.status(429),
    "401": faults.status(401),
    "403": faults.status(403),
    "html": faults.html(),
    "html 502": faults.html(502),
    "error inside": faults.error_inside(),
    "not json": faults.not_json(),
    "bad gzip": faults.bad_gzip(),
    "cut-off gzip": faults.body(b"\x1f\x8b\x08\x00", encoding=b"gzip"),
    "reset": faults.reset(),
    "cut off": faults.cut_off(),
    "cut off at once": faults.cut_off(0.0),
}


@pytest.mark.parametrize("name", RETRYABLE)
def test_a_retryable_fault_loses_no_event(halo: HaloStandIn, name: str) -> None:
    """Every known fault of the API, on some of the requests: all pages are read all the same."""
    planned = halo.fail(RETRYABLE[name], after=1, times=2)
    assert len(set(read(halo))) == 250
    assert planned.hits == 2


@pytest.mark.parametrize("name", ["500", "429", "html", "not json", "reset", "cut off"])
def test_a_login_that_fails_is_tried_again(halo: HaloStandIn, name: str) -> None:
    """A login is retried as any other request is."""
    halo.fail(RETRYABLE[name], path=TOKEN, times=2)
    assert len(set(read(halo))) == 250
    assert halo.counters.logins == 1


@pytest.mark.parametrize("fault", [faults.timeout(), faults.stall(), faults.drip(0.05)])
def test_an_answer_that_never_ends_is_given_up(halo: HaloStandIn, fault: Fault) -> None:
    """No answer, half an answer, an answer byte by byte: each attempt has its time."""
    halo.fail(fault, times=1)
    slow = RetryPolicy(total=10, attempt=0.6, read=0.3, first_pause=0.01)
    assert len(set(read(halo, retry_policy=slow))) == 250


LASTING: dict[str, tuple[Fault | Callable[[], Fault], type[HaloError], str]] = {
    "500": (faults.status(500), HaloUnavailable, "HTTP 500"),
    "429": (faults.status(429), HaloUnavailable, "HTTP 429"),
    "429 for an hour": (faults.status(429, retry_after=3600), HaloUnavailable, "wait 3,600 s"),
    "html": (faults.html(), HaloUnavailable, "HTML"),
    "error inside": (faults.error_inside(), HaloUnavailable, "internal error"),
    "reset": (faults.reset(), HaloUnavailable, "HALO_API_URL"),
    "401": (faults.status(401), HaloRefused, "read access"),
    "403": (faults.status(403), HaloRefused, "read access"),
    "400": (faults.status(400), HaloInvalid, "HTTP 400"),
    "404": (faults.status(404), HaloInvalid, "is HALO_API_URL right"),
    "422": (faults.status(422), HaloInvalid, "HTTP 422"),
    "redirect": (faults.redirect("https://evil.example"), HaloInvalid, "evil.example"),
    "bomb": (faults.bomb, HaloInvalid, "64 MiB"),
    "oversized": (faults.oversized(80 << 20), HaloInvalid, "64 MiB"),
    "chunks": (faults.oversized(80 << 20, declared=False), HaloInvalid, "64 MiB"),
    "brotli": (faults.body(b"x", encoding=b"br"), HaloInvalid, "'br'"),
}


@pytest.mark.parametrize("name", LASTING)
def test_a_fault_that_lasts_is_an_error_in_words(halo: HaloStandIn, name: str) -> None:
    """What does not pass ends in time as one of our errors, and names what to look at."""
    fault, kind, words = LASTING[name]
    # a large one is not made before it is needed
    halo.fail(fault if isinstance(fault, Fault) else fault(), times=None)
    started = time.monotonic()
    with pytest.raises(kind, match=words):
        read(halo, pages=1, retry_policy=BRIEF)
    assert time.monotonic() - started < 4
    assert halo.counters.logins <= 2


@pytest.mark.parametrize("as_date", [False, True])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(halo: HaloStandIn, status: int, *, as_date: bool) -> None:
    """Nothing of the account is asked before the time that the API names, in either form."""
    read(halo)
    halo.reset_counters()
    halo.fail(faults.status(status, retry_after=1, as_date=as_date))
    assert len(set(read(halo))) == 250
    # the repeated listing is the last request
    arrivals = halo.counters.arrivals
    assert arrivals[-1] - arrivals[1] >= 0.9


def test_429_suspends_the_whole_account(halo: HaloStandIn) -> None:
    """While one request waits as it was told to, the others of the account wait too."""
    halo.fail(faults.status(429, retry_after=1), times=1)
    read(halo, pages=10, concurrency=1)
    arrivals = list(halo.counters.arrivals)
    # a login, the page that was refused, and nothing else for a second
    assert arrivals[2] - arrivals[1] >= 1.0


def test_no_more_requests_are_in_flight_than_allowed(halo: HaloStandIn) -> None:
    """The account's concurrency is a ceiling, and is reached."""
    halo.switches.latency_ms = 20
    read(halo, pages=30, concurrency=4)
    assert halo.counters.max_in_flight == 4


def test_no_more_requests_a_second_are_sent_than_allowed(halo: HaloStandIn) -> None:
    """The account's rate is a ceiling over logins and listings."""
    read(halo, pages=25, concurrency=8, requests_per_second=20)
    assert halo.counters.peak(0.5) <= 13, "ten and one, and what a busy machine lets arrive late"


def test_waiting_for_the_rate_limit_counts_for_no_timeout(
    halo: HaloStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """However low the rate and high the concurrency: an attempt begins when it is sent."""
    caplog.set_level(logging.INFO)
    short = RetryPolicy(total=10, attempt=0.5, first_pause=0.01)
    assert len(set(read(halo, pages=8, requests_per_second=6, retry_policy=short))) == 250
    assert not caplog.records
    assert halo.counters.requests == 9


def test_a_token_that_ends_while_listing_costs_one_login(halo: HaloStandIn) -> None:
    """A token that ends in the middle: one more login, no event lost."""
    halo.switches.token_requests = 5
    assert len(set(read(halo, pages=8, concurrency=1))) == 250
    assert halo.counters.logins == 2


def test_a_wrong_key_is_refused_once(halo: HaloStandIn) -> None:
    """A wrong secret: one login, no listing, and an error that says what to do."""

    async def run() -> None:
        wrong = ApiKey(halo["alpha"].key[0], "wrong")
        async with HaloClient(halo.url, wrong, retry_policy=QUICK) as api:
            await asyncio.gather(*(api.page(ALL, n + 1, 100) for n in range(5)))

    with pytest.raises(HaloRefused, match="HALO_AUTH_FILE"):
        asyncio.run(run())
    assert halo.counters.requests == 1


def test_the_earlier_clock_bounds_what_a_page_can_know(halo: HaloStandIn) -> None:
    """A page is as of the API's time or ours, whichever is earlier; a minute apart is said."""

    async def run(ahead: timedelta) -> tuple[Any, str | None]:
        async with client(halo, clock=lambda: NOW + ahead) as api:
            page = await api.page(ALL, 1, 100)
            return page.as_of, api.clock_warning()

    assert asyncio.run(run(timedelta(seconds=50))) == (NOW, None)
    as_of, warning = asyncio.run(run(timedelta(minutes=3)))
    assert as_of == NOW
    assert "180 s ahead" in str(warning)
    as_of, warning = asyncio.run(run(-timedelta(minutes=3)))
    assert as_of == NOW - timedelta(minutes=3)
    assert "behind" in str(warning)
    halo.switches.date = False
    assert asyncio.run(run(timedelta(days=3))) == (NOW + timedelta(days=3), None)
