"""The Halo API of one account: pages of events, with retries.

This is the only layer that sends a request again, as `tasks.retry_policy` decides. Every fault
leaves it as one of `tasks.errors`: `HaloUnavailable`, `HaloRefused` or `HaloInvalid`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple, Self
from urllib.parse import quote

import aiohttp
import httpx

from tasks.errors import HaloError, HaloUnavailable
from tasks.halo.auth import ApiKey, BearerAuth
from tasks.halo.decode import Page, decode
from tasks.halo.rate_limit import RateLimit
from tasks.halo.responses import check_status, http_date
from tasks.halo.transport import Transport
from tasks.redaction import foreign_text, redact
from tasks.retry_policy import RequestRetries, RetryableFault, RetryPolicy
from tasks.setting_values import is_loopback
from tasks.time_window import isoformat

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ApiKey", "HaloClient", "Listing", "Order"]

_LOG = logging.getLogger(__name__)
_RETRYABLE = (httpx.HTTPError, aiohttp.ClientError, OSError, TimeoutError)
_CLOCK_WARNING_AFTER = timedelta(minutes=1)


Order = Literal["asc", "desc"]
"""Of a listing, by the events' `created_at`."""


class Listing(NamedTuple):
    """A query for events: created from `since` on, to `until` or just before it."""

    since: datetime
    until: datetime
    order: Order = "asc"
    critical: bool | None = None
    types: tuple[str, ...] = ()

    def query(self, page: int, per_page: int) -> str:
        """The query of a page's URL (Halo API, Listing events)."""
        parts = [f"since={isoformat(self.since)}&until={isoformat(self.until)}"]
        parts.append(f"sort_by=created_at.{self.order}&per_page={per_page}&page={page}")
        if self.critical is not None:
            parts.append(f"critical={str(self.critical).lower()}")
        if self.types:
            parts.append(f"type={quote(','.join(self.types))}")
        return "&".join(parts)


