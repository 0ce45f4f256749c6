"""Reading one window of time completely, or saying what is missing of it.

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

from tasks.halo.budget import Budget, OverBudget
from tasks.halo.client import Listing
from tasks.halo.crowd import Crowd
from tasks.halo.haul import Haul
from tasks.halo.parts import SUSPICIOUS, parts, read_and_rest
from tasks.halo.room import Room
from tasks.halo.sweep import DEEPEST_PAGE, PER_PAGE, Sweeper, lacking
from tasks.windows import MICROSECOND, Window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tasks.halo.client import HaloClient, Order
    from tasks.halo.decode import Page
    from tasks.halo.sweep import Sweep

READINGS = 4
"""How often a window that moves is read; after the first time page after page."""
MOST_HELD = 16 * 1024 * 1024
"""Bytes of answers of one window that are held before their events are staged."""
MOST_IN_FLIGHT = 128 * 1024 * 1024
"""Bytes of large answers of an account that may be on their way at the same time."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Reading:
    """What became of a window.

    Attributes:
        window: What was read of it; None where it is all handed back.
        listed: The whole window, as it was asked for.
        budget: For what is still to be read.
        rest: What is still to be read, because it was too deep; sorted.
        haul: The events, but for those that were handed over before.
        as_of: Nothing can be known of events created later than this.
        missing: Why what was read is not complete; empty where it is.
    """

    window: Window | None
    listed: Window
    budget: Budget
    rest: list[Window] = field(default_factory=list)
    haul: Haul = field(default_factory=Haul)
    as_of: datetime | None = None
    missing: str = ""


class Reader:
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
        hand_over: Callable[[Reading, Haul], Awaitable[None]],
        types: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._client = client
        self._leaving = leaving
        self._concurrency = concurrency
        self._hand_over = hand_over
        self._types = types
        self._room = Room(MOST_IN_FLIGHT)

    async def read(self, window: Window, budget: Budget | None = None) -> Reading:
        """Read a window.

        Args:
            window: What to read.
            budget: That of the window that this is a part of, if it is one.

        Raises:
            HaloError: The API did not let it be read; see `HaloClient.page`.
        """
        budget = budget or Budget()
        reading = Reading(window, window, budget)
        try:
            await self._read(reading)
        except OverBudget as why:
            reading.window, reading.rest, reading.missing = window, [], str(why)
        if budget.doubted and reading.window and not reading.missing:
            budget.found(reading.haul.count(reading.window))
        return reading

    async def _read(self, reading: Reading) -> None:
        window, keep = reading.listed, partial(self._keep, reading)
        sweeper = Sweeper(self._client, reading.budget, self._room, keep, self._concurrency)
        order: Order = "desc" if window.since < self._leaving else "asc"
        listing = Listing(window.since, window.until, order)
        before: list[str] = []
        for attempt in range(READINGS):
            one_by_one = attempt > 0
            sweep = await sweeper.sweep(listing, one_by_one=one_by_one)
            if not sweep.ended and sweep.depth:
                await self._in_parts(reading, sweep, sweeper)
                return
            if not sweep.ended:
                await self._without_count(reading, sweep, sweeper)
                return
            reading.missing = lacking(sweep, before, one_by_one=one_by_one)
            if not reading.missing:
                return
            before = sweep.keys

    async def dropped(self, window: Window, haul: Haul) -> Window | None:
        """What of a window Halo may have dropped before it was read, None where nothing.

        The oldest events are dropped first: it is what lies before the oldest that was listed,
        unless Halo has older ones.

        Raises:
            HaloError: The API did not let it be read; see `HaloClient.page`.
        """
        until = min(window.until, haul.oldest() or window.until)
        if until <= window.since:
            return None
        listing = Listing(_LONG_AGO, until - MICROSECOND, "desc")
        older = await self._client.page(listing, 1, PER_PAGE)
        return None if older.keys else Window(window.since, until)

    async def _keep(self, reading: Reading, page: Page) -> None:
        """Add a page to what was read, and hand that over where it is too much."""
        reading.as_of = reading.as_of or page.as_of
        reading.haul.add(page)
        if reading.haul.size > MOST_HELD:
            taken = reading.haul.take()
            await self._hand_over(reading, taken)
            taken.empty()

    async def _in_parts(self, reading: Reading, sweep: Sweep, sweeper: Sweeper) -> None:
        """Hand a window back in parts, or read it where it has none."""
        listing, far = sweep.listing, None
        budget = reading.budget.part(sweep.counts[-1], sweep.size)
        if listing.until - listing.since <= SUSPICIOUS:
            other: Order = "desc" if listing.order == "asc" else "asc"
            far = await sweeper.first_page(listing._replace(order=other))
        depth = DEEPEST_PAGE if budget.doubted else sweep.depth
        reading.rest = parts(listing, depth, sweep.pages[0], far)
        if reading.rest:
            reading.window, reading.budget = None, budget
        else:
            reading.missing = await self._crowd(reading, listing, sweeper)

    async def _without_count(self, reading: Reading, sweep: Sweep, sweeper: Sweeper) -> None:
        """Keep what pages without a count show whole, and hand the rest back."""
        listing = sweep.listing
        reading.window, reading.rest = read_and_rest(listing, sweep.pages)
        if reading.window and reading.rest and len(set(sweep.keys)) < len(sweep.keys):
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
            reading.missing = await self._crowd(reading, alone, sweeper)

    async def _crowd(self, reading: Reading, listing: Listing, sweeper: Sweeper) -> str:
        def types() -> set[str]:
            return {*self._types(), *reading.haul.types()}

        return await Crowd(sweeper, types).read(listing)
