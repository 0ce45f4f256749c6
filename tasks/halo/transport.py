"""How requests reach the API: aiohttp's connections, and answers that are bounded.

httpx's pool scans every connection for each request and slows down with concurrency; aiohttp's does
not.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import urllib.request
import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

import aiohttp
import certifi
from yarl import URL

from tasks.errors import HaloInvalid, HaloRefused, SettingsError
from tasks.halo.exchange import Answer
from tasks.redaction import redact_address
from tasks.retry_policy import RetryableFault
from tasks.setting_values import is_host

if TYPE_CHECKING:
    from tasks.halo.exchange import Request
    from tasks.halo.rate_limit import RateLimit
    from tasks.retry_policy import RetryPolicy

MAX_RESPONSE = 64 * 1024 * 1024
"""Bytes of an answer, unpacked: 100 events of 640 KiB each. More is an attack or a mistake."""

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_READ_BUFFER = 1024 * 1024
_KEEP_ALIVE = 60.0
_PORTS = {"http": 80, "https": 443}
_REFUSALS = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
}
"""What a proxy answers that will not let a request through, however often it is asked."""


class _Proxy(NamedTuple):
    """Where a proxy is, and what it is told of who asks."""

    url: str
    headers: dict[str, str]


class Transport:
    """Sends to one origin, and reads each answer whole, up to `MAX_RESPONSE` bytes.

    Redirects are not followed, and cookies not kept. TLS is verified, against `SSL_CERT_FILE` or
    `SSL_CERT_DIR` where they are set. A proxy is taken from the environment (`HTTPS_PROXY`,
    `NO_PROXY`, …).

    Every request has the same time limits, logins too. They begin when the request is sent, not
    while it waits for the rate limit or until a `Retry-After` has passed.

    Args:
        base_url: Of the API.
        connections: How many at most.
        rate_limit: The account's.
        retry_policy: Its time limits of an attempt.

    Raises:
        SettingsError: What the environment says of certificates or proxies cannot be used.
    """

    def __init__(
        self,
        base_url: URL,
        *,
        connections: int,
        rate_limit: RateLimit,
        retry_policy: RetryPolicy,
    ) -> None:
        self._scheme = base_url.scheme
        self._origin = str(base_url.origin())
        self._connections = connections
        self._rate_limit = rate_limit
        self._timeout = aiohttp.ClientTimeout(
            sock_connect=retry_policy.connect, sock_read=retry_policy.read
        )
        self._attempt = retry_policy.attempt
        self._tls = _tls() if base_url.scheme == "https" else None
        self._proxy = _proxy(base_url)
        self._opened: aiohttp.ClientSession | None = None

    async def send(self, request: Request) -> Answer:
        """Send a request and read its answer.

        Raises:
            HaloInvalid: The answer is too large, or packed in a way that was not asked for.
            HaloRefused: The proxy does not let the request through.
            RetryableFault: The packed body is broken, or the proxy is not there.
            TimeoutError: The answer was not whole in time.
            aiohttp.ClientError, OSError: The exchange failed otherwise.
        """
        await self._rate_limit.acquire()
        for_proxy = self._proxy.headers if self._proxy else {}
        headers = request.headers
        if self._tls is None:  # a request through a tunnel is none of the proxy's business
            headers |= for_proxy
        exchange = self._session.request(
            request.method,
            URL(self._origin + request.target, encoded=True),
            headers=headers,
            allow_redirects=False,
            proxy_headers=for_proxy,
        )
        try:
            async with asyncio.timeout(self._attempt), exchange as answer:
                if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and self._proxy:
                    raise self._refused(answer.status)
                body = await _read(answer.content, answer.headers.get("Content-Encoding", ""))
                return Answer(answer.status, answer.headers, body)
        except aiohttp.ClientHttpProxyError as error:
            if error.status in _REFUSALS:
                raise self._refused(error.status) from None
            raise RetryableFault(f"its proxy {self._proxy_shown} answers {error.status}") from None
        except aiohttp.ClientProxyConnectionError as error:
            why = error.os_error.strerror or error.os_error
            raise RetryableFault(f"its proxy {self._proxy_shown} is not there: {why}") from None

    @property
    def _proxy_shown(self) -> str:
        return redact_address(self._proxy.url) if self._proxy else ""

    def _refused(self, status: int) -> HaloRefused:
        return HaloRefused(
            f"the proxy {self._proxy_shown} does not let requests to {self._origin} through (HTTP "
            f"{status}); write its user and password into {self._scheme.upper()}_PROXY, "
            "percent-encoded, or name the API's host in NO_PROXY"
        )

    @property
    def _session(self) -> aiohttp.ClientSession:
        """Made at the first request: a session belongs to the event loop that is running."""
        if self._opened is None:
            connector = aiohttp.TCPConnector(
                limit=self._connections, keepalive_timeout=_KEEP_ALIVE, ssl=self._tls or True
            )
            self._opened = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                proxy=self._proxy.url if self._proxy else None,
                auto_decompress=False,
                read_bufsize=_READ_BUFFER,
            )
        return self._opened

    async def aclose(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.close()


def _tls() -> ssl.SSLContext:
    file, folder = (os.environ.get(name) or None for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    if not file and not folder:
        file = certifi.where()
    try:
        return ssl.create_default_context(cafile=file, capath=None if file else folder)
    except OSError as error:
        raise SettingsError(
            f"SSL_CERT_FILE or SSL_CERT_DIR cannot be used: {error.strerror or error}; name a file "
            "or folder of PEM certificates, or unset both"
        ) from None


def _proxy(base_url: URL) -> _Proxy | None:
    proxies = urllib.request.getproxies()
    proxy = (proxies.get(base_url.scheme) or proxies.get("all") or "").strip()
    # NO_PROXY may name a host, or a host and its port
    host = base_url.host or ""
    place = f"{host}:{base_url.port}"
    if not proxy or any(map(urllib.request.proxy_bypass, (host, place))):
        return None
    try:
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        place = url.netloc.rpartition("@")[2] if url.port != 0 else ""
    except ValueError:
        place = ""
    if not place or url.scheme not in {"http", "https"} or not is_host(url.hostname or ""):
        name = f"{base_url.scheme.upper()}_PROXY"
        # not shown: it may hold a password
        raise SettingsError(
            f"{name} or ALL_PROXY is no proxy: write http:// or https:// and a host, or name "
            f"{host} in NO_PROXY"
        )
    return _Proxy(f"{url.scheme}://{place}", _credentials(url.username, url.password))


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    """What a proxy is told of who asks (RFC 7617, in UTF-8)."""
    if not user and not password:
        return {}
    pair = base64.b64encode(f"{unquote(user or '')}:{unquote(password or '')}".encode())
    return {"Proxy-Authorization": f"Basic {pair.decode('ascii')}"}


async def _read(content: aiohttp.StreamReader, encoding: str) -> bytes:
    packed = encoding.strip().lower()
    if packed not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise HaloInvalid(
            f"the API compressed its answer with {encoding[:20]!r}, which was not requested"
        )
    unpack = zlib.decompressobj(_GZIP_OR_ZLIB) if packed not in {"", "identity"} else None
    parts, size = [], 0
    async for chunk in content.iter_any():
        try:
            part = unpack.decompress(chunk, MAX_RESPONSE + 1 - size) if unpack else chunk
        except zlib.error:
            raise RetryableFault("its packed body is broken") from None
        parts.append(part)
        size += len(part)
        if size > MAX_RESPONSE:
            raise HaloInvalid(
                f"an answer of more than {MAX_RESPONSE >> 20} MiB was broken off: is there "
                "something else than the Halo API at HALO_API_URL?"
            )
    if unpack and size and not unpack.eof:
        raise RetryableFault("its packed body was cut off")
    return b"".join(parts)
