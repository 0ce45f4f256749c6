"""One request to the Halo API stand-in while it is being answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from sandbox.faults import Headers
    from sandbox.halo_app import HaloApp
    from sandbox.halo_query import Query
    from sandbox.halo_store import Account

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Exchange:
    """One request while it is being answered; what `sandbox.faults` works with."""

    def __init__(self, app: HaloApp, scope: Scope, receive: Receive, send: Send) -> None:
        self._app = app
        self._receive = receive
        self._send = send
        self.scope = scope
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.status = 0
        self.account: Account | None = None
        self.query: Query | None = None
        self.page: Callable[[Iterable[bytes]], bytes] = partial(listing, [b"{"])

    @property
    def raw_query(self) -> str:
        """The query string, as it came."""
        raw: bytes = self.scope["query_string"]
        return raw.decode("latin-1")

    @property
    def now(self) -> datetime:
        """The API's time, as its `Date` header tells it."""
        skew = self._app.switches.date_skew
        return self._app.clock.now() + timedelta(seconds=skew)

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection that the request came over."""
        client: tuple[str, int] = self.scope["client"]
        return self._app.transports.get(client)

    def revoke(self) -> None:
        """End the token that the request carries."""
        self._app.tokens.end(self.headers.get(b"authorization", b""))

    async def body(self) -> str:
        """The request's body."""
        found: list[bytes] = []
        more = True
        while more:
            message = await self._receive()
            found.append(message.get("body", b""))
            more = message.get("more_body", False)
        return b"".join(found).decode("latin-1")

    async def begin(self, status: int, headers: Headers) -> None:
        """Send an answer's status and headers."""
        self.status = status
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": self._app.date_header() + headers,
            }
        )

    async def send(self, chunk: bytes, *, more: bool) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """Send a whole answer."""
        await self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.send(body, more=False)

    async def gone(self) -> None:
        """Wait until the client has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def listing(head: list[bytes], events: list[bytes] | Iterable[bytes]) -> bytes:
    """A page's JSON: what precedes the events, and the events."""
    parts = list(events) or [b""]
    # one join: a page is copied once
    parts[0] = b"".join((*head, b'"events":[', parts[0]))
    parts[-1] += b"]}"
    return b",".join(parts)
