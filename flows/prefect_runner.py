"""Runs the steps of a pipeline as Prefect task runs of the flow run around it.

A `flows.step_executor.StepExecutor` runs them: the flow's own task runner, or a Dask cluster.
"""

from __future__ import annotations

import queue
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from prefect.context import TagsContext

from flows.dask_scheduler import scheduler_address
from flows.step_executor import FlowExecutor, Step
from tasks.results import StageResult

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from flows.context import RunContext
    from flows.runner import Stage
    from flows.step_executor import StepExecutor

_POLL_SECONDS = 0.2
"""How often the runner looks whether to stop."""
_END_SECONDS = 25.0
"""How long it waits then for steps; a Prefect worker kills a flow run 30 seconds after SIGTERM."""


class PrefectRunner:
    """Begins each step once the steps that it waits for have ended; see `flows.runner.Runner`.

    It does so where they have failed, too, because a failure of one account or destination must not
    stop the others.

    Args:
        executor: Runs the steps.
        stop: Set when the run is to end early.
    """

    def __init__(self, executor: StepExecutor, stop: threading.Event) -> None:
        self._executor = executor
        self._stop = stop
        self._stopped = False
        self._waiting: list[Step] = []
        self._under_way: set[Step] = set()
        self._ended: queue.SimpleQueue[Step] = queue.SimpleQueue()

    def submit(
        self, stage: Stage, *arguments: Any, after: Sequence[Step] = (), **options: Any
    ) -> Step:
        """Begin the task of the step's name as soon as it can; see `flows.runner.Runner`."""
        step = Step(stage, arguments, options, after)
        self._waiting.append(step)
        self._begin()
        return step

    def results(self, submitted: Sequence[Step]) -> list[StageResult]:
        """Wait for steps; see `flows.runner.Runner`.

        Raises:
            HaloUsmError: No further step can be begun.
        """
        results: list[StageResult] = []
        for step in submitted:
            while step.result is None:
                self._take()
                self._begin()
            results.append(step.result)
        return results

    def end(self) -> None:
        """End what is under way in order, and wait for it for a while."""
        self._stop.set()
        until = time.monotonic() + _END_SECONDS
        while self._under_way and time.monotonic() < until:
            with suppress(Exception):
                self._take()

    def _take(self) -> None:
        """Wait a moment for a step to end, and take its result."""
        if self._stop.is_set() and not self._stopped:
            self._stopped = True
            self._executor.stop()
            for step in self._waiting:
                step.result = StageResult(step.name, interrupted=True)
            self._waiting.clear()
        try:
            step = self._ended.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            return
        self._under_way.discard(step)
        step.result = self._executor.result(step)
        step.future = None  # a cluster need not keep the result any more
        if step.result is None:
            self._waiting.append(step)

    def _begin(self) -> None:
        """Begin what can begin."""
        free = self._executor.capacity() - len(self._under_way)
        for step in [one for one in self._waiting if one.ready][: max(free, 0)]:
            self._waiting.remove(step)
            self._under_way.add(step)
            step.times_begun += 1
            step.future = self._executor.begin(step)
            step.task_run_id = step.future.task_run_id
            step.future.add_done_callback(partial(self._put, step))

    def _put(self, step: Step, _future: object) -> None:
        self._ended.put(step)


@contextmanager
def prefect_runner(context: RunContext) -> Iterator[PrefectRunner]:
    """A runner for a flow; `context.stop` is set when the flow run is ended early.

    That is by a worker or by Ctrl-C. The steps that are under way end in order first.

    Raises:
        SettingsError: Dask workers are asked for, and cannot do the work.
        HaloUsmError: The Dask scheduler does not answer.
    """
    address = scheduler_address(context.settings)
    with ExitStack() as stack:
        # Each step would have the flow run's tags, and ask the server before it begins whether
        # there is a limit of runs with them.
        stack.enter_context(TagsContext(current_tags=set()))
        executor: StepExecutor = FlowExecutor()
        if address is not None:
            from flows.dask_executor import dask_executor

            executor = stack.enter_context(dask_executor(address, context))
        runner = PrefectRunner(executor, context.stop)
        try:
            yield runner
        except BaseException:
            runner.end()
            raise
