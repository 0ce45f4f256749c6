"""The Halo API stand-in as an ASGI application: tokens, listings, switches, faults, counters."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson

from sandbox.faults import Fault, Headers
from sandbox.halo_query import Query, QueryError, microseconds, parse_query
from sandbox.halo_store import Account, Clock, Counters

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

EVENTS = "/v1/events"
TOKEN = "/oauth/access_token"  # noqa: S105 - a path
CONTROL = "/-/"
_JSON = (b"content-type", b"application/json")
_OK = 200
_GZIP = 16 + zlib.MAX_WBITS
_DAY = 86_400_000_000
_LOGGED = 200_000


@dataclass
class Switches:
    """How the stand-in behaves where Halo's clients disagree, and what it is slow or odd in.

    Each may be changed at any time, and counts from the next request on.

    Attributes:
        latency_ms: wait before every answer; concurrent requests wait at the same time.
        token_life: seconds that a token is valid.
        says_expires_in: what the login answer claims instead of `token_life`.
        token_requests: a token also ends after this many requests.
        until_inclusive: whether an event at `until` exactly is listed.
        default_per_page: events a page where none were asked for.
        max_per_page: more than these are silently cut to it.
        max_page: deeper pages are not given.
        past_max_page: "empty" (an empty list) or "error" (422).
        unsorted: the order where none was asked for: "scrambled" (the same for every page of a
            query), "shuffled" (anew with every request) or "desc".
        count: whether answers carry `count`.
        pagination: whether answers carry `pagination.next` and `.prev`.
        next_origin: the origin of `pagination.next`, by default the one that was asked.
        gzip: whether answers are packed for those who accept it.
        date: whether answers carry the `Date` header.
        date_skew: seconds that the `Date` header is ahead of the API's clock.
        retention_days: older events are gone; None keeps them for ever.
        login_events: every login is itself an event of the account.
    """

    latency_ms: float = 0.0
    token_life: float = 900.0
    says_expires_in: int | None = None
    token_requests: int | None = None
    until_inclusive: bool = False
    default_per_page: int = 10
    max_per_page: int = 500
    max_page: int | None = 300
    past_max_page: str = "empty"
    unsorted: str = "scrambled"
    count: bool = True
    pagination: bool = True
    next_origin: str | None = None
    gzip: bool = False
    date: bool = True
    date_skew: float = 0.0
    retention_days: float | None = None
    login_events: bool = False


@dataclass
class Planned:
    """A fault and when it is its turn; `hits` counts how often it happened."""

    fault: Fault
    account: str | None = None
    path: str = EVENTS
    after: int = 0
    times: int | None = 1
    every: int = 1
    page: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    hits: int = 0
    seen: int = 0

    def takes(self, path: str, account: str | None, query: Query | None) -> bool:
        """Whether it happens to this request; counts the request if it is one of those meant."""
        if path != self.path or (self.account is not None and account != self.account):
            return False
        if query is not None and not self._covers(query):
            return False
        self.seen += 1
        if self.seen <= self.after or (self.seen - self.after - 1) % self.every:
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True

    def _covers(self, query: Query) -> bool:
        if self.page is not None and query.page != self.page:
            return False
        if self.since is not None and query.until is not None:
            return query.until > microseconds(self.since) and self._before(query)
        return self._before(query)

    def _before(self, query: Query) -> bool:
        if self.until is None or query.since is None:
            return True
        return query.since < microseconds(self.until)


class Request(NamedTuple):
    """One line of the stand-in's log; `status` 0 means the connection was broken."""

    account: str | None
    method: str
    path: str
    query: str
    status: int


@dataclass
class _Token:
    account: Account
    expires: float
    requests: int = 0


