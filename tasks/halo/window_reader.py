"""Reads one window of time completely, or says what is missing of it.

Several things make this hard, and have lost events in every known client (Halo API, "What makes
paging hard"): the depth of a listing is limited; events are inserted and expire while pages are
read; thousands of events may share one timestamp; and APIs differ in whether `until` is
inclusive, whether there is a `count`, and how many events a page may have.

A window is read from its first page to its last. Then the events are compared with the API's
count, and the window is read again where something changed. A window that is too deep is split
into smaller ones. A window that cannot be split is read in both orders and through filters. The
requests for a window and what it is split into are bounded, and so is the text held in memory.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from tasks.halo.client import Listing
from tasks.halo.fetched_events import FetchedEvents
from tasks.halo.overflow import OverflowReader
from tasks.halo.page_budget import PageBudget
from tasks.halo.paginator import DEEPEST_PAGE, PER_PAGE, Paginator, why_incomplete
from tasks.halo.request_budget import RequestBudget, RequestBudgetExceeded
from tasks.halo.window_split import BURST, split_window, split_without_count
from tasks.retry_policy import WINDOW_READS
from tasks.time_window import MICROSECOND, Window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tasks.halo.client import HaloClient, Order
    from tasks.halo.decode import Page
    from tasks.halo.paginator import PagedListing

MAX_HELD = 16 * 1024 * 1024
"""Bytes of responses of one window that are held before their events are staged."""
MAX_IN_FLIGHT = 128 * 1024 * 1024
"""Bytes of large responses of an account that may be requested at the same time."""
_DEEP_LISTINGS = 6
"""Listings of many pages that are read at a time. With two, requests are not always in flight: as
one ends, too few pages of the other are left."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class WindowResult:
    """What was read of a window, and what remains to be read.

    Attributes:
        window: The part that was read; None where the whole window remains.
        listed: The whole window, as the API was asked for it.
        budget: What limits the requests for what remains.
        remaining: The windows that it was split into because it was too deep; sorted.
        fetched: The events, without those that were handed over before.
        as_of: No events created after this time can be known; None where no page was read.
        missing: Why what was read is not complete; empty where it is complete.
    """

    window: Window | None
    listed: Window
    budget: RequestBudget
    remaining: list[Window] = field(default_factory=list)
    fetched: FetchedEvents = field(default_factory=FetchedEvents)
    as_of: datetime | None = None
    missing: str = ""


class WindowReader:
    """Reads windows of one account, any number at the same time, in bounded memory.

    Args:
        client: Of the account.
        expiring: Halo may drop events created before this time while they are listed. They are
            listed newest first, so that no other event moves to an earlier page.
        concurrency: Requests in flight at most.
        hand_over: Takes the events listed so far where they are too many to be held until the
            whole window is read.
        types: Gives the known event types, as filters for windows that cannot be split.
    """

    def __init__(
        self,
        client: HaloClient,
        *,
        expiring: datetime,
        concurrency: int,
        hand_over: Callable[[WindowResult, FetchedEvents], Awaitable[None]],
        types: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._client = client
        self._expiring = expiring
        self._concurrency = concurrency
        self._hand_over = hand_over
        self._types = types
        self._page_budget = PageBudget(MAX_IN_FLIGHT)
        self._deep_listings = asyncio.Semaphore(_DEEP_LISTINGS)

    async def read(self, window: Window, budget: RequestBudget | None = None) -> WindowResult:
        """Read a window.

        Args:
            window: What to read.
            budget: That of the window that this one was split off, if it was.

        Raises:
            HaloError: The API did not let it be read; see `HaloClient.page`.
        """
        budget = budget or RequestBudget()
        result = WindowResult(window, window, budget)
        try:
            await self._read(result)
        except RequestBudgetExceeded as why:
            result.window, result.remaining, result.missing = window, [], str(why)
        if budget.inconsistent and result.window and not result.missing:
            budget.add_found(result.fetched.count(result.window))
        return result

    async def _read(self, result: WindowResult) -> None:
        window, keep = result.listed, partial(self._keep, result)
        paginator = Paginator(
            self._client,
            result.budget,
            self._page_budget,
            keep,
            self._concurrency,
            self._deep_listings,
        )
        order: Order = "desc" if window.since < self._expiring else "asc"
        listing = Listing(window.since, window.until, order)
        previous: list[str] = []
        for attempt in range(WINDOW_READS):
            one_by_one = attempt > 0
            paged = await paginator.read(listing, one_by_one=one_by_one)
            if not paged.ended and paged.depth:
                await self._split(result, paged, paginator)
                return
            if not paged.ended:
                await self._without_count(result, paged, paginator)
                return
            result.missing = why_incomplete(paged, previous, one_by_one=one_by_one)
            if not result.missing:
                return
            previous = paged.keys

    async def find_expired(self, window: Window, fetched: FetchedEvents) -> Window | None:
        """The part of a window that Halo may have dropped before it was read; None where none.

        Halo drops the oldest events first: this is the part before the oldest event that was
        listed, unless Halo still has older events.

        Raises:
            HaloError: The API did not let it be read; see `HaloClient.page`.
        """
        until = min(window.until, fetched.oldest() or window.until)
        if until <= window.since:
            return None
        listing = Listing(_LONG_AGO, until - MICROSECOND, "desc")
        older = await self._client.page(listing, 1, PER_PAGE)
        return None if older.keys else Window(window.since, until)

    async def _keep(self, result: WindowResult, page: Page) -> None:
        """Add a page to what was read, and hand all of it over where it is too much to be held."""
        result.as_of = result.as_of or page.as_of
        result.fetched.add(page)
        if result.fetched.size > MAX_HELD:
            taken = result.fetched.take()
            await self._hand_over(result, taken)
            taken.release()

    async def _split(self, result: WindowResult, paged: PagedListing, paginator: Paginator) -> None:
        """Split a window, or read it in other ways where it cannot be split."""
        listing, opposite = paged.listing, None
        budget = result.budget.split(paged.counts[-1], paged.size)
        if listing.until - listing.since <= BURST:
            other: Order = "desc" if listing.order == "asc" else "asc"
            opposite = await paginator.first_page(listing._replace(order=other))
        depth = DEEPEST_PAGE if budget.inconsistent else paged.depth
        result.remaining = split_window(listing, depth, paged.pages[0], opposite)
        if result.remaining:
            result.window, result.budget = None, budget
        else:
            result.missing = await self._overflow(result, listing, paginator)

    async def _without_count(
        self, result: WindowResult, paged: PagedListing, paginator: Paginator
    ) -> None:
        """Keep the part that pages without a count show completely; the rest remains."""
        listing = paged.listing
        result.window, result.remaining = split_without_count(listing, paged.pages)
        if result.window and result.remaining and len(set(paged.keys)) < len(paged.keys):
            # something changed: the part that is not too deep is read until it no longer does
            result.remaining = sorted([*result.remaining, result.window])
            result.window = None
            return
        if result.window is None and not result.remaining:
            result.window = Window(listing.since, listing.until)
            result.missing = "it is too deep, and the API gives neither a count nor an order"
        elif result.window is None:
            deepest = result.remaining.pop(0 if listing.order == "asc" else -1)
            result.window = deepest
            burst = Listing(deepest.since, deepest.until, listing.order)
            result.missing = await self._overflow(result, burst, paginator)

    async def _overflow(self, result: WindowResult, listing: Listing, paginator: Paginator) -> str:
        def types() -> set[str]:
            return {*self._types(), *result.fetched.types()}

        return await OverflowReader(paginator, types).read(listing)
