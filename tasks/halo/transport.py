"""How requests reach the API: aiohttp's connections behind httpx's interface, responses bounded.

httpx's own pool scans every connection for each request and slows down with concurrency;
aiohttp's does not.
"""

from __future__ import annotations

import asyncio
import base64
import urllib.request
import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import httpx
from yarl import URL

from tasks.errors import HaloInvalid, HaloRefused, SettingsError
from tasks.redaction import redact_address
from tasks.retry_policy import RetryableFault

if TYPE_CHECKING:
    import ssl

    from tasks.halo.rate_limit import RateLimit
    from tasks.retry_policy import RetryPolicy

MAX_RESPONSE = 64 * 1024 * 1024
"""Bytes of an answer, unpacked: 100 events of 640 KiB each. More is an attack or a mistake."""

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_READ_BUFFER = 1024 * 1024
_KEEP_ALIVE = 60.0
_MAX_PORT = 65535
_PORTS = {"http": 80, "https": 443}
_REFUSALS = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
}
"""What a proxy answers that will not let a request through, however often it is asked."""
_BODY_HEADERS = {b"content-encoding", b"content-length", b"transfer-encoding"}
"""Headers that no longer hold once an answer is read and unpacked."""


class Transport(httpx.AsyncBaseTransport):
    """Sends to one origin, and reads each answer whole, up to `MAX_RESPONSE` bytes.

    What is asked for is the path of a request's URL, or its extension `target` (httpx, "Request
    extensions").

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
        base_url: httpx.URL,
        *,
        connections: int,
        rate_limit: RateLimit,
        retry_policy: RetryPolicy,
    ) -> None:
        self._scheme = base_url.scheme
        self._origin = f"{base_url.scheme}://{base_url.netloc.decode('ascii')}"
        self._connections = connections
        self._rate_limit = rate_limit
        self._timeout = aiohttp.ClientTimeout(
            sock_connect=retry_policy.connect, sock_read=retry_policy.read
        )
        self._attempt = retry_policy.attempt
        self._tls = _tls() if base_url.scheme == "https" else None
        self._proxy = _proxy(base_url)
        self._proxy_headers = _credentials(self._proxy)
        self._opened: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read its answer.

        Raises:
            HaloInvalid: The answer is too large, or packed in a way that was not asked for.
            HaloRefused: The proxy does not let the request through.
            RetryableFault: The packed body is broken, or the proxy is not there.
            TimeoutError: The answer was not whole in time.
            aiohttp.ClientError, OSError: The exchange failed otherwise.
        """
        await self._rate_limit.acquire()
        target: bytes = request.extensions.get("target", request.url.raw_path)
        # a request through a tunnel is none of the proxy's business
        for_proxy = self._proxy_headers if self._tls is None else {}
        exchange = self._session.request(
            request.method,
            URL(self._origin + target.decode("ascii"), encoded=True),
            headers=[*request.headers.multi_items(), *for_proxy.items()],
            data=request.content or None,
            allow_redirects=False,
            proxy_headers=self._proxy_headers,
        )
        try:
            async with asyncio.timeout(self._attempt), exchange as answer:
                if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and self._proxy:
                    raise self._refused(answer.status)
                body = await _read(answer.content, answer.headers.get("Content-Encoding", ""))
                headers = [
                    pair for pair in answer.raw_headers if pair[0].lower() not in _BODY_HEADERS
                ]
                return httpx.Response(answer.status, headers=headers, content=body, request=request)
        except aiohttp.ClientHttpProxyError as error:
            if error.status in _REFUSALS:
                raise self._refused(error.status) from None
            raise RetryableFault(f"its proxy {self._proxy_shown} answers {error.status}") from None
        except aiohttp.ClientProxyConnectionError as error:
            why = error.os_error.strerror or error.os_error
            raise RetryableFault(f"its proxy {self._proxy_shown} is not there: {why}") from None

    @property
    def _proxy_shown(self) -> str:
        return redact_address(str(self._proxy.url)) if self._proxy else ""

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
                proxy=str(self._proxy.url) if self._proxy else None,
                auto_decompress=False,
                read_bufsize=_READ_BUFFER,
            )
        return self._opened

    async def aclose(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.close()


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
    proxy = (proxies.get(base_url.scheme) or proxies.get("all") or "").strip()
    # NO_PROXY may name a host, or a host and its port
    place = f"{base_url.host}:{base_url.port or _PORTS[base_url.scheme]}"
    if not proxy or any(map(urllib.request.proxy_bypass, (base_url.host, place))):
        return None
    try:
        url = httpx.URL(proxy if "://" in proxy else f"http://{proxy}")
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not _can_be_asked_for(url):
        name = f"{base_url.scheme.upper()}_PROXY"
        # not shown: it may hold a password
        raise SettingsError(
            f"{name} or ALL_PROXY is no proxy: write http:// or https:// and a host, or name "
            f"{base_url.host} in NO_PROXY"
        )
    return httpx.Proxy(url)


def _can_be_asked_for(url: httpx.URL) -> bool:
    """Whether a proxy's host and port are such that an attempt to reach it can be made."""
    try:
        url.host.encode("idna")  # as the resolver does; its parts have 1 to 63 characters
    except UnicodeError:
        return False
    return bool(url.host) and "%" not in url.host and (url.port or 0) <= _MAX_PORT


def _credentials(proxy: httpx.Proxy | None) -> dict[str, str]:
    """The header that tells a proxy who asks (RFC 7617, in UTF-8)."""
    if proxy is None or not proxy.auth:
        return {}
    pair = base64.b64encode(":".join(proxy.auth).encode()).decode("ascii")
    return {"Proxy-Authorization": f"Basic {pair}"}


async def _read(content: aiohttp.StreamReader, encoding: str) -> bytes:
    packed = encoding.strip().lower()
    if packed not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise HaloInvalid(
            f"the API compressed its answer with {encoding[:20]!r}, which was not requested"
        )
    unpack = zlib.decompressobj(_GZIP_OR_ZLIB) if packed not in {"", "identity"} else None
    body = bytearray()
    async for chunk in content.iter_any():
        try:
            part = unpack.decompress(chunk, MAX_RESPONSE + 1 - len(body)) if unpack else chunk
        except zlib.error:
            raise RetryableFault("its packed body is broken") from None
        body += part
        if len(body) > MAX_RESPONSE:
            raise HaloInvalid(
                f"an answer of more than {MAX_RESPONSE >> 20} MiB was broken off: is there "
                "something else than the Halo API at HALO_API_URL?"
            )
    if unpack and body and not unpack.eof:
        raise RetryableFault("its packed body was cut off")
    return bytes(body)
