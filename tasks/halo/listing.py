"""Reading one window of time completely, or saying what is missing of it.

What makes it hard, and has lost events in every known client (Halo API, "What makes paging
hard"): the depth of a listing is limited, events are inserted and leave while pages are read,
thousands may share one timestamp; and whether `until` is inclusive, whether there is a `count`,
and how many events a page may have, differs.

A window is read from its first page to its last. Then what came is compared with what the API
says there is, and the window is read again where something moved. One that is too deep is handed
back in parts; one that cannot be parted is read from both ends and through filters.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tasks.halo.client import Listing
from tasks.halo.crowd import Crowd
from tasks.halo.haul import Haul
from tasks.halo.parts import SUSPICIOUS, parts, read_and_rest
from tasks.halo.room import Room
from tasks.halo.sweep import DEEPEST_PAGE, Sweeper, lacking
from tasks.windows import MICROSECOND, Window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tasks.halo.client import HaloClient, Order
    from tasks.halo.room import Lease
    from tasks.halo.sweep import Sweep

READINGS = 4
"""How often a window that moves is read; the last time page after page."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
FREE_PAGES = 4
"""So many pages of a window are held without asking for room."""


@dataclass
class Reading:
    """What became of a window.

    Attributes:
        window: What was read of it; None where it is all handed back.
        listed: The whole window, as it was asked for.
        rest: What is still to be read, because it was too deep; sorted.
        haul: The events.
        as_of: Nothing can be known of events created later than this.
        missing: Why what was read is not complete; empty where it is.
    """

    window: Window | None
    listed: Window
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
        concurrency: Requests in flight, which decides how many pages are worth holding.
        types: Gives the event types that are known, for windows that cannot be parted.
    """

    def __init__(
        self,
        client: HaloClient,
        *,
        leaving: datetime,
        concurrency: int,
        types: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._sweeper = Sweeper(client)
        self._types = types
        self._leaving = leaving
        self._room = Room(3 * DEEPEST_PAGE + FREE_PAGES * concurrency)

    @asynccontextmanager
    async def read(self, window: Window) -> AsyncIterator[Reading]:
        """Read a window; what was read takes room until the context ends.

        Raises:
            HaloError: The API did not let it be read; see `HaloClient.page`.
        """
        async with self._room.lease(FREE_PAGES) as lease:
            yield await self._read(window, lease)

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
        older = await self._sweeper.first_page(Listing(_LONG_AGO, until - MICROSECOND, "desc"))
        return None if older.keys else Window(window.since, until)

    async def _read(self, window: Window, lease: Lease) -> Reading:
        order: Order = "desc" if window.since < self._leaving else "asc"
        listing = Listing(window.since, window.until, order)
        reading = Reading(window, window)
        before: list[str] = []
        for attempt in range(1, READINGS + 1):
            last = attempt == READINGS
            sweep = await self._sweeper.sweep(listing, lease, one_by_one=last)
            reading.as_of = reading.as_of or sweep.pages[0].as_of
            if not sweep.ended and sweep.depth:
                return await self._in_parts(reading, listing, sweep, lease)
            for page in sweep.pages:
                reading.haul.add(page)
            if not sweep.ended:
                return await self._without_count(reading, listing, sweep, lease)
            reading.missing = lacking(sweep, before, last=last)
            if not reading.missing:
                break
            before = sweep.keys
        return reading

    async def _in_parts(
        self, reading: Reading, listing: Listing, sweep: Sweep, lease: Lease
    ) -> Reading:
        """Hand a window back in parts, or read it where it has none."""
        far = None
        if listing.until - listing.since <= SUSPICIOUS:
            other: Order = "desc" if listing.order == "asc" else "asc"
            far = await self._sweeper.first_page(listing._replace(order=other))
        reading.rest = parts(listing, sweep.depth, sweep.pages[0], far)
        if reading.rest:
            reading.window = None
        else:
            reading.missing = await self._crowd(reading.haul, lease).read(listing)
        return reading

    async def _without_count(
        self, reading: Reading, listing: Listing, sweep: Sweep, lease: Lease
    ) -> Reading:
        """Keep what pages without a count show whole, and hand the rest back."""
        reading.window, reading.rest = read_and_rest(listing, sweep.pages)
        if reading.window and reading.rest and len(set(sweep.keys)) < len(sweep.keys):
            # something moved: what is not too deep by itself is read until it is settled
            reading.rest = sorted([*reading.rest, reading.window])
            reading.window = None
            return reading
        if reading.window is None and not reading.rest:
            reading.window = Window(listing.since, listing.until)
            reading.missing = "it is too deep, and the API gives neither a count nor an order"
        elif reading.window is None:
            edge = reading.rest.pop(0 if listing.order == "asc" else -1)
            reading.window = edge
            alone = Listing(edge.since, edge.until, listing.order)
            reading.missing = await self._crowd(reading.haul, lease).read(alone)
        return reading

    def _crowd(self, haul: Haul, lease: Lease) -> Crowd:
        return Crowd(self._sweeper, self._types(), haul, lease)