@dataclass
class _Exchange:
    scope: Scope
    receive: Receive
    sender: Send
    base_headers: Headers
    now: datetime
    transport: asyncio.Transport | None
    status: int = 0
    page: Callable[[Iterable[bytes]], bytes] = lambda extra: b"[" + b",".join(extra) + b"]"
    revoke: Callable[[], None] = lambda: None

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def raw_query(self) -> str:
        return bytes(self.scope["query_string"]).decode("latin-1")

    async def begin(self, status: int, headers: Headers) -> None:
        self.status = status
        await self.sender(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*self.base_headers, *headers],
            }
        )

    async def send(self, chunk: bytes, *, more: bool) -> None:
        await self.sender({"type": "http.response.body", "body": chunk, "more_body": more})

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        await self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.send(body, more=False)

    async def gone(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


class _Answer(NamedTuple):
    status: int
    body: bytes
    headers: Headers = []  # noqa: RUF012 - never changed


@dataclass
class HaloApp:
    """The API: an ASGI 3 application.

    Attributes:
        switches: see `Switches`.
        clock: the API's time.
        accounts: by name.
        faults: planned, the first that takes a request decides it.
        counters: of all requests; each account has its own besides.
        log: the last 200,000 requests, oldest first.
        transports: open connections by (host, port) of the client.
        tokens: those that are valid.
        loop: the event loop that serves.
    """

    switches: Switches
    clock: Clock
    accounts: dict[str, Account]
    faults: list[Planned] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)
    log: deque[Request] = field(default_factory=lambda: deque(maxlen=_LOGGED))
    transports: dict[tuple[str, int], asyncio.Transport] = field(default_factory=dict)
    tokens: dict[str, _Token] = field(default_factory=dict)
    loop: asyncio.AbstractEventLoop | None = None
    _date: tuple[int, bytes] = (0, b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        exchange = _Exchange(
            scope,
            receive,
            send,
            self._date_header(),
            self.clock.now(),
            self.transports.get(tuple(scope["client"] or ("", 0))),
        )
        if path.startswith(CONTROL):
            await self._control(exchange, path)
            return
        account: Account | None = None
        refused: _Answer | None = None
        if path == EVENTS:
            account, refused = self._authorized(exchange)
        elif path == TOKEN:
            account, refused = await self._login(exchange)
        else:
            refused = _error(404, f"no such path: {path}")
        tallies = [self.counters] if account is None else [self.counters, account.counters]
        for tally in tallies:
            tally.arrived(path)
        try:
            if self.clock.per_request:
                self.clock.advance(self.clock.per_request)
            if self.switches.latency_ms:
                await asyncio.sleep(self.switches.latency_ms / 1000)
            await self._respond(exchange, account, refused)
        finally:
            for tally in tallies:
                tally.in_flight -= 1
                tally.statuses[exchange.status] += 1
            self.log.append(
                Request(
                    account.name if account else None,
                    scope["method"],
                    path,
                    exchange.raw_query,
                    exchange.status,
                )
            )

    async def _respond(
        self, exchange: _Exchange, account: Account | None, refused: _Answer | None
    ) -> None:
        query: Query | None = None
        if exchange.path == EVENTS and account is not None and refused is None:
            try:
                query = self._query(exchange)
                exchange.page = lambda extra: self._page(exchange, account, query, extra)
            except QueryError as error:
                refused = _error(error.status, str(error))
        name = account.name if account else None
        if self.faults:
            for planned in self.faults:
                if planned.takes(exchange.path, name, query):
                    await planned.fault.happen(exchange)
                    return
        if refused is not None:
            await exchange.answer(refused.status, refused.body, [_JSON, *refused.headers])
        elif exchange.path == TOKEN and account is not None:
            await exchange.answer(_OK, self._grant(account), [_JSON])
        else:
            body, headers = self._packed(exchange, exchange.page([]))
            await exchange.answer(_OK, body, headers)

    def _packed(self, exchange: _Exchange, body: bytes) -> tuple[bytes, Headers]:
        if self.switches.gzip and b"gzip" in _header(exchange.scope, b"accept-encoding"):
            packer = zlib.compressobj(level=1, wbits=_GZIP)
            packed = packer.compress(body) + packer.flush()
            return packed, [_JSON, (b"content-encoding", b"gzip")]
        return body, [_JSON]

    def _query(self, exchange: _Exchange) -> Query:
        if exchange.scope["method"] != "GET":
            raise QueryError(405, f"{EVENTS} is read by GET")
        query = parse_query(exchange.scope["query_string"])
        limit = self.switches.max_page
        if limit is not None and query.page > limit and self.switches.past_max_page == "error":
            raise QueryError(422, f"page {query.page} is beyond {limit}")
        return query

    def _page(
        self, exchange: _Exchange, account: Account, query: Query | None, extra: Iterable[bytes]
    ) -> bytes:
        assert query is not None
        switches = self.switches
        size = min(query.per_page or switches.default_per_page, switches.max_per_page)
        days = switches.retention_days
        total, events = account.select(
            query,
            size=size,
            until_inclusive=switches.until_inclusive,
            retention=None if days is None else int(days * _DAY),
            unsorted=switches.unsorted,
        )
        deepest = switches.max_page
        if deepest is not None and query.page > deepest:
            events = []
        for tally in (self.counters, account.counters):
            tally.pages += 1
            tally.events += len(events)
        parts = [b'{"count":%d,' % total] if switches.count else [b"{"]
        if switches.pagination:
            last = -(-total // size) if deepest is None else min(-(-total // size), deepest)
            parts.append(self._links(exchange, query, last))
        parts.append(b'"events":[' + b",".join([*extra, *events]) + b"]}")
        return b"".join(parts)

    def _links(self, exchange: _Exchange, query: Query, last: int) -> bytes:
        origin = self.switches.next_origin
        if origin is None:
            host = _header(exchange.scope, b"host").decode("latin-1")
            origin = f"{exchange.scope['scheme']}://{host}"
        base = f"{origin}{EVENTS}?{query.rest}{'&' if query.rest else ''}page="
        links = []
        if query.page < last:
            links.append(f'"next":"{base}{query.page + 1}"')
        if query.page > 1:
            links.append(f'"prev":"{base}{query.page - 1}"')
        return f'"pagination":{{{",".join(links)}}},'.encode("latin-1")

    def _authorized(self, exchange: _Exchange) -> tuple[Account | None, _Answer | None]:
        scheme, _, text = _header(exchange.scope, b"authorization").decode("latin-1").partition(" ")
        token = self.tokens.get(text) if scheme.lower() == "bearer" else None
        if token is None:
            return None, _error(401, "no token, or one that was never given or has ended")
        exchange.revoke = partial(self._revoke, text)
        token.requests += 1
        most = self.switches.token_requests
        if time.monotonic() >= token.expires or (most is not None and token.requests > most):
            del self.tokens[text]
            return token.account, _error(401, "the token has expired")
        return token.account, None

    async def _login(self, exchange: _Exchange) -> tuple[Account | None, _Answer | None]:
        given = dict(parse_qsl(exchange.raw_query))
        body = b""
        while True:
            message = await exchange.receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        given |= dict(parse_qsl(body.decode("latin-1")))
        key, secret = _basic(exchange.scope) or (
            given.get("client_id", ""),
            given.get("client_secret", ""),
        )
        if exchange.scope["method"] != "POST":
            return None, _error(405, f"{TOKEN} takes POST")
        if given.get("grant_type") != "client_credentials":
            return None, _error(400, "grant_type must be client_credentials")
        for account in self.accounts.values():
            if secrets.compare_digest(account.keys.get(key, "").encode(), secret.encode()) and key:
                return account, None
        self.counters.failed_logins += 1
        return None, _error(401, "wrong key or secret, or a caller that is not authorized")

    def _revoke(self, token: str) -> None:
        self.tokens.pop(token, None)

    def _grant(self, account: Account) -> bytes:
        switches = self.switches
        text = secrets.token_hex(16)
        self.tokens[text] = _Token(account, time.monotonic() + switches.token_life)
        for tally in (self.counters, account.counters):
            tally.logins += 1
        if switches.login_events:
            account.add([self._login_event(account)])
        said = switches.says_expires_in
        return orjson.dumps(
            {
                "access_token": text,
                "token_type": "bearer",
                "expires_in": int(switches.token_life) if said is None else said,
                "scope": "read",
            }
        )

    def _login_event(self, account: Account) -> dict[str, Any]:
        key = account.key[0]
        return {
            "id": secrets.token_hex(16),
            "type": "api_login_success",
            "name": "Halo api authentication success",
            "message": f"API key {key} logged in from IP address 127.0.0.1",
            "created_at": self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "critical": False,
            "actor_key_id": key,
            "actor_ip_address": "127.0.0.1",
        }

    def _date_header(self) -> Headers:
        if not self.switches.date:
            return []
        moment = self.clock.micros() + int(self.switches.date_skew * 1_000_000)
        if self._date[0] != moment // 1_000_000:
            at = self.clock.now() + timedelta(seconds=self.switches.date_skew)
            self._date = (moment // 1_000_000, format_datetime(at, usegmt=True).encode())
        return [(b"date", self._date[1])]

    def connected(self, transport: asyncio.Transport) -> None:
        """A connection was made."""
        self.loop = asyncio.get_running_loop()
        self.transports[tuple(transport.get_extra_info("peername")[:2])] = transport

    def hang_up(self) -> None:
        """Break every connection, from any thread, so that nobody waits for a stopped server."""
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for transport in list(self.transports.values()):
            transport.abort()

    def stats(self) -> dict[str, Any]:
        """The counters, in all and by account, as plain JSON values."""
        accounts = {name: account.counters.summary() for name, account in self.accounts.items()}
        return {**self.counters.summary(), "accounts": accounts}

    def reset_counters(self) -> None:
        """Count from zero again; requests in flight stay counted as such."""
        for holder in (self, *self.accounts.values()):
            holder.counters = Counters(in_flight=0)
        self.log.clear()

    async def _control(self, exchange: _Exchange, path: str) -> None:
        if path == "/-/stats":
            await exchange.answer(_OK, orjson.dumps(self.stats()), [_JSON])
        elif path == "/-/reset":
            self.reset_counters()
            await exchange.answer(_OK, b"{}", [_JSON])
        elif path == "/-/switches":
            for name, value in parse_qsl(exchange.raw_query):
                setattr(self.switches, name, orjson.loads(value))
            await exchange.answer(_OK, orjson.dumps(vars(self.switches)), [_JSON])
        else:
            await exchange.answer(404, b"{}", [_JSON])


def _header(scope: Scope, name: bytes) -> bytes:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def _basic(scope: Scope) -> tuple[str, str] | None:
    scheme, _, text = _header(scope, b"authorization").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        key, _, secret = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ("", "")
    return key, secret


def _error(status: int, message: str) -> _Answer:
    return _Answer(status, orjson.dumps({"error": message}))
