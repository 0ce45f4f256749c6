"""WindowReading one window of time completely, or saying what is missing of it.

What makes it hard, and has lost events in every known client (Halo API, "What makes paging
hard"): the depth of a listing is limited, events are inserted and leave while pages are read,
thousands may share one timestamp; and whether `until` is inclusive, whether there is a `count`,
and how many events a page may have, differs.

A window is read from its first page to its last. Then what came is compared with what the API
says there is, and the window is read again where something moved. One that is too deep is handed
back in parts; one that cannot be parted is read from both ends and through filters. The requests
for a window and its parts are bounded, and so is the text that is held of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from tasks.halo.client import Listing
from tasks.halo.fetched_events import FetchedEvents
from tasks.halo.overflow import OverflowReader
from tasks.halo.page_budget import PageBudget
from tasks.halo.paginator import DEEPEST_PAGE, PER_PAGE, Paginator, why_incomplete
from tasks.halo.request_budget import RequestBudget, RequestBudgetSpent
from tasks.halo.window_split import SUSPICIOUS, read_and_rest, split_window
from tasks.retry_policy import WINDOW_READS
from tasks.time_window import MICROSECOND, Window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tasks.halo.client import HaloClient, Order
    from tasks.halo.decode import Page
    from tasks.halo.paginator import PagedListing

MOST_HELD = 16 * 1024 * 1024
"""Bytes of answers of one window that are held before their events are staged."""
MOST_IN_FLIGHT = 128 * 1024 * 1024
"""Bytes of large answers of an account that may be on their way at the same time."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class WindowReading:
    """What became of a window.

    Attributes:
        window: What was read of it; None where it is all handed back.
        listed: The whole window, as it was asked for.
        budget: For what is still to be read.
        rest: What is still to be read, because it was too deep; sorted.
        fetched: The events, but for those that were handed over before.
        as_of: Nothing can be known of events created later than this.
        missing: Why what was read is not complete; empty where it is.
    """

    window: Window | None
    listed: Window
    budget: RequestBudget
    rest: list[Window] = field(default_factory=list)
    fetched: FetchedEvents = field(default_factory=FetchedEvents)
    as_of: datetime | None = None
    missing: str = ""


class WindowReader:
    """Reads windows of one account, any number at the same time, in bounded memory.

    Args:
        client: Of the account.
        leaving: Events created before this may leave the API while they are listed; they are
            listed newest first, so that nothing moves up to fill their place.
        concurrency: Requests in flight at most.
        hand_over: Takes what was listed of a window so far, where that is too much to be held
            until the window is read.
        types: Gives the event types that are known, for windows that cannot be parted.
    """

    def __init__(
        self,
        client: HaloClient,
        *,
        leaving: datetime,
        concurrency: int,
        hand_over: Callable[[WindowReading, FetchedEvents], Awaitable[None]],
        types: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._client = client
        self._leaving = leaving
        self._concurrency = concurrency
        self._hand_over = hand_over
        self._types = types
        self._page_budget = PageBudget(MOST_IN_FLIGHT)

    async def read(self, window: Window, budget: RequestBudget | None = None) -> WindowReading:
        """Read a window.

        Args:
            window: What to read.
            budget: That of the window that this is a part of, if it is one.

        Raises:
            HaloError: The API did not let it be read; see `HaloClient.page`.
        """
        budget = budget or RequestBudget()
        reading = WindowReading(window, window, budget)
        try:
            await self._read(reading)
        except RequestBudgetSpent as why:
            reading.window, reading.rest, reading.missing = window, [], str(why)
        if budget.doubted and reading.window and not reading.missing:
            budget.found(reading.fetched.count(reading.window))
        return reading

    async def _read(self, reading: WindowReading) -> None:
        window, keep = reading.listed, partial(self._keep, reading)
        paginator = Paginator(
            self._client, reading.budget, self._page_budget, keep, self._concurrency
        )
        order: Order = "desc" if window.since < self._leaving else "asc"
        listing = Listing(window.since, window.until, order)
        before: list[str] = []
        for attempt in range(WINDOW_READS):
            one_by_one = attempt > 0
            paged = await paginator.read(listing, one_by_one=one_by_one)
            if not paged.ended and paged.depth:
                await self._in_parts(reading, paged, paginator)
                return
            if not paged.ended:
                await self._without_count(reading, paged, paginator)
                return
            reading.missing = why_incomplete(paged, before, one_by_one=one_by_one)
            if not reading.missing:
                return
            before = paged.keys

    async def dropped(self, window: Window, fetched: FetchedEvents) -> Window | None:
        """What of a window Halo may have dropped before it was read, None where nothing.

        The oldest events are dropped first: it is what lies before the oldest that was listed,
        unless Halo has older ones.

        Raises:
            HaloError: The API did not let it be read; see `HaloClient.page`.
        """
        until = min(window.until, fetched.oldest() or window.until)
        if until <= window.since:
            return None
        listing = Listing(_LONG_AGO, until - MICROSECOND, "desc")
        older = await self._client.page(listing, 1, PER_PAGE)
        return None if older.keys else Window(window.since, until)

    async def _keep(self, reading: WindowReading, page: Page) -> None:
        """Add a page to what was read, and hand that over where it is too much."""
        reading.as_of = reading.as_of or page.as_of
        reading.fetched.add(page)
        if reading.fetched.size > MOST_HELD:
            taken = reading.fetched.take()
            await self._hand_over(reading, taken)
            taken.empty()

    async def _in_parts(
        self, reading: WindowReading, paged: PagedListing, paginator: Paginator
    ) -> None:
        """Hand a window back in parts, or read it where it has none."""
        listing, far = paged.listing, None
        budget = reading.budget.part(paged.counts[-1], paged.size)
        if listing.until - listing.since <= SUSPICIOUS:
            other: Order = "desc" if listing.order == "asc" else "asc"
            far = await paginator.first_page(listing._replace(order=other))
        depth = DEEPEST_PAGE if budget.doubted else paged.depth
        reading.rest = split_window(listing, depth, paged.pages[0], far)
        if reading.rest:
            reading.window, reading.budget = None, budget
        else:
            reading.missing = await self._overflow(reading, listing, paginator)

    async def _without_count(
        self, reading: WindowReading, paged: PagedListing, paginator: Paginator
    ) -> None:
        """Keep what pages without a count show whole, and hand the rest back."""
        listing = paged.listing
        reading.window, reading.rest = read_and_rest(listing, paged.pages)
        if reading.window and reading.rest and len(set(paged.keys)) < len(paged.keys):
            # something moved: what is not too deep by itself is read until it is settled
            reading.rest = sorted([*reading.rest, reading.window])
            reading.window = None
            return
        if reading.window is None and not reading.rest:
            reading.window = Window(listing.since, listing.until)
            reading.missing = "it is too deep, and the API gives neither a count nor an order"
        elif reading.window is None:
            edge = reading.rest.pop(0 if listing.order == "asc" else -1)
            reading.window = edge
            alone = Listing(edge.since, edge.until, listing.order)
            reading.missing = await self._overflow(reading, alone, paginator)

    async def _overflow(
        self, reading: WindowReading, listing: Listing, paginator: Paginator
    ) -> str:
        def types() -> set[str]:
            return {*self._types(), *reading.fetched.types()}

        return await OverflowReader(paginator, types).read(listing)
