"""One listing, read from its first page to its last, and whether that was all there is."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from tasks.halo.budget import MOST_PAGES
from tasks.halo.room import SMALL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    from tasks.halo.budget import Budget
    from tasks.halo.client import HaloClient, Listing
    from tasks.halo.decode import Page
    from tasks.halo.room import Room

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
        size: Events of a full page.
        depth: How many pages the listing has by its count, 0 where it has none.
        ended: Whether its last page was reached.
        moved: Whether a second look at the last page showed another one.
        repeats: Whether two full pages, one after the other, were the same.
    """

    listing: Listing
    pages: list[Page]
    size: int = PER_PAGE
    depth: int = 0
    ended: bool = False
    moved: bool = False
    repeats: bool = False

    @property
    def keys(self) -> list[str]:
        """What was listed, in order, and as often as it was."""
        return [key for page in self.pages for key in page.keys]

    @property
    def counts(self) -> list[int]:
        """What its pages said the listing has, of those that did; the first one, or with events."""
        first = self.pages[0]
        told = (page for page in self.pages if page.keys or page is first)
        return [page.count for page in told if page.count is not None]

    @property
    def full(self) -> bool:
        """Whether its last page so far is full, so that there may be another one."""
        return len(self.pages[-1].keys) >= self.size > 0


class Sweeper:
    """Reads the listings of one window.

    Args:
        client: Of the account.
        budget: Of the window.
        room: For answers of the account.
        keep: Takes each page that is read, but those that are only looked at.
        concurrency: Requests in flight at most.
    """

    def __init__(
        self,
        client: HaloClient,
        budget: Budget,
        room: Room,
        keep: Callable[[Page], Awaitable[None]],
        concurrency: int,
    ) -> None:
        self._client = client
        self._budget = budget
        self._room = room
        self._keep = keep
        self._concurrency = concurrency
        self._largest = 0

    async def first_page(self, listing: Listing) -> Page:
        """Look at the first page alone; a large one is kept all the same.

        Raises:
            HaloError: As every method here does; see `HaloClient.page` and `Budget`.
        """
        return await self._page(listing, 1, PER_PAGE, look=True)

    async def sweep(
        self, listing: Listing, *, one_by_one: bool = False, worth: float = DEEPEST_PAGE
    ) -> Sweep:
        """Read a listing, up to the page limit.

        Args:
            listing: What to read.
            one_by_one: One page after another, so that what is inserted meanwhile is seen twice
                and nothing that was there is missed.
            worth: One that has more pages, by its count, is left after the first.
        """
        first = await self.first_page(listing)
        sweep = Sweep(listing, [first])
        if first.count is None:
            sweep.size = min(len(first.keys), PER_PAGE)
            await self._keep_small(first)
            return await self._without_count(sweep)
        # fewer than asked for, and there are more: the API silently caps a page
        if 0 < len(first.keys) < min(PER_PAGE, first.count):
            sweep.size = len(first.keys)
        sweep.depth = math.ceil(first.count / sweep.size)
        if sweep.depth > MOST_PAGES:
            return await self._unbelievable(sweep)
        if sweep.depth > DEEPEST_PAGE and sweep.size < PER_PAGE:
            second = await self._page(listing, 2, sweep.size)
            if not second.keys:
                # a page that is not full, and none after it: what it counts is something else
                await self._keep_small(first)
                return replace(sweep, pages=[first, second], ended=True)
        if sweep.depth > worth:
            return sweep
        await self._keep_small(first)
        numbers = range(2, min(sweep.depth, DEEPEST_PAGE) + 1)
        sweep.pages += await self._pages(sweep, numbers, 1 if one_by_one else self._concurrency)
        return await self._to_the_end(sweep)

    async def _to_the_end(self, sweep: Sweep) -> Sweep:
        """Read on where the last page that was counted is full: more may have come meanwhile."""
        counted = len(sweep.pages)
        await self._read_on(sweep)
        if len(sweep.pages) > counted and len({*sweep.keys}) > max(sweep.counts):
            # more than there are: what it counts is something else
            return await self._without_count(Sweep(sweep.listing, sweep.pages, sweep.size))
        sweep.ended = True
        if sweep.full and len(sweep.pages) >= DEEPEST_PAGE:
            sweep.depth = math.ceil(sweep.counts[-1] / sweep.size)
            sweep.ended = sweep.depth <= DEEPEST_PAGE
        return sweep

    async def _unbelievable(self, sweep: Sweep) -> Sweep:
        """Read a listing whose count is not to be believed, as long as its pages are full."""
        await self._keep_small(sweep.pages[0])
        await self._read_on(sweep)
        if sweep.full and not sweep.repeats:
            self._budget.refuse(f"{len(sweep.pages)} pages are full")
        sweep.ended = True
        return sweep

    async def _without_count(self, sweep: Sweep) -> Sweep:
        """Page after page until one is empty, and a second look at the last that was not."""
        for page in sweep.pages:
            page.count = None
        await self._read_on(sweep, until_empty=True)
        if sweep.repeats:
            sweep.ended = True
        elif not sweep.pages[-1].keys:
            sweep.ended = True
            sweep.pages = sweep.pages[:-1] or sweep.pages
            if sweep.pages[-1].keys:
                again = await self._page(sweep.listing, len(sweep.pages), sweep.size)
                sweep.moved = again.keys != sweep.pages[-1].keys
        return sweep

    async def _read_on(self, sweep: Sweep, *, until_empty: bool = False) -> None:
        """Read page after page until one is not full, or repeats the one before it."""
        pages = sweep.pages
        while (pages[-1].keys if until_empty else sweep.full) and len(pages) < DEEPEST_PAGE:
            pages.append(await self._page(sweep.listing, len(pages) + 1, sweep.size))
            sweep.repeats = bool(pages[-1].keys) and pages[-1].keys == pages[-2].keys
            if sweep.repeats:
                return

    async def _pages(self, sweep: Sweep, numbers: Sequence[int], at_a_time: int) -> list[Page]:
        """Read pages, some at a time, each kept as soon as it comes."""
        found: dict[int, Page] = {}
        waiting = iter(numbers)

        async def read() -> None:
            for number in waiting:
                found[number] = await self._page(sweep.listing, number, sweep.size)

        await _together([read() for _ in range(min(at_a_time, len(numbers)))])
        return [found[number] for number in numbers]

    async def _page(self, listing: Listing, number: int, size: int, *, look: bool = False) -> Page:
        """Ask for a page and keep it, while there is room for it; not a small one to look at."""
        self._budget.spend()
        async with self._room.hold(self._largest or self._room.last):
            page = await self._client.page(listing, number, size)
            self._room.last = page.size
            self._largest = max(self._largest, page.size)
            self._budget.answered(page)
            if not look or page.size > SMALL:
                await self._keep(page)
        return page

    async def _keep_small(self, page: Page) -> None:
        """Keep a first page that belongs to what is read, if it is not kept yet."""
        if page.size <= SMALL:
            await self._keep(page)


