"""Runs the steps of a pipeline as Prefect task runs of the flow run around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import State, allow_failure, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait
from prefect.states import Failed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from flows.runner import StageResult, Step


class PrefectRunner:
    """Submits each step to the flow's task runner, as a task run named `step-subject`.

    A step that reports problems is a failed task run; those after it run all the same, for one
    account's or destination's trouble never stops the others. What the steps say stays in this
    process, where it is read: it needs no result storage.
    """

    def __init__(self) -> None:
        self._names: dict[UUID, tuple[str, str]] = {}
        self._said: dict[tuple[str, str], StageResult] = {}

    def submit(
        self, step: Step, subject: str, after: Sequence[PrefectFuture[Any]] = ()
    ) -> PrefectFuture[Any]:
        """Start a step as a task run; see `flows.runner.Runner`."""

        def run(subject: str) -> State[Any] | None:
            result = self._said[step.name, subject] = step.run(subject)
            return Failed(message="\n".join(result.problems)) if result.problems else None

        as_task = task(
            name=step.name,
            task_run_name=f"{step.name}-{{subject}}",
            cache_policy=NO_CACHE,
            persist_result=False,
        )(run)
        future: PrefectFuture[Any] = as_task.submit(
            subject, wait_for=[allow_failure(earlier) for earlier in after], return_state=False
        )
        self._names[future.task_run_id] = (step.name, subject)
        return future

    def results(self, submitted: Sequence[PrefectFuture[Any]]) -> list[StageResult]:
        """Wait for steps; see `flows.runner.Runner`."""
        wait(list(submitted))
        for future in submitted:
            if self._names[future.task_run_id] not in self._said:
                future.result()  # raises what the step raised
        return [self._said[self._names[future.task_run_id]] for future in submitted]
