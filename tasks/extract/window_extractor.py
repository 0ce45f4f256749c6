"""One extraction of one account: its windows read at the same time, each staged when complete."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tasks.errors import HaloError, HaloRefused, HaloUnavailable, HaloUsmError
from tasks.extract.clocks import PostponedWindow
from tasks.extract.lookback_boundary import LookbackBoundary
from tasks.extract.result import FailedWindow
from tasks.halo.window_reader import WindowReader
from tasks.halo_history import HALO_KEEPS
from tasks.time_window import Window, difference, union

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from tasks.extract.plan import Plan
    from tasks.extract.window_stager import WindowStager
    from tasks.halo.client import HaloClient
    from tasks.halo.fetched_events import FetchedEvents
    from tasks.halo.request_budget import RequestBudget
    from tasks.halo.window_reader import WindowResult


_EXPIRED = "it was never read, and is older than the 90 days that Halo keeps events: lost"


@dataclass(frozen=True)
class _Job:
    """A window to be read.

    Attributes:
        window: The window.
        expired: Whether Halo has probably dropped its events; see `PlannedRange`.
        boundary: Where covered time ended in the range that was planned; None where it did not.
        budget: What limits the requests for it, if it was split off another window.
    """

    window: Window
    expired: bool
    boundary: LookbackBoundary | None
    budget: RequestBudget | None = None


class WindowExtractor:
    """Reads and stages what is planned for an account; it belongs to one event loop.

    Args:
        plan: What is read.
        client: The account's.
        stager: Writes what was read.
        concurrency: Requests in flight at most.
        expiring: Halo may drop events that were created before this time at any moment.
        progress: Told how many windows of how many are done.

    Attributes:
        postponed: What was planned and not read because it lies after the API's time.
        complete: How many windows were read completely and staged.
    """

    def __init__(
        self,
        plan: Plan,
        client: HaloClient,
        stager: WindowStager,
        *,
        concurrency: int,
        expiring: datetime,
        progress: Callable[[int, int], None],
    ) -> None:
        self.postponed: list[PostponedWindow] = []
        self.complete = 0
        self._ranges = plan.ranges
        self._client = client
        self._stager = stager
        self._progress = progress
        self._reader = WindowReader(
            client,
            expiring=expiring,
            concurrency=concurrency,
            hand_over=self._stage_incomplete,
            types=_known_types,
        )
        # more than there are requests, so that reading goes on while others are staged
        self._max_open = concurrency + 2
        self._readers = asyncio.Semaphore(self._max_open)
        self._planned = deque(planned.window for planned in plan.ranges)
        self._open: set[Window] = set()
        self._closed = asyncio.Event()
        self._failed: list[FailedWindow] = []
        self._first_unanswered: FailedWindow | None = None
        self._ended = 0
        self._total = sum(window.count_days() for window in self._planned)

    async def run(self) -> None:
        """Read and stage what is planned.

        Windows are opened day by day, the oldest first. However long the planned range is, no more
        days are open than can be read at the same time, and the windows that these are split into.

        Raises:
            HaloUsmError: The account as a whole cannot be read or staged; what is not covered
                then is among `failed`.
        """
        try:
            async with asyncio.TaskGroup() as self._group:
                for planned in self._ranges:
                    boundary = LookbackBoundary(planned) if planned.boundary else None
                    for day in planned.window.days():
                        await self._wait_until_fewer_are_open()
                        self._start([_Job(day, planned.expired, boundary)])
                        self._planned.popleft()
                        if day.until < planned.window.until:
                            self._planned.appendleft(Window(day.until, planned.window.until))
            await self._stager.save_ids()
        except BaseExceptionGroup as errors:
            expected, bugs = errors.split(HaloUsmError)
            if bugs or expected is None:
                raise
            raise _first(expected) from None
        finally:
            self._stager.close()

    def failed(self) -> list[FailedWindow]:
        """What was planned and is not covered, sorted: failed windows, and those never read."""
        unread = union([*self._open, *self._planned])
        return sorted([*self._failed, *(FailedWindow(window, "") for window in unread)])

    async def _wait_until_fewer_are_open(self) -> None:
        while len(self._open) >= self._max_open:
            self._closed.clear()
            await self._closed.wait()

    def _start(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            self._open.add(job.window)
            if job.boundary:
                job.boundary.started(job.window)
            self._group.create_task(self._extract(job))
        self._progress(self._ended, self._total)

    async def _extract(self, job: _Job) -> None:
        """Read and stage a window, or start the windows that it is split into."""
        try:
            if job.boundary:
                await job.boundary.wait_for_lookback(job.window)
            async with self._readers:
                await self._read(job)
        except HaloRefused:
            raise
        except HaloError as error:
            self._fail(job.window, error)
        if job.boundary:
            job.boundary.ended(job.window)
        self._open.discard(job.window)
        self._closed.set()
        self._ended += 1
        self._progress(self._ended, self._total)

    async def _read(self, job: _Job) -> None:
        """Read a window, stage what is known of it, and start the windows that remain of it."""
        api_time = self._client.api_time
        if api_time is not None and api_time <= job.window.since:
            self.postponed.append(PostponedWindow(job.window, api_time))
            return
        result = await self._reader.read(job.window, job.budget)
        remaining = job.boundary.split(result.remaining) if job.boundary else result.remaining
        self._total += len(remaining)
        self._start([replace(job, window=each, budget=result.budget) for each in remaining])
        if result.window:
            await self._stage(job, result, result.window)

    def _fail(self, window: Window, error: HaloError) -> None:
        """Note that a window failed, or give up the account where the API no longer answers.

        Raises:
            HaloError: The first of the errors since the API last answered.
        """
        retries, first = self._client.retries, self._first_unanswered
        if retries.exhausted and first:
            # other windows that failed at the same moment come here too
            if first in self._failed:
                self._failed.remove(first)
                self._open.add(first.window)
            raise HaloUnavailable(first.reason) from None
        failed = FailedWindow(window, str(error))
        self._first_unanswered = failed if retries.consecutive_failures else None
        self._failed.append(failed)

    async def _stage(self, job: _Job, result: WindowResult, window: Window) -> None:
        """Stage what was read of a window, up to the time that the API can know of."""
        if result.as_of and result.as_of < window.until:
            until = max(window.since, result.as_of)
            self.postponed.append(PostponedWindow(Window(until, window.until), result.as_of))
            if until == window.since:
                return
            window = Window(window.since, until)
        if result.missing:
            self._failed.append(FailedWindow(window, result.missing))
            await self._stager.stage(result.fetched, result.listed, [window], mark="part")
            return
        windows = job.boundary.stageable(window) if job.boundary else [window]
        # by the earlier of both clocks: this machine's may be fast
        expired = job.expired and (result.as_of or window.until) - window.since > HALO_KEEPS
        if expired and (lost := await self._reader.find_expired(window, result.fetched)):
            self._failed.append(FailedWindow(lost, _EXPIRED, lost=True))
            # it holds no event, but may hold what is malformed
            await self._stager.stage(result.fetched, result.listed, [lost], mark="part")
            await self._stager.mark_lost(lost)
            windows = difference(window, [lost])
        if windows:
            await self._stager.stage(result.fetched, result.listed, windows)
            self.complete += 1

    async def _stage_incomplete(self, result: WindowResult, fetched: FetchedEvents) -> None:
        """Stage what was listed so far of a window that is still being read."""
        since, until = result.listed.since, result.listed.until
        until = min(until, result.as_of or until)
        if since < until:
            window = Window(since, until)
            await self._stager.stage(fetched, result.listed, [window], mark="part")


def _known_types() -> Sequence[str]:
    from tasks.plugin.catalogue import TYPES

    return TYPES


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