def lacking(sweep: Sweep, before: list[str], *, one_by_one: bool) -> str:
    """What speaks against a sweep being complete; empty where nothing does.

    Args:
        sweep: All pages of a listing.
        before: The keys of the sweep before it.
        one_by_one: Whether it was read one page after another, to its end. What was inserted
            meanwhile moved others to later pages, where they were seen again: it holds all that
            was there when it began. The oldest events leave: they move others only where the
            oldest are listed first.
    """
    keys, counts = sweep.keys, sweep.counts
    unique = len(set(keys))
    most = max(counts, default=0)
    if sweep.repeats and (not counts or unique < most):
        counted = f"counts {most:,} events" if counts else "gives no count"
        return f"the API lists the same page of events for ever, and {counted}"
    # the API lists so every time, be it that it lists an event twice or one that it counts not
    repeated = before and keys == before and (unique >= most or len(keys) == most)
    if repeated or (counts and min(counts) == most == unique):
        return ""
    if not counts:
        moved = sweep.moved or unique < len(keys)
        return _unsettled(before, keys) if moved else ""
    only_grew = all(one <= other for one, other in pairwise(counts))
    if one_by_one and (only_grew or sweep.listing.order == "desc") and unique >= min(counts):
        return ""
    if unique < most:
        return f"the API counts {most:,} events and lists {unique:,}"
    return "it kept changing while it was read"


def _unsettled(before: list[str], keys: list[str]) -> str:
    """What speaks against a sweep without a count that moved; see `lacking`."""
    if not before:
        return "it kept changing while it was read"
    if _reordered(before, keys):
        return "the API lists it in another order every time, and gives no count"
    return ""


def _reordered(before: list[str], keys: list[str]) -> bool:
    """Whether what two sweeps have in common changed places.

    What is inserted moves others to later pages: where they were seen last tells their order.
    """
    common = {*before} & {*keys}
    first, second = (
        [key for key in dict.fromkeys(reversed(each)) if key in common] for each in (before, keys)
    )
    return first != second


async def _together(coroutines: Iterable[Coroutine[None, None, None]]) -> None:
    """Run them at the same time; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
