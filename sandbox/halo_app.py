"""The Halo API stand-in as an ASGI application: it answers logins and listings of events."""

from __future__ import annotations

import asyncio
import secrets
import socket
import zlib
from collections import deque
from datetime import timedelta
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import orjson

from sandbox.halo_exchange import Exchange, Receive, Scope, Send, listing
from sandbox.halo_padding import padded
from sandbox.halo_query import Query, QueryError, parse_query
from sandbox.halo_state import Clock, Counters, Request
from sandbox.halo_tokens import Tokens, who_logs_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.faults import Headers
    from sandbox.halo_store import Account
    from sandbox.halo_switches import Planned, Switches

EVENTS = "/v1/events"
TOKEN = "/oauth/access_token"  # noqa: S105 - a path
_CONTROL = "/-/"
_JSON = (b"content-type", b"application/json")
_OK = 200
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_LOGGED = 200_000


class HaloApp:
    """The API: an ASGI 3 application.

    Args:
        switches: how it behaves.
        clock: its time.
        accounts: by name.

    Attributes:
        faults: the first that takes a request decides it.
        counters: of all requests; each account has its own besides.
        log: the last 200,000 requests, oldest first.
        tokens: those that are valid.
        transports: open connections by (host, port) of the client.
    """

    def __init__(self, switches: Switches, clock: Clock, accounts: dict[str, Account]) -> None:
        self.switches = switches
        self.clock = clock
        self.accounts = accounts
        self.faults: list[Planned] = []
        self.counters = Counters()
        self.log: deque[Request] = deque(maxlen=_LOGGED)
        self.tokens = Tokens(switches)
        self.transports: dict[tuple[str, int], asyncio.Transport] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._date: tuple[int, bytes] = (0, b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(self, scope, receive, send)
        if exchange.path.startswith(_CONTROL):
            await self._control(exchange)
            return
        refused: QueryError | None = None
        try:
            if exchange.path == EVENTS:
                self._authorize(exchange)
            elif exchange.path == TOKEN:
                await self._log_in(exchange)
            else:
                refused = QueryError(404, f"no such path: {exchange.path}")
        except QueryError as error:
            refused = error
        account = exchange.account
        counted_in = (self.counters, account.counters) if account else (self.counters,)
        for counters in counted_in:
            counters.arrived(exchange.path)
        try:
            if self.clock.per_request:
                self.clock.advance(self.clock.per_request)
            if self.switches.latency_ms:
                await asyncio.sleep(self.switches.latency_ms / 1000)
            await self._respond(exchange, refused)
        finally:
            for counters in counted_in:
                counters.answered(exchange.status)
            name = account.name if account else None
            method = scope["method"]
            self.log.append(
                Request(name, method, exchange.path, exchange.raw_query, exchange.status)
            )

    async def _respond(self, exchange: Exchange, refused: QueryError | None) -> None:
        account = exchange.account
        name = account.name if account else None
        for planned in self.faults:
            if planned.takes(exchange.path, name, exchange.query):
                await planned.fault.happen(exchange)
                return
        if refused is not None or account is None:
            status = refused.status if refused else 500
            await exchange.answer(status, orjson.dumps({"error": str(refused)}), [_JSON])
        elif exchange.path == TOKEN:
            await exchange.answer(_OK, self._grant(account), [_JSON])
        else:
            body = exchange.page(())
            headers = [_JSON]
            if self.switches.gzip and b"gzip" in exchange.headers.get(b"accept-encoding", b""):
                packer = zlib.compressobj(level=1, wbits=_GZIP_WINDOW)
                body = packer.compress(body) + packer.flush()
                headers.append((b"content-encoding", b"gzip"))
            await exchange.answer(_OK, body, headers)

    def _authorize(self, exchange: Exchange) -> None:
        exchange.account, valid = self.tokens.owner(exchange.headers.get(b"authorization", b""))
        if not valid or exchange.account is None:
            raise QueryError(401, "no token, or one that was never given or has ended")
        if exchange.scope["method"] != "GET":
            raise QueryError(405, f"{EVENTS} is read by GET")
        query = parse_query(exchange.scope["query_string"])
        limit = self.switches.max_page
        if limit is not None and query.page > limit and self.switches.past_max_page == "error":
            raise QueryError(422, f"page {query.page} is beyond {limit}")
        exchange.query = query
        exchange.page = partial(self._page, exchange, exchange.account, query)

    async def _log_in(self, exchange: Exchange) -> None:
        body = await exchange.body()
        authorization = exchange.headers.get(b"authorization", b"")
        try:
            exchange.account = who_logs_in(
                self.accounts, exchange.scope["method"], authorization, exchange.raw_query, body
            )
        except QueryError:
            self.counters.failed_logins += 1
            raise

    def _page(
        self, exchange: Exchange, account: Account, query: Query, extra: Iterable[bytes]
    ) -> bytes:
        switches = self.switches
        size = min(query.per_page or switches.default_per_page, switches.max_per_page)
        total, events = account.select(query, size, switches)
        deepest = switches.max_page
        last = -(-total // size)
        if deepest is not None:
            last = min(last, deepest)
            if query.page > deepest:
                events = []
        for counters in (self.counters, account.counters):
            counters.pages += 1
            counters.events += len(events)
        head = [b'{"count":%d,' % total] if switches.count else [b"{"]
        if switches.pagination:
            head.append(self._links(exchange, query, last))
        if switches.padding:
            events = [padded(event, switches.padding) for event in events]
        return listing(head, [*extra, *events])

    def _links(self, exchange: Exchange, query: Query, last: int) -> bytes:
        origin = self.switches.next_origin
        if origin is None:
            host = exchange.headers.get(b"host", b"").decode("latin-1")
            origin = f"{exchange.scope['scheme']}://{host}"
        base = f"{origin}{EVENTS}?{query.rest}{'&' if query.rest else ''}page="
        links = []
        if query.page < last:
            links.append(f'"next":"{base}{query.page + 1}"')
        if query.page > 1:
            links.append(f'"prev":"{base}{query.page - 1}"')
        return f'"pagination":{{{",".join(links)}}},'.encode("latin-1")

    def _grant(self, account: Account) -> bytes:
        for counters in (self.counters, account.counters):
            counters.logins += 1
        if self.switches.login_events:
            key = account.key[0]
            event = {
                "id": secrets.token_hex(16),
                "type": "api_login_success",
                "name": "Halo api authentication success",
                "message": f"API key {key} authenticated from IP address 127.0.0.1",
                "created_at": self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "critical": False,
                "actor_key_id": key,
                "actor_ip_address": "127.0.0.1",
            }
            account.add([event])
        return self.tokens.give(account)

    def date_header(self) -> Headers:
        """The `Date` header, or none where it is switched off."""
        if not self.switches.date:
            return []
        second = (self.clock.micros() + int(self.switches.date_skew * 1e6)) // 1_000_000
        if self._date[0] != second:
            moment = self.clock.now() + timedelta(seconds=self.switches.date_skew)
            self._date = (second, format_datetime(moment, usegmt=True).encode())
        return [(b"date", self._date[1])]

    def connected(self, transport: asyncio.Transport) -> None:
        """A connection was made."""
        self._loop = asyncio.get_running_loop()
        # asyncio does so itself only for sockets made with the protocol's number, and headers and
        # body are two writes: Nagle's algorithm would make every answer 40 ms late
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transports[tuple(transport.get_extra_info("peername")[:2])] = transport

    def hang_up(self) -> None:
        """Break every connection, from any thread, so that nobody waits for a stopped server."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for transport in list(self.transports.values()):
            transport.abort()

    def stats(self) -> dict[str, Any]:
        """The counters, in all and by account, as plain JSON values."""
        accounts = {name: account.counters.summary() for name, account in self.accounts.items()}
        return {**self.counters.summary(), "accounts": accounts}

    def reset(self) -> None:
        """Count from zero again, and forget the log."""
        self.counters.reset()
        for account in self.accounts.values():
            account.counters.reset()
        self.log.clear()

    async def _control(self, exchange: Exchange) -> None:
        given = {name: orjson.loads(value) for name, value in parse_qsl(exchange.raw_query)}
        answer: dict[str, Any] = {}
        if exchange.path == "/-/stats":
            answer = self.stats()
        elif exchange.path == "/-/reset":
            self.reset()
        elif exchange.path == "/-/switches":
            self.switches.set(**given)
            answer = vars(self.switches)
        elif exchange.path == "/-/advance":
            self.clock.advance(timedelta(**given))
            answer = {"now": self.clock.now().isoformat()}
        await exchange.answer(_OK, orjson.dumps(answer), [_JSON])
