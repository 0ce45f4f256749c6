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

import msgspec

from tasks.errors import HaloRefused
from tasks.halo.exchange import Answer, Request
from tasks.halo.responses import check_status, detail
from tasks.retry_policy import RetryableFault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Send = Callable[[Request], Awaitable[Answer]]

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


class BearerAuth:
    """Adds the account's token to requests, and logs in where there is none or it has expired.

    A request that is refused (401 or 403) is sent again once, with a new token. There is no
    further login where a new token is refused too, or the key itself, whichever of the concurrent
    requests found that out.

    Args:
        target: Path and query of a login.
        key: The account's key.
    """

    def __init__(self, target: str, key: ApiKey) -> None:
        self._target = target
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

    async def send(self, request: Request, send: Send) -> Answer:
        """Send the request, and the logins that it needs.

        Raises:
            HaloRefused: The key is not accepted.
            RetryableFault: The login failed in a way that may pass.
        """
        renewed = False
        token_number = 0
        while True:
            async with self._lock:
                if self._refusal:
                    raise self._refusal
                if self._token_number == token_number or time.monotonic() >= self._expires_at:
                    renewed = self._token_number == token_number and token_number > 0
                    self._store_token(await send(self._login()))
                token_number = self._token_number
                request.headers["Authorization"] = f"Bearer {self._token}"
            answer = await send(request)
            if answer.status not in _UNAUTHORIZED:
                self._last_accepted = max(self._last_accepted, token_number)
                return answer
            fresh_was_refused = (
                token_number > 1 and self._last_accepted < token_number == self._token_number
            )
            if renewed or fresh_was_refused:
                return answer

    def _login(self) -> Request:
        headers = {"Accept": "application/json", "Authorization": f"Basic {self._credentials}"}
        return Request("POST", self._target, headers)

    def _store_token(self, answer: Answer) -> None:
        """Take the token from the answer to a login."""
        if answer.status in _REFUSED_LOGIN:
            self._refusal = HaloRefused(
                f"key {self._key.key_id} is refused at login (HTTP {answer.status}"
                f"{detail(answer)}): either the key or its secret in HALO_AUTH_FILE "
                "is wrong, or this machine's address is not among the key's authorized IP "
                "addresses (Halo portal, API keys)"
            )
            raise self._refusal
        check_status(answer)
        try:
            grant = msgspec.json.decode(answer.body, type=_Grant)
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
