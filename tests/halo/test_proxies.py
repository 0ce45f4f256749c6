"""Proxies between this machine and the API, as the environment names them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, urlsplit

import pytest

from sandbox.certificates import Authority
from sandbox.halo_api import HaloStandIn
from tasks.errors import HaloRefused, HaloUnavailable, SettingsError
from tasks.retry_policy import RetryPolicy
from tests.extract.harness import NOW, START, events
from tests.halo.pages import read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "us er", "p@ss:wörd€/s3cret"


class Proxy:
    """An HTTP proxy: it forwards requests, opens tunnels, and lets in whom it knows.

    Args:
        user: Its one user and password; None lets everyone in.
    """

    def __init__(self, user: tuple[str, str] | None = None) -> None:
        self.heads: list[bytes] = []
        self._expected = user and base64.b64encode(":".join(user).encode())
        self._ready = threading.Event()
        self._tasks: list[asyncio.Future[None]] = []

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def url(self, user: str = "", password: str = "") -> str:
        """Its address, with who asks."""
        who = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
        return f"http://{who}127.0.0.1:{self._port}"

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # connections end after they were closed

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.ensure_future(self._converse(reader, writer)))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head)
                if self._expected and b"Proxy-Authorization: Basic " + self._expected not in head:
                    writer.write(b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n")
                    continue
                await self._pass_on(head, reader, writer)

    async def _pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        method, target, _ = head.decode().split(" ", 2)
        url = urlsplit(target if "://" in target else f"//{target}")
        onward, to = await asyncio.open_connection(url.hostname, url.port)
        with contextlib.closing(to):
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                await asyncio.gather(_copy(reader, to), _copy(onward, writer))
                return
            # a server is asked for a path, and ends the connection here (RFC 9112, 3.2.1 and 9.6)
            path = target.partition(url.netloc)[2].encode()
            head = head.replace(target.encode(), path, 1)
            to.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            await _copy(onward, writer)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65_536):
        target.write(data)
        await target.drain()
    target.close()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of this machine's own."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


@pytest.fixture(params=["http", "https"])
def api(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HaloStandIn]:
    """An API on loopback, with TLS and without."""
    tls = None
    if request.param == "https":
        authority = Authority(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
        issued = authority.issue("127.0.0.1")
        tls = (issued.cert, issued.key)
    with HaloStandIn(1, tls=tls) as halo:
        halo.clock.set(NOW)
        halo["alpha"].add(events(250, START, NOW))
        yield halo


def setting(api: HaloStandIn) -> str:
    """The variable that names the proxy for an API."""
    return f"{urlsplit(api.url).scheme.upper()}_PROXY"


def test_a_proxy_with_a_user(api: HaloStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told user and password, in UTF-8; through a tunnel it sees neither key nor token."""
    with Proxy((USER, PASSWORD)) as proxy:
        for name in (setting(api), setting(api).lower(), "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(USER, PASSWORD))
            before = len(proxy.heads)
            assert len(set(read(api))) == 250
            assert len(proxy.heads) > before, name
            monkeypatch.delenv(name)
    if api.url.startswith("https"):
        assert all(head.startswith(b"CONNECT ") for head in proxy.heads)
        assert not any(b"\r\nAuthorization" in head for head in proxy.heads)
    assert not any("proxy-authorization" in str(request).lower() for request in api.log)


def test_no_proxy_goes_around_it(api: HaloStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY names a host, a host and its port, or all."""
    place = urlsplit(api.url).netloc
    monkeypatch.setenv(setting(api), "http://127.0.0.1:9")
    for name in ("127.0.0.1", place, "example.com, 127.0.0.1", "*"):
        monkeypatch.setenv("NO_PROXY", name)
        assert len(set(read(api))) == 250, name


def test_a_proxy_that_refuses(api: HaloStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message, at once, with the remedy and without the password."""
    with Proxy((USER, PASSWORD)) as proxy:
        monkeypatch.setenv(setting(api), proxy.url("someone", "hunter2"))
        started = time.monotonic()
        with pytest.raises(HaloRefused, match="HTTP 407") as refused:
            read(api, pages=1, retry_policy=RetryPolicy())
    assert time.monotonic() - started < 15, "it is not asked again for two minutes"
    assert f"user and password into {setting(api)}" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_proxy_that_is_not_there(api: HaloStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said that it is the proxy that cannot be reached."""
    monkeypatch.setenv(setting(api), "http://someone:hunter2@127.0.0.1:9")
    with pytest.raises(
        HaloUnavailable, match=r"its proxy http://127\.0\.0\.1:9 is not there"
    ) as gone:
        read(api, pages=1, retry_policy=RetryPolicy(total=0))
    assert "hunter2" not in str(gone.value)


def test_what_is_no_proxy(halo: HaloStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another protocol, or a host or port that is none, is a setting to be corrected."""
    places = ("proxy.example:port", "127.0.0.1:65536", "two hosts:1", "a..b:1", f"{'a' * 64}:1")
    for address in ("socks5://127.0.0.1:1080", *(f"http://user:s3cret@{one}" for one in places)):
        monkeypatch.setenv("HTTP_PROXY", address)
        with pytest.raises(SettingsError, match="HTTP_PROXY") as error:
            read(halo)
        assert "s3cret" not in str(error.value)
