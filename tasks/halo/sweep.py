"""One listing, read from its first page to its last, and whether that was all there is."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from tasks.halo.client import HaloClient, Listing
    from tasks.halo.decode import Page
    from tasks.halo.room import Lease

PER_PAGE = 100
"""Events a page: what Halo's clients ask for."""
DEEPEST_PAGE = 50
"""Halo's clients stop at this page of one query."""


@dataclass
class Sweep:
    """The pages of one listing.

    Attributes:
        listing: What was asked for.
        pages: In order, from the first on.
        depth: How many pages the listing has by its count, 0 where it has none.
        ended: Whether its last page was reached.
        moved: Whether a second look at the last page showed another one.
    """

    listing: Listing
    pages: list[Page]
    depth: int = 0
    ended: bool = False
    moved: bool = False

    @property
    def keys(self) -> list[str]:
        """What was listed, in order, and as often as it was."""
        return [key for page in self.pages for key in page.keys]

    @property
    def counts(self) -> list[int]:
        """What its pages said the listing has, of those that did."""
        return [page.count for page in self.pages if page.count is not None]


class Sweeper:
    """Reads listings.

    Args:
        client: Of the account.
    """

    def __init__(self, client: HaloClient) -> None:
        self._client = client

    async def first_page(self, listing: Listing) -> Page:
        """The first page alone."""
        return await self._client.page(listing, 1, PER_PAGE)

    async def sweep(
        self,
        listing: Listing,
        lease: Lease,
        *,
        one_by_one: bool = False,
        worth: float = DEEPEST_PAGE,
    ) -> Sweep:
        """Read a listing, up to the page limit.

        Args:
            listing: What to read.
            lease: Holds room for the pages.
            one_by_one: One page after another, so that what is inserted meanwhile is seen twice
                and nothing that was there is missed.
            worth: One that has more pages, by its count, is left after the first.
        """
        first = await self.first_page(listing)
        if first.count is None:
            size = min(len(first.keys), PER_PAGE)
            return await self._without_count(Sweep(listing, [first]), size, lease)
        size = len(first.keys)
        # fewer than asked for, and there are more: the API silently caps a page
        size = size if 0 < size < min(PER_PAGE, first.count) else PER_PAGE
        sweep = Sweep(listing, [first], depth=math.ceil(first.count / size))
        sweep.ended = sweep.depth <= DEEPEST_PAGE
        if not sweep.ended and len(first.keys) < PER_PAGE:
            second = await self._client.page(listing, 2, size)
            if not second.keys:
                # a page that is not full, and none after it: what it counts is something else
                return replace(sweep, pages=[first, second], ended=True)
        if sweep.depth > worth:
            return sweep
        depth = min(sweep.depth, DEEPEST_PAGE)
        await lease.hold(depth)
        rest = (self._client.page(listing, number, size) for number in range(2, depth + 1))
        if one_by_one:
            sweep.pages += [await page for page in rest]
        else:
            sweep.pages += await _together(rest)
        if sweep.ended and sweep.pages[-1].more and len(sweep.pages[-1].keys) >= size:
            # a full page, and another one after it: what it counts is something else
            return await self._without_count(Sweep(listing, sweep.pages), size, lease)
        return sweep

    async def _without_count(self, sweep: Sweep, size: int, lease: Lease) -> Sweep:
        """Page after page until one is empty, and a second look at the last that was not."""
        listing = sweep.listing
        for page in sweep.pages:
            page.count = None
        while sweep.pages[-1].keys and len(sweep.pages) < DEEPEST_PAGE:
            await lease.hold(len(sweep.pages) + 1)
            number = len(sweep.pages) + 1
            sweep.pages.append(await self._client.page(listing, number, size))
        if not sweep.pages[-1].keys:
            sweep.ended = True
            sweep.pages = sweep.pages[:-1] or sweep.pages
            if sweep.pages[-1].keys:
                again = await self._client.page(listing, len(sweep.pages), size)
                sweep.moved = again.keys != sweep.pages[-1].keys
                if sweep.moved:
                    sweep.pages.append(again)
        return sweep


def lacking(sweep: Sweep, before: list[str], *, last: bool) -> str:
    """What speaks against a sweep being complete; empty where nothing does.

    Args:
        sweep: All pages of a listing.
        before: The keys of the sweep before it.
        last: Whether it was read one page after another, and there will be no further one. What
            was inserted meanwhile moved others to later pages, where they were seen again: it
            holds all that was there when it began. The oldest events leave: they move others
            only where the oldest are listed first.
    """
    keys, counts = sweep.keys, sweep.counts
    unique = len(set(keys))
    most = max(counts, default=0)
    # the API lists so every time, be it that it lists an event twice or one that it counts not
    repeated = before and keys == before and (unique >= most or len(keys) == most)
    if repeated or (counts and min(counts) == most == unique):
        return ""
    if not counts:
        moved = sweep.moved or unique < len(keys)
        return _unsettled(before, keys, last=last) if moved else ""
    only_grew = all(one <= other for one, other in pairwise(counts))
    if last and (only_grew or sweep.listing.order == "desc") and unique >= min(counts):
        return ""
    if unique < most:
        return f"the API counts {most:,} events and lists {unique:,}"
    return "it kept changing while it was read"


def _unsettled(before: list[str], keys: list[str], *, last: bool) -> str:
    """What speaks against a sweep without a count that moved; see `lacking`."""
    if not last:
        return "it kept changing while it was read"
    if _reordered(before, keys):
        return "the API lists it in another order every time, and gives no count"
    return ""


def _reordered(before: list[str], keys: list[str]) -> bool:
    """Whether what two sweeps have in common changed places; what is inserted moves, in order."""
    common = {*before} & {*keys}
    first, second = (
        [key for key in dict.fromkeys(each) if key in common] for each in (before, keys)
    )
    return first != second


async def _together(coroutines: Iterable[Coroutine[None, None, Page]]) -> list[Page]:
    """What they return, in order; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
