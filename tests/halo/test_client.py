"""The client against a real server: faults, limits, TLS, proxies, secrets."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import httpx
import pytest

from sandbox import faults
from sandbox.certificates import Authority
from sandbox.faults import Fault
from sandbox.halo_api import HaloStandIn
from tasks.errors import HaloError, HaloInvalid, HaloRefused, HaloUnavailable, SettingsError
from tasks.halo.answers import AnswerFault
from tasks.halo.client import ApiKey, HaloClient, Listing, Patience
from tests.extract.site import BRIEF, NOW, QUICK, START, events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


TOKEN = "/oauth/access_token"
ALL = Listing(START, NOW)


@pytest.fixture(scope="module")
def running() -> Iterator[HaloStandIn]:
    """An API with one account, for every test in turn."""
    with HaloStandIn(1) as standin:
        yield standin


@pytest.fixture
def halo(running: HaloStandIn) -> HaloStandIn:
    """That API as new, with 250 events."""
    running.renew()
    running.clock.set(NOW)
    running["alpha"].add(events(250, START, NOW))
    return running


def client(halo: HaloStandIn, patience: Patience = QUICK, **given: Any) -> HaloClient:
    """A client of the one account."""
    key_id, secret = halo["alpha"].key
    arguments: dict[str, Any] = {"clock": halo.clock.now, "patience": patience} | given
    url = arguments.pop("url", halo.url)
    return HaloClient(url, ApiKey(key_id, secret), **arguments)


def read(halo: HaloStandIn, pages: int = 3, **given: Any) -> list[str]:
    """The ids of pages, asked for at the same time."""

    async def run() -> list[str]:
        async with client(halo, **given) as api:
            found = await asyncio.gather(*(api.page(ALL, n + 1, 100) for n in range(pages)))
        return [key for page in found for key in page.keys]

    return asyncio.run(run())


PASSING = {
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


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_costs_no_event(halo: HaloStandIn, name: str) -> None:
    """Each fault known of the API, on some of the requests: the same pages come all the same."""
    planned = halo.fail(PASSING[name], after=1, times=2)
    assert len(set(read(halo))) == 250
    assert planned.hits == 2


@pytest.mark.parametrize("name", ["500", "429", "html", "not json", "reset", "cut off"])
def test_a_login_that_fails_is_tried_again(halo: HaloStandIn, name: str) -> None:
    """What passes at the login is waited for as it is elsewhere."""
    halo.fail(PASSING[name], path=TOKEN, times=2)
    assert len(set(read(halo))) == 250
    assert halo.counters.logins == 1


@pytest.mark.parametrize("fault", [faults.timeout(), faults.stall(), faults.drip(0.05)])
def test_an_answer_that_never_ends_is_given_up(halo: HaloStandIn, fault: Fault) -> None:
    """No answer, half an answer, an answer byte by byte: each attempt has its time."""
    halo.fail(fault, times=1)
    slow = Patience(total=10, attempt=0.6, read=0.3, first_pause=0.01)
    assert len(set(read(halo, patience=slow))) == 250


LASTING: dict[str, tuple[Fault, type[HaloError], str]] = {
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
    "bomb": (faults.bomb(), HaloInvalid, "64 MiB"),
    "oversized": (faults.oversized(80 << 20), HaloInvalid, "64 MiB"),
    "chunks": (faults.oversized(80 << 20, declared=False), HaloInvalid, "64 MiB"),
    "brotli": (faults.body(b"x", encoding=b"br"), HaloInvalid, "'br'"),
}


@pytest.mark.parametrize("name", LASTING)
def test_a_fault_that_lasts_is_an_error_in_words(halo: HaloStandIn, name: str) -> None:
    """What does not pass ends in time as one of our errors, and names what to look at."""
    fault, kind, words = LASTING[name]
    halo.fail(fault, times=None)
    started = time.monotonic()
    with pytest.raises(kind, match=words):
        read(halo, pages=1, patience=BRIEF)
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


def test_429_silences_the_whole_account(halo: HaloStandIn) -> None:
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
    assert halo.counters.peak(0.5) <= 11


def test_a_token_that_ends_while_listing_costs_one_login(halo: HaloStandIn) -> None:
    """A token that ends in the middle: one more login, no event lost."""
    halo.switches.token_requests = 5
    assert len(set(read(halo, pages=8, concurrency=1))) == 250
    assert halo.counters.logins == 2


def test_a_wrong_key_is_refused_once(halo: HaloStandIn) -> None:
    """A wrong secret: one login, no listing, and an error that says what to do."""

    async def run() -> None:
        wrong = ApiKey(halo["alpha"].key[0], "wrong")
        async with HaloClient(halo.url, wrong, patience=QUICK) as api:
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


def test_gzip_is_unpacked(halo: HaloStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off loopback packed answers are asked for, and read."""
    monkeypatch.setattr("tasks.halo.client._is_loopback", lambda _: False)
    halo.switches.gzip = True
    assert len(set(read(halo))) == 250


def test_a_redirect_is_not_followed(halo: HaloStandIn) -> None:
    """Neither key nor token reach another origin by a redirect, of the login or of a page."""
    with HaloStandIn(1) as other:
        for path in ("/v1/events", TOKEN):
            halo.heal()
            halo.fail(faults.redirect(other.url, code=307), path=path, times=None)
            with pytest.raises(HaloInvalid, match=other.url):
                read(halo, pages=1)
        assert other.counters.requests == 0


