"""One extraction of one account: its windows read at the same time, each staged when complete."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

from tasks.errors import HaloError, HaloRefused, HaloUnavailable, HaloUsmError
from tasks.extract.clocks import HeldBack
from tasks.extract.lookback_boundary import LookbackBoundary
from tasks.extract.plan import HALO_KEEPS
from tasks.halo.window_reader import WindowReader
from tasks.staging.coverage import mark_beginning, mark_lost
from tasks.staging.raw import Staged, stage_beside, stage_window
from tasks.time_window import Window, difference, union

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from tasks.extract.plan import Plan, PlannedRange
    from tasks.extract.result import ExtractResult
    from tasks.halo.client import HaloClient
    from tasks.halo.fetched_events import FetchedEvents
    from tasks.halo.request_budget import RequestBudget
    from tasks.halo.window_reader import WindowReading
    from tasks.staging.known_ids import KnownIds
    from tasks.staging.store import Store


P = ParamSpec("P")
T = TypeVar("T")

_DROPPED = "it was never read, and is older than the 90 days that Halo keeps events: lost"


class Failed(NamedTuple):
    """A window that is not covered, and why; no reason where the account as a whole failed."""

    window: Window
    reason: str
    lost: bool = False


class WindowExtractor:
    """Reads and stages what is planned for an account; to be made and run in one event loop.

    Args:
        store: The staging.
        done: The account, and what was staged of it: it is counted here.
        ids: What is known of the account's ids.
        client: The account's.
        concurrency: Requests in flight at most.
        leaving: Events created before this may leave the API at any time.
        run_id: Kept with what is rejected.
        progress: Told how many windows of how many are done.

    Attributes:
        held_back: What was planned and lies beyond the API's time.
    """

    def __init__(
        self,
        store: Store,
        done: ExtractResult,
        ids: KnownIds,
        client: HaloClient,
        *,
        concurrency: int,
        leaving: datetime,
        run_id: str,
        progress: Callable[[int, int], None],
    ) -> None:
        self._done = done
        self.held_back: list[HeldBack] = []
        self._store = store
        self._account = done.subject
        self._ids = ids
        self._client = client
        self._run_id = run_id
        self._progress = progress
        self._reader = WindowReader(
            client,
            leaving=leaving,
            concurrency=concurrency,
            hand_over=self._hand_over,
            types=_known_types,
        )
        # some more than can be asked for: reading goes on while others are staged
        self._most_open = concurrency + 2
        self._readers = asyncio.Semaphore(self._most_open)
        self._begin: datetime | None = None
        self._planned: deque[Window] = deque()
        self._open: set[Window] = set()
        self._closed = asyncio.Event()
        self._failed: list[Failed] = []
        self._in_silence: Failed | None = None
        self._ended = 0
        self._total = 0

    async def run(self, plan: Plan) -> None:
        """Read and stage what is planned.

        Windows are made as they are read, each day after the ones before it: however long a range
        is, only so many are open as can be read at the same time, and the parts of those.

        Raises:
            HaloUsmError: The account as a whole can't be read or staged; what was not yet, is
                among `failed`.
        """
        self._begin, self._synced = plan.begin, plan.synced
        self._planned.extend(run.window for run in plan.runs)
        self._total = sum(window.count_days() for window in self._planned)
        # one thread: what has to be on disk before something else is
        self._stager = ThreadPoolExecutor(1, "stage")
        try:
            async with asyncio.TaskGroup() as self._group:
                for run in plan.runs:
                    boundary = LookbackBoundary(run) if run.boundary else None
                    for day in run.window.days():
                        await self._turn()
                        self._start([day], run, boundary)
                        self._planned.popleft()
                        if day.until < run.window.until:
                            self._planned.appendleft(Window(day.until, run.window.until))
            await self._in_stager(self._ids.save)
        except BaseExceptionGroup as errors:
            expected, bugs = errors.split(HaloUsmError)
            if bugs or expected is None:
                raise
            raise _first(expected) from None
        finally:
            self._stager.shutdown()

    def failed(self) -> list[Failed]:
        """What was planned and is not covered, sorted: failed windows, and those never read."""
        unread = union([*self._open, *self._planned])
        return sorted([*self._failed, *(Failed(window, "") for window in unread)])

    async def _turn(self) -> None:
        """Wait until fewer windows are open than can be read at the same time."""
        while len(self._open) >= self._most_open:
            self._closed.clear()
            await self._closed.wait()

    def _start(
        self,
        windows: Iterable[Window],
        run: PlannedRange,
        boundary: LookbackBoundary | None,
        budget: RequestBudget | None = None,
    ) -> None:
        for window in windows:
            self._open.add(window)
            if boundary:
                boundary.begin(window)
            self._group.create_task(self._window(window, run, boundary, budget))
        self._progress(self._ended, self._total)

    async def _window(
        self,
        window: Window,
        run: PlannedRange,
        boundary: LookbackBoundary | None,
        budget: RequestBudget | None,
    ) -> None:
        """Read and stage a window, or start its parts."""
        try:
            if boundary:
                await boundary.turn(window)
            async with self._readers:
                await self._read(window, run, boundary, budget)
        except HaloRefused:
            raise
        except HaloError as error:
            self._fail(window, error)
        if boundary:
            boundary.end(window)
        self._open.discard(window)
        self._closed.set()
        self._ended += 1
        self._progress(self._ended, self._total)

    async def _read(
        self,
        window: Window,
        run: PlannedRange,
        boundary: LookbackBoundary | None,
        budget: RequestBudget | None,
    ) -> None:
        """Read and stage a window or what can be known of it, and start its parts."""
        api_time = self._client.api_time
        if api_time is not None and api_time <= window.since:
            self.held_back.append(HeldBack(window, api_time))
            return
        reading = await self._reader.read(window, budget)
        rest = boundary.cut(reading.rest) if boundary else reading.rest
        self._total += len(rest)
        self._start(rest, run, boundary, reading.budget)
        if reading.window:
            await self._keep(reading, reading.window, run, boundary)

    def _fail(self, window: Window, error: HaloError) -> None:
        """Remember a window as failed, or give up the account where nothing answers any more.

        Raises:
            HaloError: The first of the errors since anything was answered.
        """
        if self._client.retries.exhausted and self._in_silence:
            # others that failed at the same moment come here too
            if self._in_silence in self._failed:
                self._failed.remove(self._in_silence)
                self._open.add(self._in_silence.window)
            raise HaloUnavailable(self._in_silence.reason) from None
        failed = Failed(window, str(error))
        self._in_silence = failed if self._client.retries.consecutive_failures else None
        self._failed.append(failed)

    async def _keep(
        self,
        reading: WindowReading,
        window: Window,
        run: PlannedRange,
        boundary: LookbackBoundary | None,
    ) -> None:
        """Stage what was read of a window, up to the time that the reading can know of."""
        if reading.as_of and reading.as_of < window.until:
            since = max(window.since, reading.as_of)
            self.held_back.append(HeldBack(Window(since, window.until), reading.as_of))
            if since == window.since:
                return
            window = Window(window.since, since)
        if reading.missing:
            self._failed.append(Failed(window, reading.missing))
            await self._stage(reading.fetched, reading.listed, [window], mark="part")
            return
        parts = boundary.stageable(window) if boundary else [window]
        # by the earlier clock: this machine's may be fast
        overdue = run.overdue and (reading.as_of or window.until) - window.since > HALO_KEEPS
        if overdue and (dropped := await self._reader.dropped(window, reading.fetched)):
            self._failed.append(Failed(dropped, _DROPPED, lost=True))
            # no event lies there, and perhaps what is malformed
            await self._stage(reading.fetched, reading.listed, [dropped], mark="part")
            await self._in_stager(mark_lost, self._store, self._account, dropped)
            parts = difference(window, [dropped])
        if parts:
            await self._stage(reading.fetched, reading.listed, parts)
            self._done.windows += 1

    async def _hand_over(self, reading: WindowReading, fetched: FetchedEvents) -> None:
        """Stage what was listed so far of a window that is still being read."""
        since, until = reading.listed.since, reading.listed.until
        until = min(until, reading.as_of or until)
        if since < until:
            await self._stage(fetched, reading.listed, [Window(since, until)], mark="part")

    async def _stage(
        self, fetched: FetchedEvents, listed: Window, windows: list[Window], *, mark: str = ""
    ) -> None:
        for staged in await self._in_stager(self._write, fetched, listed, windows, mark):
            self._done.new += staged.new
            self._done.known += staged.known
            self._done.malformed += staged.malformed
            self._done.redated += staged.redated

    async def _in_stager(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """PlannedRange work that reads and writes files beside the requests."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._stager, partial(work, *args, **kwargs))

    def _write(
        self, fetched: FetchedEvents, listed: Window, windows: list[Window], mark: str
    ) -> list[Staged]:
        events, malformed = fetched.tables(listed)
        if self._begin is not None:
            mark_beginning(self._store, self._account, self._begin, synced=self._synced)
        self._begin = None
        found = events, malformed, self._run_id
        stage = partial(stage_window, self._store, self._account, mark=mark, ids=self._ids)
        beside = stage_beside(self._store, self._account, listed, *found, ids=self._ids)
        return [*(stage(window, *found) for window in windows), beside]


def _known_types() -> Sequence[str]:
    from tasks.plugin.catalogue import TYPES

    return TYPES


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
