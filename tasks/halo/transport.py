"""How requests reach the API: aiohttp's connections under httpx's interface, answers bounded.

httpx's own pool scans every connection for each request and slows down with concurrency;
aiohttp's does not.
"""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
import zlib
from typing import TYPE_CHECKING

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from tasks.errors import HaloInvalid, SettingsError
from tasks.halo.answers import AnswerFault

if TYPE_CHECKING:
    from tasks.halo.pace import Pace

LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer, unpacked: 100 events of 640 KiB each. More is an attack or a mistake."""

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_READ_BUFFER = 1024 * 1024
_KEEP_ALIVE = 60.0


def open_transport(
    base_url: httpx.URL, connections: int, pace: Pace, timeout: httpx.Timeout, attempt: float
) -> httpx.AsyncBaseTransport:
    """The transport for one origin; the limits are those of `BoundedTransport`.

    TLS is verified, against `SSL_CERT_FILE` or `SSL_CERT_DIR` where they are set. A proxy is
    taken from the environment (`HTTPS_PROXY`, `NO_PROXY`, …).
    """
    context = _tls() if base_url.scheme == "https" else None

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections,
                keepalive_timeout=_KEEP_ALIVE,
                ssl=context or True,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER,
        )

    inner = AiohttpTransport(
        # only the session's context is used; given one, httpx does not read certificates again
        verify=context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        proxy=_proxy(base_url),
        client=session,
    )
    return BoundedTransport(inner, pace, timeout, attempt)


def _tls() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise SettingsError(
            f"SSL_CERT_FILE or SSL_CERT_DIR cannot be used: {error.strerror or error}; name a file "
            "or folder of PEM certificates, or unset both"
        ) from None


def _proxy(base_url: httpx.URL) -> httpx.Proxy | None:
    proxies = urllib.request.getproxies()
    proxy = proxies.get(base_url.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(base_url.host):
        return None
    try:
        url = httpx.URL(proxy if "://" in proxy else f"http://{proxy}")
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host:
        name = f"{base_url.scheme.upper()}_PROXY"
        # not shown: it may hold a password
        raise SettingsError(
            f"{name} or ALL_PROXY is no proxy: write http:// or https:// and a host, or name "
            f"{base_url.host} in NO_PROXY"
        )
    return httpx.Proxy(url)


class BoundedTransport(httpx.AsyncBaseTransport):
    """Sends at the account's pace, and reads each answer whole, up to `LARGEST_ANSWER` bytes.

    Every request has the same time limits, the login that `httpx.Auth` makes among them. They
    begin when it is its turn: at a low rate, or while the API asks for silence, that may be long.

    Args:
        inner: Sends.
        pace: The account's.
        timeout: For connecting, and until the next bytes of an answer.
        attempt: Seconds from connecting to the last byte of the answer.
    """

    def __init__(
        self, inner: httpx.AsyncBaseTransport, pace: Pace, timeout: httpx.Timeout, attempt: float
    ) -> None:
        self._inner = inner
        self._pace = pace
        self._timeout = timeout.as_dict()
        self._attempt = attempt

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read its answer.

        Raises:
            HaloInvalid: The answer is too large, or packed in a way that was not asked for.
            AnswerFault: The packed body is broken.
            TimeoutError: The answer was not whole in time.
        """
        await self._pace.turn()
        async with asyncio.timeout(self._attempt):
            return await self._exchange(request)

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        request.extensions["timeout"] = self._timeout
        response = await self._inner.handle_async_request(request)
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        try:
            body = await _read(stream, response.headers.get("content-encoding", ""))
        finally:
            await stream.aclose()
        for name in ("content-encoding", "content-length", "transfer-encoding"):
            response.headers.pop(name, None)
        return httpx.Response(
            response.status_code, headers=response.headers, content=body, request=request
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


async def _read(stream: httpx.AsyncByteStream, encoding: str) -> bytes:
    packed = encoding.strip().lower()
    if packed not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise HaloInvalid(f"the API packed its answer as {encoding[:20]!r}, nobody asked for that")
    unpack = zlib.decompressobj(_GZIP_OR_ZLIB) if packed not in {"", "identity"} else None
    body = bytearray()
    async for chunk in stream:
        try:
            part = unpack.decompress(chunk, LARGEST_ANSWER + 1 - len(body)) if unpack else chunk
        except zlib.error:
            raise AnswerFault("its packed body is broken") from None
        body += part
        if len(body) > LARGEST_ANSWER:
            raise HaloInvalid(
                f"an answer of more than {LARGEST_ANSWER >> 20} MiB was broken off: is there "
                "something else than the Halo API at HALO_API_URL?"
            )
    if unpack and body and not unpack.eof:
        raise AnswerFault("its packed body was cut off")
    return bytes(body)
