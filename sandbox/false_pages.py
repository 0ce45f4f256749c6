"""Listings that are not what they say, as faults of the Halo API stand-in; see `sandbox.faults`."""

from __future__ import annotations

import json
import re
import secrets
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

from sandbox.faults import Fault
from sandbox.halo_exchange import listing
from sandbox.halo_query import EPOCH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sandbox.halo_exchange import Exchange

Counts: TypeAlias = "int | Callable[[int], int] | None"
"""The `count` of a listing: always the same, by the number of the request from 0, or none."""

_JSON = [(b"content-type", b"application/json")]
_COUNT = re.compile(rb'"count":([0-9]+)')


def counting(number: Callable[[int], int]) -> Fault:
    """The right page with another `count`, made from the right one."""

    async def happen(exchange: Exchange) -> None:
        page = exchange.page([])
        page = _COUNT.sub(lambda found: b'"count":%d' % number(int(found[1])), page, count=1)
        await exchange.answer(200, page, _JSON)

    return Fault("counting", happen)


def meanwhile(act: Callable[[], object]) -> Fault:
    """The right page, and something happens to the account just after it was read."""

    async def happen(exchange: Exchange) -> None:
        page = exchange.page([])
        act()
        await exchange.answer(200, page, _JSON)

    return Fault("meanwhile", happen)


def same(events: Sequence[bytes], counts: Counts) -> Fault:
    """The same events on every page of every listing, for ever.

    Args:
        events: Their JSON.
        counts: The `count` beside them.
    """
    requests = count()

    async def happen(exchange: Exchange) -> None:
        await exchange.answer(200, listing(_head(counts, next(requests)), events), _JSON)

    return Fault("same", happen)


def made_up(counts: Counts, *, apart: int = 1, size: int | None = None, message: str = "") -> Fault:
    """New events on every page of every listing, created within its range, for ever.

    Args:
        counts: The `count` beside them.
        apart: Microseconds between one event and the next; 0 for all at the same time.
        size: Events of a page; as many as were asked for by default.
        message: Of each event.
    """
    requests = count()

    async def happen(exchange: Exchange) -> None:
        query = exchange.query
        assert query is not None
        many = size or query.per_page or 10
        first = (query.page - 1) * many
        low, high = query.since or 0, (query.until or 2**52) - 1
        events = []
        for rank in range(first, first + many):
            shift = rank * apart
            at = min(low + shift, high) if query.sort == "asc" else max(high - shift, low)
            events.append(_event(EPOCH + timedelta(microseconds=at), message))
        await exchange.answer(200, listing(_head(counts, next(requests)), events), _JSON)

    return Fault("made up", happen)


def _head(counts: Counts, request: int) -> list[bytes]:
    said = counts(request) if callable(counts) else counts
    head = [b"{"] if said is None else [b'{"count":%d,' % said]
    return [*head, b'"pagination":{"next":"http://127.0.0.1:9/v1/events?page=2"},']


def _event(created_at: datetime, message: str) -> bytes:
    event = {
        "id": secrets.token_hex(16),
        "created_at": created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": "made_up",
        "critical": False,
        "message": message,
    }
    return json.dumps(event).encode()
