"""Logging in to the Halo API stand-in: keys, tokens, and what ends a token."""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import orjson

from sandbox.halo_query import QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.halo_store import Account
    from sandbox.halo_switches import Switches


@dataclass
class _Token:
    account: Account
    expires: float
    requests: int = 0


class Tokens:
    """The tokens that were given and are valid.

    Args:
        switches: how long a token lives, and what the answer says of it.
    """

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._valid: dict[str, _Token] = {}

    def clear(self) -> None:
        """End all of them."""
        self._valid.clear()

    def end(self, authorization: bytes) -> None:
        """End the one of this `Authorization` header."""
        self._valid.pop(_bearer(authorization), None)

    def give(self, account: Account) -> bytes:
        """A new token, as the answer's JSON."""
        text = secrets.token_hex(16)
        life = self._switches.token_life
        self._valid[text] = _Token(account, time.monotonic() + life)
        said = self._switches.says_expires_in
        return orjson.dumps(
            {
                "access_token": text,
                "token_type": "bearer",
                "expires_in": int(life) if said is None else said,
                "scope": "read",
            }
        )

    def owner(self, authorization: bytes) -> tuple[Account | None, bool]:
        """Whose token an `Authorization` header carries, and whether it is valid."""
        text = _bearer(authorization)
        token = self._valid.get(text)
        if token is None:
            return None, False
        token.requests += 1
        most = self._switches.token_requests
        if time.monotonic() < token.expires and (most is None or token.requests <= most):
            return token.account, True
        del self._valid[text]
        return token.account, False


def _bearer(authorization: bytes) -> str:
    scheme, _, text = authorization.decode("latin-1").partition(" ")
    return text if scheme.lower() == "bearer" else ""


def who_logs_in(
    accounts: Mapping[str, Account], method: str, authorization: bytes, query: str, body: str
) -> Account:
    """The account of a login, its key in Basic authentication or in a form body.

    Raises:
        QueryError: 405, 400 or 401, as the API answers.
    """
    if method != "POST":
        raise QueryError(405, "a token is asked for by POST")
    given = dict(parse_qsl(query)) | dict(parse_qsl(body))
    if given.get("grant_type") != "client_credentials":
        raise QueryError(400, "grant_type must be client_credentials")
    key, secret = given.get("client_id", ""), given.get("client_secret", "")
    scheme, _, packed = authorization.partition(b" ")
    if scheme.lower() == b"basic":
        try:
            key, _, secret = base64.b64decode(packed, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise QueryError(401, "the Authorization header is no Basic authentication") from None
    for account in accounts.values():
        known = account.keys.get(key)
        if known is not None and secrets.compare_digest(known.encode(), secret.encode()):
            return account
    raise QueryError(401, "wrong key or secret, or a caller that is not authorized")
