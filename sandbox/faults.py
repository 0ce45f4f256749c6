"""The faults that the Halo API stand-in can be told to have, one function for each.

`HaloStandIn.fail(fault, …)` says when: for which account, after how many requests, on which page
or time range, how often. Source of the list: errors that Halo clients have seen, and what a
hostile answer could be.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sandbox.halo_exchange import Exchange

Headers = list[tuple[bytes, bytes]]

_MIB = 1024 * 1024
_JSON = b"application/json"


@dataclass(frozen=True)
class Fault:
    """What goes wrong, once it is its turn; made by the functions of this module."""

    name: str
    happen: Callable[[Exchange], Awaitable[None]]


def status(code: int, *, retry_after: int | None = None, as_date: bool = False) -> Fault:
    """Answer with an error status; 401 also ends the token that was used.

    Args:
        code: the HTTP status.
        retry_after: seconds of a `Retry-After` header, none by default.
        as_date: say them as an HTTP date (by the API's clock) rather than as a number.
    """

    async def happen(exchange: Exchange) -> None:
        headers = [(b"content-type", _JSON)]
        if retry_after is not None:
            text = str(retry_after)
            if as_date:
                moment = exchange.now + timedelta(seconds=retry_after)
                text = format_datetime(moment.astimezone(UTC), usegmt=True)
            headers.append((b"retry-after", text.encode()))
        if code == 401:  # noqa: PLR2004 - RFC 9110, 15.5.2
            exchange.revoke()
        body = json.dumps({"error": f"switched on: status {code}"}).encode()
        await exchange.answer(code, body, headers)

    return Fault(f"status {code}", happen)


def body(
    content: bytes, *, code: int = 200, content_type: bytes = _JSON, encoding: bytes | None = None
) -> Fault:
    """Answer with any body at all.

    Args:
        content: the body's bytes.
        code: the HTTP status.
        content_type: the `Content-Type` header.
        encoding: a `Content-Encoding` header, none by default.
    """

    async def happen(exchange: Exchange) -> None:
        headers = [(b"content-type", content_type)]
        if encoding:
            headers.append((b"content-encoding", encoding))
        await exchange.answer(code, content, headers)

    return Fault("body", happen)


def html(code: int = 200) -> Fault:
    """A proxy's HTML page instead of JSON."""
    page = b"<!DOCTYPE html><html><body><h1>Service temporarily unavailable</h1></body></html>"
    return body(page, code=code, content_type=b"text/html")


def error_inside() -> Fault:
    """Status 200 with an error instead of events."""
    return body(b'{"error":{"code":500,"message":"internal error"}}')


def not_json() -> Fault:
    """Status 200, said to be JSON, whole by its length, but cut off inside."""
    return body(b'{"count":3,"events":[{"id":"0123')


def bad_gzip() -> Fault:
    """A body that is said to be gzip and is not."""
    return body(b'{"events":[]}', encoding=b"gzip")


def bomb(size: int = 256 * _MIB) -> Fault:
    """A small gzip body that unpacks to `size` bytes, whether gzip was asked for or not."""
    return body(gzip.compress(b'{"events":[]' + b" " * size + b"}", 6), encoding=b"gzip")


def timeout() -> Fault:
    """Never answer; the connection stays open until the client leaves."""

    async def happen(exchange: Exchange) -> None:
        await exchange.gone()

    return Fault("timeout", happen)


def reset() -> Fault:
    """Reset the connection (RST) instead of answering."""

    async def happen(exchange: Exchange) -> None:
        _reset(exchange)

    return Fault("reset", happen)


def cut_off(part: float = 0.5) -> Fault:
    """Promise the whole page by `Content-Length`, send this part of it, close the connection."""

    async def happen(exchange: Exchange) -> None:
        await _send_part(exchange, part)
        if exchange.transport is not None:
            exchange.transport.close()

    return Fault("cut off", happen)


def stall(part: float = 0.5) -> Fault:
    """Send this part of the page, then nothing more, with the connection open."""

    async def happen(exchange: Exchange) -> None:
        await _send_part(exchange, part)
        await exchange.gone()

    return Fault("stall", happen)


def drip(seconds: float = 0.2) -> Fault:
    """Send the page a byte at a time, one every so many seconds: no read ever times out."""

    async def happen(exchange: Exchange) -> None:
        whole = exchange.page([])
        await exchange.begin(200, _headers(len(whole)))
        gone = asyncio.ensure_future(exchange.gone())
        for at in range(len(whole)):
            await exchange.send(whole[at : at + 1], more=at + 1 < len(whole))
            await asyncio.wait([gone], timeout=seconds)
            if gone.done():
                return
        gone.cancel()

    return Fault("drip", happen)


def redirect(origin: str, *, code: int = 302) -> Fault:
    """Redirect the request to the same path and query of another origin (`http://host:port`)."""

    async def happen(exchange: Exchange) -> None:
        target = f"{origin}{exchange.path}?{exchange.raw_query}"
        await exchange.answer(code, b"", [(b"location", target.encode("latin-1"))])

    return Fault("redirect", happen)


def oversized(size: int = 1024 * _MIB, *, declared: bool = True) -> Fault:
    """A valid JSON body of `size` bytes, made of blanks.

    Args:
        size: bytes of the body.
        declared: whether `Content-Length` says so (chunked otherwise).
    """

    async def happen(exchange: Exchange) -> None:
        start = b'{"events":[]'
        await exchange.begin(200, _headers(size) if declared else [(b"content-type", _JSON)])
        await exchange.send(start, more=True)
        left = size - len(start) - 1
        blanks = b" " * _MIB
        while left > 0:
            await exchange.send(blanks[:left], more=True)
            left -= len(blanks)
        await exchange.send(b"}", more=False)

    return Fault("oversized", happen)


def inject(items: Iterable[bytes]) -> Fault:
    """The right page, with these items (any JSON, or none) among its events, in front."""
    extra = list(items)

    async def happen(exchange: Exchange) -> None:
        await exchange.answer(200, exchange.page(extra), [(b"content-type", _JSON)])

    return Fault("inject", happen)


def _headers(length: int) -> Headers:
    return [(b"content-type", _JSON), (b"content-length", str(length).encode())]


async def _send_part(exchange: Exchange, part: float) -> None:
    whole = exchange.page([])
    await exchange.begin(200, _headers(len(whole)))
    await exchange.send(whole[: int(len(whole) * part)], more=True)


def _reset(exchange: Exchange) -> None:
    transport = exchange.transport
    if transport is None:
        return
    connection: Any = transport.get_extra_info("socket")
    # lingering for no time makes the kernel send RST rather than FIN
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
