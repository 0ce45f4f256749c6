"""Windows that cannot be split: more events at one time than a listing's pages can show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tasks.halo.paginator import DEEPEST_PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from tasks.halo.client import Listing
    from tasks.halo.paginator import Paginator

_GROWTH = 1.5
"""How many times as many events there may be after a window was read: others were added."""


class OverflowReader:
    """Reads a listing that is too deep and whose window cannot be split.

    It is read in both orders first, then with the filters `critical` and `type`.

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
        complete = await self._read_both_orders(listing) or await self._read_by_critical(listing)
        if not complete:
            types = tuple(sorted(self._types()))
            complete = await self._read_by_type(listing._replace(types=types))
        count = (await self._paginator.first_page(listing)).count
        if count is None:
            return "" if complete else "it is too deep to be read whole, and the API counts none"
        if len(self._keys) >= count:
            return ""
        return (
            f"{count - len(self._keys):,} of {count:,} events created at the same time are out of "
            "reach of every listing and filter"
        )

    async def _read_by_critical(self, listing: Listing) -> bool:
        """Read critical events, then the others. Returns whether these were all events."""
        halves = [listing._replace(critical=critical) for critical in (True, False)]
        if not await self._filters_apply(halves, listing):
            return False
        return all([await self._read_both_orders(half) for half in halves])

    async def _read_by_type(self, listing: Listing) -> bool:
        """Read the types of a listing together, or in halves where they are too deep."""
        alone = len(listing.types) == 1
        if await self._read_both_orders(listing, skip_too_deep=not alone):
            return True
        if alone:
            return await self._read_by_critical(listing)
        middle = len(listing.types) // 2
        types = (listing.types[:middle], listing.types[middle:])
        halves = [listing._replace(types=half) for half in types]
        if not await self._filters_apply(halves, listing):
            return False
        return all([await self._read_by_type(half) for half in halves])

    async def _filters_apply(self, halves: Sequence[Listing], listing: Listing) -> bool:
        """Whether the filters narrow the listing: the halves count no more than the whole.

        They count more where the API ignores filters, or its counts are false: such listings would
        show nothing new.
        """
        first_pages = [await self._paginator.first_page(each) for each in (*halves, listing)]
        *parts, whole = (page.count for page in first_pages)
        return whole is None or sum(part or 0 for part in parts) <= _GROWTH * whole

    async def _read_both_orders(self, listing: Listing, *, skip_too_deep: bool = False) -> bool:
        """Read up to the page limit in both orders; whether these were all events.

        Args:
            listing: What to read.
            skip_too_deep: Whether to leave out a listing that is too deep even for both orders.
        """
        keys: set[str] = set()
        max_depth = 2 * DEEPEST_PAGE if skip_too_deep else math.inf
        for order in ("asc", "desc"):
            paged = await self._paginator.read(listing._replace(order=order), max_depth=max_depth)
            if paged.depth > max_depth:
                return False
            overlap = not keys.isdisjoint(paged.keys)
            keys.update(paged.keys)
            self._keys.update(paged.keys)
            counted = len(keys) >= paged.counts[-1] if paged.counts else overlap
            if paged.ended or counted:
                return True
        return False
