"""Windows that cannot be parted: more events at one time than a listing's pages can show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tasks.halo.paginator import DEEPEST_PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from tasks.halo.client import Listing
    from tasks.halo.paginator import Paginator

_GROWTH = 1.5
"""What may be inserted while a window is read: half as many as there were."""


class OverflowReader:
    """Reads a listing that is too deep and cannot be parted in time.

    From both its ends first, then through the filters `critical` and `type`.

    Args:
        paginator: Reads the listings, and keeps their events.
        types: Gives the event types that are known or were seen.
    """

    def __init__(self, paginator: Paginator, types: Callable[[], Collection[str]]) -> None:
        self._paginator = paginator
        self._types = types
        self._keys: set[str] = set()

    async def read(self, listing: Listing) -> str:
        """Read the listing, and say what is missing; nothing where it is complete.

        Raises:
            HaloError: The API did not let it be read; see `HaloClient.page` and `RequestBudget`.
        """
        complete = await self._both_ends(listing) or await self._by_severity(listing)
        if not complete:
            types = tuple(sorted(self._types()))
            complete = await self._by_type(listing._replace(types=types))
        count = (await self._paginator.first_page(listing)).count
        if count is None:
            return "" if complete else "it is too deep to be read whole, and the API counts none"
        if len(self._keys) >= count:
            return ""
        return (
            f"{count - len(self._keys):,} of {count:,} events created at the same time are out of "
            "reach of every listing and filter"
        )

    async def _by_severity(self, listing: Listing) -> bool:
        """Read what is critical and what is not; whether that was all."""
        halves = [listing._replace(critical=critical) for critical in (True, False)]
        if not await self._are_parts(halves, listing):
            return False
        return all([await self._both_ends(half) for half in halves])

    async def _by_type(self, listing: Listing) -> bool:
        """Read the types of a listing, all of them together, or in halves where too deep."""
        alone = len(listing.types) == 1
        if await self._both_ends(listing, hopeless=not alone):
            return True
        if alone:
            return await self._by_severity(listing)
        middle = len(listing.types) // 2
        types = (listing.types[:middle], listing.types[middle:])
        halves = [listing._replace(types=half) for half in types]
        if not await self._are_parts(halves, listing):
            return False
        return all([await self._by_type(half) for half in halves])

    async def _are_parts(self, halves: Sequence[Listing], listing: Listing) -> bool:
        """Whether the halves hold no more than the whole, by their counts.

        They do where the API does not filter, or its counts are false: then they show nothing new.
        """
        looks = [await self._paginator.first_page(each) for each in (*halves, listing)]
        *parts, whole = (page.count for page in looks)
        return whole is None or sum(part or 0 for part in parts) <= _GROWTH * whole

    async def _both_ends(self, listing: Listing, *, hopeless: bool = False) -> bool:
        """Read up to the page limit in one order and the other; whether that was all.

        Args:
            listing: What to read.
            hopeless: Whether to leave alone what is too deep even for both together.
        """
        keys: set[str] = set()
        worth = 2 * DEEPEST_PAGE if hopeless else math.inf
        for order in ("asc", "desc"):
            paged = await self._paginator.read(listing._replace(order=order), worth=worth)
            if paged.depth > worth:
                return False
            met = not keys.isdisjoint(paged.keys)
            keys.update(paged.keys)
            self._keys.update(paged.keys)
            counted = len(keys) >= paged.counts[-1] if paged.counts else met
            if paged.ended or counted:
                return True
        return False
