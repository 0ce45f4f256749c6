"""What goes over the wire: packed answers, TLS, redirects, and nothing secret."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest

from sandbox import faults
from sandbox.certificates import Authority
from sandbox.faults import Fault
from sandbox.halo_api import HaloStandIn
from tasks.errors import HaloError, HaloInvalid, HaloUnavailable, SettingsError
from tasks.retry_policy import RetryPolicy
from tests.extract.harness import NOW, START, events
from tests.halo.pages import ALL, TOKEN, client, read

if TYPE_CHECKING:
    from pathlib import Path


def test_gzip_is_unpacked(halo: HaloStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off loopback packed answers are asked for, and read."""
    monkeypatch.setattr("tasks.halo.client.is_loopback", lambda _: False)
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
                read(halo, pages=1, retry_policy=RetryPolicy(total=0))
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
            read(halo, retry_policy=RetryPolicy())
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
        async with client(halo, retry_policy=RetryPolicy(total=0)) as api:

            async def broken(_: httpx.Request) -> httpx.Response:
                raise error

            api._transport.handle_async_request = broken  # type: ignore[assignment,method-assign]  # noqa: SLF001
            await api.page(ALL, 1, 100)

    assert len(below) > 15
    for error in below:
        with pytest.raises(HaloUnavailable):
            asyncio.run(run(error))