class HaloClient:
    """Reads pages of events of one account; an async context manager.

    Args:
        base_url: Of the API, without a slash at the end.
        key: The account's key.
        concurrency: Requests in flight at most.
        requests_per_second: A ceiling, None for none.
        retry_policy: How long to wait and to try again.
        clock: This machine's time, aware.

    Attributes:
        ahead: How far this machine's clock is ahead of the API's: the smallest difference to the
            `Date` of a response (a cached response shows more); None where none had a `Date`.
        retries: What decides whether a request is sent again.
    """

    def __init__(
        self,
        base_url: str,
        key: ApiKey,
        *,
        concurrency: int = 8,
        requests_per_second: float | None = None,
        retry_policy: RetryPolicy | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._base_url = base_url
        policy = retry_policy or RetryPolicy()
        self.retries = RequestRetries(policy)
        self._clock = clock
        self.ahead: timedelta | None = None
        self._rate_limit = RateLimit(requests_per_second)
        self._slots = asyncio.Semaphore(concurrency)
        self._auth = BearerAuth(base_url, key)
        self._url = httpx.URL(f"{base_url}/v1/events")
        # compression saves bandwidth, of which loopback has plenty
        encoding = "identity" if is_loopback(httpx.URL(base_url).host) else "gzip"
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": encoding,
            "User-Agent": "halo-usm",
        }
        self._transport = Transport(
            httpx.URL(base_url),
            connections=concurrency,
            rate_limit=self._rate_limit,
            retry_policy=policy,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._transport.aclose()

    @property
    def api_time(self) -> datetime | None:
        """The API's time; None where no answer had a `Date`."""
        return None if self.ahead is None else self._clock() - self.ahead

    def clock_warning(self) -> str | None:
        """A warning where the clocks differ by more than a minute; None where they do not."""
        if self.ahead is None or abs(self.ahead) <= _CLOCK_WARNING_AFTER:
            return None
        seconds = abs(self.ahead).total_seconds()
        side = "ahead of" if self.ahead > timedelta() else "behind"
        return (
            f"this machine's clock is {seconds:,.0f} s {side} the Halo API's; events are read up "
            "to the earlier of both: set this machine's clock (NTP)"
        )

    async def page(self, listing: Listing, number: int, per_page: int) -> Page:
        """A page of a listing, counted from 1.

        Raises:
            HaloUnavailable: The API did not return it within the time of the retry policy.
            HaloRefused: The API does not accept the key.
            HaloInvalid: The API does not understand the query, or answers nonsense.
        """
        loop = asyncio.get_running_loop()
        request = None
        while True:
            async with self._slots:
                request = request or self.retries.begin(loop.time())
                request.attempts += 1
                try:
                    page = await self._attempt(listing.query(number, per_page))
                except RetryableFault as error:
                    fault = error
                else:
                    self.retries.succeeded(loop.time())
                    return page
            pause = self.retries.pause(request, fault, loop.time())
            if pause is None:
                raise self._give_up(fault)
            _LOG.info("Halo API: %s; trying again in %.1f s", fault.reason, pause)
            if fault.throttled:
                self._rate_limit.suspend(pause)
            await asyncio.sleep(pause)

    async def _attempt(self, query: str) -> Page:
        """Send the request once; every fault is translated to ours, and shows no secret."""
        try:
            return await self._ask(query)
        except RetryableFault as fault:
            fault.reason = self._auth.redact(fault.reason)
            raise
        except HaloError as error:
            raise type(error)(self._auth.redact(str(error))) from None
        except _RETRYABLE as error:
            raise self._translate(error) from None

    async def _ask(self, query: str) -> Page:
        before = self._clock()
        # parsing a URL for each page would be a tenth of an extract's CPU
        target = self._url.raw_path + b"?" + query.encode("ascii")
        request = httpx.Request(
            "GET", self._url, headers=self._headers, extensions={"target": target}
        )
        response = await self._send(request)
        date = http_date(response.headers.get("date", ""))
        if date is not None:
            ahead = self._clock() - date
            self.ahead = ahead if self.ahead is None else min(ahead, self.ahead)
        check_status(response)
        page = decode(response.content)
        page.as_of = min(before, date or before)
        return page

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Send a request and whatever its authentication needs.

        `httpx.AsyncClient` would take a third of a millisecond more for each request, to follow
        redirects and keep cookies, which is not wanted here.
        """
        flow = self._auth.async_auth_flow(request)
        try:
            outgoing = await anext(flow)
            while True:
                response = await self._transport.handle_async_request(outgoing)
                try:
                    outgoing = await flow.asend(response)
                except StopAsyncIteration:
                    return response
        finally:
            await flow.aclose()

    def _translate(self, error: Exception) -> RetryableFault | HaloUnavailable:
        """The error of this project that a fault of the network becomes."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(
                cause, ssl.SSLCertVerificationError | aiohttp.ClientConnectorCertificateError
            ):
                self.retries.consecutive_failures += 1
                return HaloUnavailable(
                    f"the certificate of {self._base_url} (HALO_API_URL) is not to be trusted: "
                    f"{_text(cause)}; name the authority that signed it in SSL_CERT_FILE, if you "
                    "know it"
                )
            cause = cause.__cause__
        if isinstance(error, TimeoutError | httpx.TimeoutException) and not _text(error):
            return RetryableFault("it did not answer in time")
        return RetryableFault(self._auth.redact(_text(error)) or type(error).__name__)

    def _give_up(self, fault: RetryableFault) -> HaloUnavailable:
        pause = f", which asks to wait {fault.wait:,.0f} s" if fault.wait else ""
        return HaloUnavailable(
            f"the Halo API at {self._base_url} did not answer as it should "
            f"({fault.reason}{pause}); check HALO_API_URL, the network and the proxy settings "
            "(HTTPS_PROXY, NO_PROXY), or try again later"
        )


def _text(error: BaseException) -> str:
    return foreign_text(redact(" ".join(str(error).split())))
