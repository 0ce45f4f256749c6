"""Logging in: OAuth2 client credentials, one token for all requests of an account.

Each login is itself an event in the account's log (Halo API, Authentication), so a token is
used until it expires, and concurrent requests share one login.
"""

from __future__ import annotations

import asyncio
import math
import time
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import msgspec

from tasks.errors import HaloInvalid, HaloRefused
from tasks.halo.responses import check_status, detail
from tasks.retry_policy import RetryableFault

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_REFUSED_LOGIN = {400, 401, 403}
"""Statuses of a login whose key is not accepted (RFC 6749, section 5.2, and Halo)."""
_UNAUTHORIZED = {401, 403}
"""Statuses of a request whose token is not accepted; older API versions answer 403."""
_EXPIRY_MARGIN = 30.0
"""A token is no longer used in the last seconds before it expires."""


@dataclass(frozen=True)
class ApiKey:
    """A Halo API key; the secret shows in no representation."""

    key_id: str
    secret: str = field(repr=False)


class _Grant(msgspec.Struct):
    access_token: str
    expires_in: float | str | None = None


class BearerAuth(httpx.Auth):
    """Adds the account's token to requests, and logs in where there is none or it has expired.

    A request that is refused (401 or 403) is sent again once, with a new token. There is no
    further login where a new token is refused too, or the key itself, whichever of the concurrent
    requests found that out.

    Args:
        base_url: Of the API; the key and the token go to this origin alone.
        key: The account's key.
    """

    def __init__(self, base_url: str, key: ApiKey) -> None:
        self._base = httpx.URL(base_url)
        self._url = httpx.URL(base_url + "/oauth/access_token?grant_type=client_credentials")
        self._key = key
        self._credentials = b64encode(f"{key.key_id}:{key.secret}".encode()).decode()
        self._lock = asyncio.Lock()
        self._token = ""
        self._expires_at = 0.0
        self._token_number = 0
        self._last_accepted = 0
        self._refusal: HaloRefused | None = None

    def redact(self, text: str) -> str:
        """The text without the key's secret and the token, in case the API repeated them."""
        for word in (self._key.secret, self._token, self._credentials):
            if word:
                text = text.replace(word, "***")
        return text

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Yield the request, and the logins that it needs; see `httpx.Auth`.

        Raises:
            HaloRefused: The key is not accepted.
            RetryableFault: The login failed in a way that may pass.
        """
        if not _same_origin(request.url, self._base):
            raise HaloInvalid(f"the key is not sent to {request.url.host}: it is not HALO_API_URL")
        renewed = False
        token_number = 0
        while True:
            async with self._lock:
                if self._refusal:
                    raise self._refusal
                if self._token_number == token_number or time.monotonic() >= self._expires_at:
                    renewed = self._token_number == token_number and token_number > 0
                    response = yield self._login()
                    self._store_token(response)
                token_number = self._token_number
                request.headers["Authorization"] = f"Bearer {self._token}"
            response = yield request
            if response.status_code not in _UNAUTHORIZED:
                self._last_accepted = max(self._last_accepted, token_number)
                return
            fresh_was_refused = (
                token_number > 1 and self._last_accepted < token_number == self._token_number
            )
            if renewed or fresh_was_refused:
                return

    def _login(self) -> httpx.Request:
        headers = {"Accept": "application/json", "Authorization": f"Basic {self._credentials}"}
        return httpx.Request("POST", self._url, headers=headers)

    def _store_token(self, response: httpx.Response) -> None:
        """Take the token from the response to a login."""
        if response.status_code in _REFUSED_LOGIN:
            self._refusal = HaloRefused(
                f"key {self._key.key_id} is refused at login (HTTP {response.status_code}"
                f"{detail(response)}): either the key or its secret in HALO_AUTH_FILE "
                "is wrong, or this machine's address is not among the key's authorized IP "
                "addresses (Halo portal, API keys)"
            )
            raise self._refusal
        check_status(response)
        try:
            grant = msgspec.json.decode(response.content, type=_Grant)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RetryableFault("the answer to the login holds no token") from None
        if not grant.access_token.isascii() or not grant.access_token.isprintable():
            raise RetryableFault("the answer to the login holds no usable token")
        self._token = grant.access_token
        self._token_number += 1
        self._expires_at = time.monotonic() + _lifetime(grant.expires_in)


def _lifetime(expires_in: float | str | None) -> float:
    """For how many seconds a token is used; without end where the API does not say."""
    try:
        seconds = float(expires_in or 0)
    except ValueError:
        seconds = 0
    if not seconds > 0:
        return math.inf
    return max(seconds - _EXPIRY_MARGIN, seconds / 2)


def _same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)
