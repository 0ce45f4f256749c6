"""Runs the steps of a pipeline as Prefect task runs of the flow run around it.

Where they run is a `Place`: the flow's own task runner, or a Dask cluster (`flows.dask_place`).
"""

from __future__ import annotations

import queue
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from prefect.client.schemas.objects import TaskRunResult
from prefect.context import FlowRunContext, TagsContext
from prefect.utilities.annotations import quote
from prefect.utilities.callables import get_call_parameters

from flows.dask_scheduler import dask_address
from flows.runner import THREADS
from flows.stage_tasks import TASKS
from tasks.results import StageResult

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from prefect.futures import PrefectFuture

    from flows.context import RunContext
    from flows.runner import Stage

_POLL_SECONDS = 0.2
"""How often the runner looks whether to stop."""
_END_SECONDS = 25.0
"""How long it waits then for steps; a Prefect worker kills a flow run 30 seconds after SIGTERM."""


@dataclass(eq=False)
class Step:
    """A step of the pipeline, from its submission on.

    Attributes:
        stage: Its function in `flows.stages`.
        arguments: Its arguments: the context and the name of the account or destination first.
        options: Its keyword arguments.
        after: The steps that have to end before it begins.
        future: Its task run, once it has begun.
        task_run_id: The id of that.
        result: What it did, once it has ended.
        runs: How often it was begun.
        not_before: When it may begin (`time.monotonic`).
    """

    stage: Stage
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    after: Sequence[Step]
    future: PrefectFuture[Any] | None = None
    task_run_id: UUID | None = None
    result: StageResult | None = None
    runs: int = 0
    not_before: float = 0.0

    @property
    def ready(self) -> bool:
        """Whether it can begin now."""
        ended = all(one.result is not None for one in self.after)
        return ended and time.monotonic() >= self.not_before

    @property
    def name(self) -> str:
        """Such as `extract alpha`."""
        return f"{self.stage.__name__} {self.arguments[1]}"

    @property
    def inputs(self) -> dict[str, set[Any]]:
        """The task runs that Prefect's graph draws before this one."""
        before = {TaskRunResult(id=one.task_run_id) for one in self.after if one.task_run_id}
        return {"after": before} if before else {}

    def parameters(self, *arguments: Any) -> dict[str, Any]:
        """The parameters of its task, by name, for these arguments."""
        return get_call_parameters(TASKS[self.stage.__name__].fn, arguments, self.options)


class Place(Protocol):
    """Where steps are run."""

    def room(self) -> int:
        """How many steps may be under way at the same time."""

    def begin(self, step: Step) -> PrefectFuture[Any]:
        """Begin a step."""

    def result(self, step: Step) -> StageResult | None:
        """What a step did whose future has ended; None where it is to be begun again.

        Raises:
            Exception: The step has a bug.
        """

    def stop(self) -> None:
        """End in order what is under way."""


class FlowsTaskRunner:
    """The task runner of the flow: threads of this process, unless it was given another one."""

    def room(self) -> int:
        """See `Place`."""
        return THREADS

    def begin(self, step: Step) -> PrefectFuture[Any]:
        """See `Place`."""
        flow_run = FlowRunContext.get()
        assert flow_run is not None
        task = TASKS[step.stage.__name__]
        parameters = step.parameters(*map(quote, step.arguments))  # not searched for futures
        future: PrefectFuture[Any] = flow_run.task_runner.submit(
            task, parameters, dependencies=step.inputs
        )
        return future

    def result(self, step: Step) -> StageResult | None:
        """See `Place`."""
        assert step.future is not None
        result: StageResult | BaseException = step.future.result(raise_on_failure=False)
        if isinstance(result, BaseException):
            raise result
        return result

    def stop(self) -> None:
        """The steps have the stop event itself, or handle the signal that they get, too."""


class PrefectRunner:
    """Begins each step once the steps that it waits for have ended; see `flows.runner.Runner`.

    That they have failed holds up no later step, because a failure of one account or destination
    must not stop the others.

    Args:
        place: Where the steps are run.
        stop: Set when the run is to end early.
    """

    def __init__(self, place: Place, stop: threading.Event) -> None:
        self._place = place
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
            self._place.stop()
            for step in self._waiting:
                step.result = StageResult(step.name, interrupted=True)
            self._waiting.clear()
        try:
            step = self._ended.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            return
        self._under_way.discard(step)
        step.result = self._place.result(step)
        step.future = None  # a cluster need not keep the result any more
        if step.result is None:
            self._waiting.append(step)

    def _begin(self) -> None:
        """Begin what can begin."""
        room = self._place.room() - len(self._under_way)
        for step in [one for one in self._waiting if one.ready][: max(room, 0)]:
            self._waiting.remove(step)
            self._under_way.add(step)
            step.runs += 1
            step.future = self._place.begin(step)
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
    address = dask_address(context.settings)
    with ExitStack() as stack:
        # Each step would have the flow run's tags, and ask the server before it begins whether
        # there is a limit of runs with them.
        stack.enter_context(TagsContext(current_tags=set()))
        place: Place = FlowsTaskRunner()
        if address is not None:
            from flows.dask_place import dask_place

            place = stack.enter_context(dask_place(address, context))
        runner = PrefectRunner(place, context.stop)
        try:
            yield runner
        except BaseException:
            runner.end()
            raise
