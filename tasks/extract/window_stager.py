"""Writing what was read of an account to the staging, beside the requests for what comes next."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from tasks.staging.coverage import mark_beginning, mark_lost
from tasks.staging.raw import Staged, stage_beside, stage_window

if TYPE_CHECKING:
    from tasks.extract.plan import Plan
    from tasks.extract.result import ExtractResult
    from tasks.halo.fetched_events import FetchedEvents
    from tasks.staging.known_ids import KnownIds
    from tasks.staging.store import Store
    from tasks.time_window import Window


class WindowStager:
    """Stages the events of windows, one write after the other, in a thread of its own.

    Args:
        store: The staging.
        plan: Where the account begins, which is written before any event.
        result: Names the account, and counts what is staged.
        ids: What is known of the account's ids.
        run_id: Kept with what is rejected.
    """

    def __init__(
        self, store: Store, plan: Plan, result: ExtractResult, ids: KnownIds, run_id: str
    ) -> None:
        self._store = store
        self._begin, self._synced = plan.begin, plan.synced
        self._result = result
        self._ids = ids
        self._run_id = run_id
        # one thread only: some files must be on disk before others are written
        self._thread = ThreadPoolExecutor(1, "stage")

    async def stage(
        self, fetched: FetchedEvents, listed: Window, windows: list[Window], *, mark: str = ""
    ) -> None:
        """Stage the events of some windows.

        Args:
            fetched: The events.
            listed: The window that the API was asked for.
            windows: The parts of it that were read.
            mark: Why these are not covered, where they are not; see `file_names.RawFile`.

        Raises:
            StagingError: The staging cannot be read or written.
        """
        run = asyncio.get_running_loop().run_in_executor
        for staged in await run(self._thread, self._write, fetched, listed, windows, mark):
            self._result.new += staged.new
            self._result.known += staged.known
            self._result.malformed += staged.malformed
            self._result.redated += staged.redated

    async def mark_lost(self, window: Window) -> None:
        """Note that Halo no longer has the events of a window; raises as `stage` does."""
        run = asyncio.get_running_loop().run_in_executor
        await run(self._thread, mark_lost, self._store, self._result.subject, window)

    async def save_ids(self) -> None:
        """Write down what is known of the account's ids; raises as `stage` does."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._ids.save)

    def close(self) -> None:
        """Wait for the last write, and end the thread."""
        self._thread.shutdown()

    def _write(
        self, fetched: FetchedEvents, listed: Window, windows: list[Window], mark: str
    ) -> list[Staged]:
        events, malformed = fetched.tables(listed)
        account = self._result.subject
        if self._begin is not None:
            mark_beginning(self._store, account, self._begin, synced=self._synced)
        self._begin = None
        found = events, malformed, self._run_id
        stage = partial(stage_window, self._store, account, mark=mark, ids=self._ids)
        outside = stage_beside(self._store, account, listed, *found, ids=self._ids)
        return [*(stage(window, *found) for window in windows), outside]
