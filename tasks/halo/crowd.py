"""Windows that cannot be parted: more events at one time than a listing's pages can show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tasks.halo.sweep import DEEPEST_PAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.halo.client import Listing
    from tasks.halo.haul import Haul
    from tasks.halo.room import Lease
    from tasks.halo.sweep import Sweeper


class Crowd:
    """Reads a listing that is too deep and cannot be parted in time.

    From both its ends first, then through the filters `critical` and `type`.

    Args:
        sweeper: Reads the listings.
        types: The event types that are known.
        haul: Takes the events.
        lease: Holds the room for them.
    """

    def __init__(self, sweeper: Sweeper, types: Sequence[str], haul: Haul, lease: Lease) -> None:
        self._sweeper = sweeper
        self._types = types
        self._haul = haul
        self._lease = lease
        self._keys: set[str] = set()

    async def read(self, listing: Listing) -> str:
        """Read the listing, and say what is missing; nothing where it is complete."""
        await self._lease.hold(2 * DEEPEST_PAGE)
        if await self._both_ends(listing):
            return ""
        halves = [
            await self._both_ends(listing._replace(critical=critical)) for critical in (True, False)
        ]
        if not all(halves):
            types = sorted({*self._types, *self._haul.types()})
            halves = [await self._by_type(listing._replace(types=tuple(types)))]
        count = (await self._sweeper.first_page(listing)).count
        if count is None:
            return "" if all(halves) else "it is too deep to be read whole, and the API counts none"
        if len(self._keys) >= count:
            return ""
        return (
            f"{count - len(self._keys):,} of {count:,} events created at the same time are out of "
            "reach of every listing and filter"
        )

    async def _by_type(self, listing: Listing) -> bool:
        """Read the types of a listing, all of them together, or in halves where too deep."""
        alone = len(listing.types) == 1
        if await self._both_ends(listing, hopeless=not alone):
            return True
        if alone:
            parts = [listing._replace(critical=critical) for critical in (True, False)]
            return all([await self._both_ends(part) for part in parts])
        middle = len(listing.types) // 2
        halves = (listing.types[:middle], listing.types[middle:])
        return all([await self._by_type(listing._replace(types=half)) for half in halves])

    async def _both_ends(self, listing: Listing, *, hopeless: bool = False) -> bool:
        """Read up to the page limit in one order and the other; whether that was all.

        Args:
            listing: What to read.
            hopeless: Whether to leave alone what is too deep even for both together.
        """
        keys: set[str] = set()
        worth = 2 * DEEPEST_PAGE if hopeless else math.inf
        for order in ("asc", "desc"):
            sweep = await self._sweeper.sweep(
                listing._replace(order=order), self._lease, worth=worth
            )
            for page in sweep.pages:
                self._haul.add(page)
            met = not keys.isdisjoint(sweep.keys)
            keys.update(sweep.keys)
            self._keys.update(sweep.keys)
            if sweep.depth > worth:
                return False
            counted = len(keys) >= sweep.counts[-1] if sweep.counts else met
            if sweep.ended or counted:
                return True
        return False
