"""One listing, read from its first page to its last, and whether that was all there is."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from tasks.halo.page_budget import SMALL
from tasks.halo.request_budget import MAX_PAGES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    from tasks.halo.client import HaloClient, Listing
    from tasks.halo.decode import Page
    from tasks.halo.page_budget import PageBudget
    from tasks.halo.request_budget import RequestBudget

PER_PAGE = 100
"""Events a page: what Halo's clients ask for."""
DEEPEST_PAGE = 50
"""Halo's clients stop at this page of one query."""


@dataclass
class PagedListing:
    """The pages of one listing.

    Attributes:
        listing: What was asked for.
        pages: In order, from the first on.
        size: Events of a full page.
        depth: How many pages the listing has by its count, 0 where it has none.
        ended: Whether its last page was reached.
        changed: Whether the last page had other events when it was read a second time.
        repeats: Whether two full pages, one after the other, were the same.
    """

    listing: Listing
    pages: list[Page]
    size: int = PER_PAGE
    depth: int = 0
    ended: bool = False
    changed: bool = False
    repeats: bool = False

    @property
    def keys(self) -> list[str]:
        """The ids of what was listed, in order, with repetitions."""
        return [key for page in self.pages for key in page.keys]

    @property
    def counts(self) -> list[int]:
        """The counts that its pages gave: the first page, and those with events."""
        first = self.pages[0]
        counted = (page for page in self.pages if page.keys or page is first)
        return [page.count for page in counted if page.count is not None]

    @property
    def full(self) -> bool:
        """Whether its last page so far is full, so that there may be another one."""
        return len(self.pages[-1].keys) >= self.size > 0


class Paginator:
    """Reads the listings of one window.

    Args:
        client: Of the account.
        budget: Of the window.
        page_budget: For responses of the account.
        keep: Takes each page, but not a small first page that is only looked at.
        concurrency: Requests in flight at most.
        deep_listings: Taken by each listing of at least `concurrency` pages, so that few of them
            are read at the same time: each is then complete earlier, and staged while the next is
            read.
    """

    def __init__(  # noqa: PLR0917 - what the paginators of an account share
        self,
        client: HaloClient,
        budget: RequestBudget,
        page_budget: PageBudget,
        keep: Callable[[Page], Awaitable[None]],
        concurrency: int,
        deep_listings: asyncio.Semaphore,
    ) -> None:
        self._client = client
        self._budget = budget
        self._page_budget = page_budget
        self._keep = keep
        self._concurrency = concurrency
        self._deep_listings = deep_listings
        self._largest = 0

    async def first_page(self, listing: Listing) -> Page:
        """Look at the first page alone; a large one is kept all the same.

        Raises:
            HaloError: As every method here does; see `HaloClient.page` and `RequestBudget`.
        """
        return await self._page(listing, 1, PER_PAGE, look_only=True)

    async def read(
        self, listing: Listing, *, one_by_one: bool = False, max_depth: float = DEEPEST_PAGE
    ) -> PagedListing:
        """Read a listing, up to the page limit.

        Args:
            listing: What to read.
            one_by_one: Whether to read one page after another. An event that is inserted then
                makes others appear twice, and none is missed.
            max_depth: A listing that has more pages, by its count, is left after the first.
        """
        first = await self.first_page(listing)
        paged = PagedListing(listing, [first])
        if first.count is None:
            paged.size = min(len(first.keys), PER_PAGE)
            await self._keep_small(first)
            return await self._without_count(paged)
        # fewer than asked for, and there are more: the API silently caps a page
        if 0 < len(first.keys) < min(PER_PAGE, first.count):
            paged.size = len(first.keys)
        paged.depth = math.ceil(first.count / paged.size)
        if paged.depth > MAX_PAGES:
            return await self._implausible_count(paged)
        if paged.depth > DEEPEST_PAGE and paged.size < PER_PAGE:
            second = await self._page(listing, 2, paged.size)
            if not second.keys:
                # the page is not full and none follows: the count does not count these events
                await self._keep_small(first)
                return replace(paged, pages=[first, second], ended=True)
        if paged.depth > max_depth:
            return paged
        await self._keep_small(first)
        numbers = range(2, min(paged.depth, DEEPEST_PAGE) + 1)
        if one_by_one or len(numbers) < self._concurrency:
            paged.pages += await self._pages(paged, numbers, 1 if one_by_one else len(numbers))
        else:
            async with self._deep_listings:
                paged.pages += await self._pages(paged, numbers, self._concurrency)
        return await self._to_last_page(paged)

    async def _to_last_page(self, paged: PagedListing) -> PagedListing:
        """Read on where the last page by the count is full: events may have been added."""
        counted = len(paged.pages)
        await self._read_on(paged)
        if len(paged.pages) > counted and len({*paged.keys}) > max(paged.counts):
            # more events than the count says: it does not count these events
            return await self._without_count(PagedListing(paged.listing, paged.pages, paged.size))
        paged.ended = True
        if paged.full and len(paged.pages) >= DEEPEST_PAGE:
            paged.depth = math.ceil(paged.counts[-1] / paged.size)
            paged.ended = paged.depth <= DEEPEST_PAGE
        return paged

    async def _implausible_count(self, paged: PagedListing) -> PagedListing:
        """Read a listing whose count is implausible, as long as its pages are full."""
        await self._keep_small(paged.pages[0])
        await self._read_on(paged)
        if paged.full and not paged.repeats:
            self._budget.give_up(f"{len(paged.pages)} pages are full")
        paged.ended = True
        return paged

    async def _without_count(self, paged: PagedListing) -> PagedListing:
        """Read page after page until one is empty, and the last page with events a second time."""
        for page in paged.pages:
            page.count = None
        await self._read_on(paged, until_empty=True)
        if paged.repeats:
            paged.ended = True
        elif not paged.pages[-1].keys:
            paged.ended = True
            paged.pages = paged.pages[:-1] or paged.pages
            if paged.pages[-1].keys:
                again = await self._page(paged.listing, len(paged.pages), paged.size)
                paged.changed = again.keys != paged.pages[-1].keys
        return paged

    async def _read_on(self, paged: PagedListing, *, until_empty: bool = False) -> None:
        """Read page after page until one is not full, or repeats the one before it."""
        pages = paged.pages
        while (pages[-1].keys if until_empty else paged.full) and len(pages) < DEEPEST_PAGE:
            pages.append(await self._page(paged.listing, len(pages) + 1, paged.size))
            paged.repeats = bool(pages[-1].keys) and pages[-1].keys == pages[-2].keys
            if paged.repeats:
                return

    async def _pages(
        self, paged: PagedListing, numbers: Sequence[int], concurrency: int
    ) -> list[Page]:
        """Read pages, some at a time, each kept as soon as it comes."""
        found: dict[int, Page] = {}
        waiting = iter(numbers)

        async def read() -> None:
            for number in waiting:
                found[number] = await self._page(paged.listing, number, paged.size)

        await _run_all([read() for _ in range(min(concurrency, len(numbers)))])
        return [found[number] for number in numbers]

    async def _page(
        self, listing: Listing, number: int, size: int, *, look_only: bool = False
    ) -> Page:
        """Ask for a page within the budgets, and keep it, unless it is small and only looked at."""
        self._budget.spend()
        async with self._page_budget.reserve(self._largest or self._page_budget.last):
            page = await self._client.page(listing, number, size)
            self._page_budget.last = page.size
            self._largest = max(self._largest, page.size)
            self._budget.add_page(page)
            if not look_only or page.size > SMALL:
                await self._keep(page)
        return page

    async def _keep_small(self, page: Page) -> None:
        """Keep a first page that is read after all, if it was small and so is not kept yet."""
        if page.size <= SMALL:
            await self._keep(page)


