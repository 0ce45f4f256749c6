"""What a client reads of a stand-in's one account."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tasks.halo.client import ApiKey, HaloClient, Listing
from tests.extract.harness import NOW, QUICK, START

if TYPE_CHECKING:
    from sandbox.halo_api import HaloStandIn
    from tasks.retry_policy import RetryPolicy

TOKEN = "/oauth/access_token"
ALL = Listing(START, NOW)


def client(halo: HaloStandIn, retry_policy: RetryPolicy = QUICK, **given: Any) -> HaloClient:
    """A client of the one account."""
    key_id, secret = halo["alpha"].key
    arguments: dict[str, Any] = {"clock": halo.clock.now, "retry_policy": retry_policy} | given
    url = arguments.pop("url", halo.url)
    return HaloClient(url, ApiKey(key_id, secret), **arguments)


def read(halo: HaloStandIn, pages: int = 3, **given: Any) -> list[str]:
    """The ids of pages, asked for at the same time."""

    async def run() -> list[str]:
        async with client(halo, **given) as api:
            found = await asyncio.gather(*(api.page(ALL, n + 1, 100) for n in range(pages)))
        return [key for page in found for key in page.keys]

    return asyncio.run(run())
