"""A step as a Prefect task run, and what runs it: an executor."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from prefect.client.schemas.objects import TaskRunResult
from prefect.context import FlowRunContext
from prefect.utilities.annotations import quote
from prefect.utilities.callables import get_call_parameters

from flows.runner import THREADS
from flows.stage_tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from prefect.futures import PrefectFuture

    from flows.runner import Stage
    from tasks.results import StageResult


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
        times_begun: How often it was begun.
        not_before: When it may begin (`time.monotonic`).
    """

    stage: Stage
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    after: Sequence[Step]
    future: PrefectFuture[Any] | None = None
    task_run_id: UUID | None = None
    result: StageResult | None = None
    times_begun: int = 0
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
        """The task runs that Prefect's graph draws before this one, as inputs of a parameter."""
        before = {TaskRunResult(id=one.task_run_id) for one in self.after if one.task_run_id}
        return {"context": before}

    def parameters(self, *arguments: Any) -> dict[str, Any]:
        """The parameters of its task, by name, for these arguments."""
        return get_call_parameters(TASKS[self.stage.__name__].fn, arguments, self.options)


class StepExecutor(Protocol):
    """Runs steps as Prefect task runs, in this process or on other machines."""

    def capacity(self) -> int:
        """How many steps may be under way at the same time.

        Raises:
            HaloUsmError: None can be run.
        """

    def begin(self, step: Step) -> PrefectFuture[Any]:
        """Begin a step."""

    def result(self, step: Step) -> StageResult | None:
        """What a step did whose future has ended; None where it is to be begun again.

        Raises:
            Exception: The step has a bug.
        """

    def stop(self) -> None:
        """End in order what is under way."""


class FlowExecutor:
    """Runs steps with the task runner of the flow: threads, unless the flow was given another."""

    def capacity(self) -> int:
        """See `StepExecutor`."""
        return THREADS

    def begin(self, step: Step) -> PrefectFuture[Any]:
        """See `StepExecutor`."""
        flow_run = FlowRunContext.get()
        assert flow_run is not None
        task = TASKS[step.stage.__name__]
        parameters = step.parameters(*map(quote, step.arguments))  # not searched for futures
        future: PrefectFuture[Any] = flow_run.task_runner.submit(
            task, parameters, dependencies=step.inputs
        )
        return future

    def result(self, step: Step) -> StageResult | None:
        """See `StepExecutor`."""
        assert step.future is not None
        result: StageResult | BaseException = step.future.result(raise_on_failure=False)
        if isinstance(result, BaseException):
            raise result
        return result

    def stop(self) -> None:
        """Do nothing: the steps share the stop event, or get the signal, too."""