def why_incomplete(paged: PagedListing, previous: list[str], *, one_by_one: bool) -> str:
    """Why a paged listing may be incomplete; empty where it is complete.

    Args:
        paged: All pages of a listing.
        previous: The keys of the paged listing before it; empty for the first.
        one_by_one: Whether it was read one page after another, to its end. Events that were
            inserted moved others to later pages, where they were listed again: so all events are
            there that existed when it began. Events that expire are the oldest ones: they move
            others to earlier pages only where the oldest are listed first.
    """
    keys, counts = paged.keys, paged.counts
    unique = len(set(keys))
    most = max(counts, default=0)
    if paged.repeats and (not counts or unique < most):
        counted = f"counts {most:,} events" if counts else "gives no count"
        return f"the API lists the same page of events for ever, and {counted}"
    # the API lists the same every time: it repeats an event, or lists some that it does not count
    repeated = previous and keys == previous and (unique >= most or len(keys) == most)
    if repeated or (counts and min(counts) == most == unique):
        return ""
    if not counts:
        changed = paged.changed or unique < len(keys)
        return _changed_without_count(previous, keys) if changed else ""
    only_grew = all(one <= other for one, other in pairwise(counts))
    if one_by_one and (only_grew or paged.listing.order == "desc") and unique >= min(counts):
        return ""
    if unique < most:
        return f"the API counts {most:,} events and lists {unique:,}"
    return "it kept changing while it was read"


def _changed_without_count(previous: list[str], keys: list[str]) -> str:
    """Why a listing without a count that changed may be incomplete; see `why_incomplete`."""
    if not previous:
        return "it kept changing while it was read"
    if _reordered(previous, keys):
        return "the API lists it in another order every time, and gives no count"
    return ""


def _reordered(previous: list[str], keys: list[str]) -> bool:
    """Whether what two listings have in common changed places.

    An event that is inserted moves others to later pages: their last positions tell the order.
    """
    common = {*previous} & {*keys}
    first, second = (
        [key for key in dict.fromkeys(reversed(each)) if key in common] for each in (previous, keys)
    )
    return first != second


async def _run_all(coroutines: Iterable[Coroutine[None, None, None]]) -> None:
    """Run coroutines at the same time; the first that fails cancels the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