def test_nothing_secret_is_said_or_logged(
    halo: HaloStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """An API that repeats key and token in its errors: neither is in an error, nor in a log."""
    key_id, secret = halo["alpha"].key
    basic = base64.b64encode(f"{key_id}:{secret}".encode()).decode()
    caplog.set_level(logging.DEBUG)
    sent = {secret, basic}
    said = []
    for status in (400, 401, 403, 404, 500):

        async def echo(exchange: Any, status: int = status) -> None:
            given = dict(exchange.scope["headers"])[b"authorization"]
            sent.add(given.decode().split()[1])
            await exchange.answer(status, b"you said " + given + secret.encode(), [])

        for path in ("/v1/events", TOKEN):
            halo.heal()
            halo.fail(Fault("echo", echo), path=path, times=None)
            with pytest.raises(HaloError) as error:
                read(halo, pages=1, patience=Patience(total=0))
            said.append(str(error.value))
    text = "\n".join([*said, caplog.text])
    assert len(sent) > 3
    assert "you said" in text
    assert not [word for word in sent if word in text]


def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate of an unknown authority is refused at once; SSL_CERT_FILE names ours."""
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1")
    with HaloStandIn(1, tls=(issued.cert, issued.key)) as halo:
        halo["alpha"].add(events(250, START, NOW))
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        started = time.monotonic()
        with pytest.raises(HaloUnavailable, match="SSL_CERT_FILE"):
            read(halo, patience=Patience())
        assert time.monotonic() - started < 5
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
        assert len(set(read(halo))) == 250
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
        with pytest.raises(SettingsError, match="SSL_CERT_FILE"):
            read(halo)


def test_a_certificate_of_another_host_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known authority is not enough: the name has to be the URL's."""
    authority = Authority(tmp_path)
    issued = authority.issue("other.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
    with (
        HaloStandIn(1, tls=(issued.cert, issued.key)) as halo,
        pytest.raises(HaloUnavailable, match="certificate"),
    ):
        read(halo)


def test_proxies_of_the_environment_are_used(
    halo: HaloStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY is asked, unless NO_PROXY names the host; one that is none is a setting."""
    with Proxy(halo.url) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert len(set(read(halo))) == 250
        assert proxy.requests > 0
        before = proxy.requests
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert len(set(read(halo))) == 250
        assert proxy.requests == before
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(SettingsError, match="HTTP_PROXY"):
        read(halo)


def test_https_goes_through_a_proxy_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY gives a tunnel to the API, and sees neither key nor token."""
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1")
    with HaloStandIn(1, tls=(issued.cert, issued.key)) as halo, Proxy(halo.url) as proxy:
        halo["alpha"].add(events(250, START, NOW))
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
        assert len(set(read(halo))) == 250
        assert proxy.requests > 0
        assert b"Authorization" not in proxy.heard


def test_every_error_of_the_layers_below_is_translated(halo: HaloStandIn) -> None:
    """Whatever httpx or aiohttp raise, a user meets one of our errors."""
    below: list[BaseException] = [
        kind("broken")
        for kind in vars(httpx).values()
        if isinstance(kind, type) and issubclass(kind, httpx.TransportError)
    ]
    below += [httpx.DecodingError("broken"), OSError("broken"), TimeoutError()]
    below += [
        aiohttp.ClientError("broken"),
        aiohttp.ClientPayloadError("broken"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.InvalidURL("broken"),
    ]

    async def run(error: BaseException) -> None:
        async with client(halo, patience=Patience(total=0)) as api:

            async def broken(_: httpx.Request) -> httpx.Response:
                raise error

            api._transport.handle_async_request = broken  # type: ignore[assignment,method-assign]  # noqa: SLF001
            await api.page(ALL, 1, 100)

    assert len(below) > 15
    for error in below:
        with pytest.raises(HaloUnavailable):
            asyncio.run(run(error))


class Proxy:
    """A forwarding HTTP proxy that counts the connections it is asked for.

    Args:
        target: The one server that it forwards to.
    """

    def __init__(self, target: str) -> None:
        self.requests = 0
        self.heard = b""
        url = httpx.URL(target)
        self._target = (url.host, url.port)
        self._url = target.encode()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.requests += 1
            onward = socket.create_connection(self._target)
            # a proxy is asked for a whole URL, a server for a path (RFC 9112, section 3.2.2)
            for pair in ((connection, onward, self._url), (onward, connection, b"")):
                threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, less: bytes) -> None:
        with target:
            while True:
                try:
                    data = source.recv(65536)
                    self.heard += data
                    if not data:
                        return
                    if data.startswith(b"CONNECT "):
                        source.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                        continue
                    target.sendall(data.replace(less, b"") if less else data)
                except OSError:
                    return


def test_a_fault_knows_how_long_it_asks_to_wait() -> None:
    """What was asked to wait is kept with the fault."""
    fault = AnswerFault("slow down", 3.0, crowded=True)
    assert (fault.reason, fault.wait, fault.crowded) == ("slow down", 3.0, True)
