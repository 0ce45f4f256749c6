"""Runs the steps of a pipeline as Prefect task runs of the flow run around it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from prefect import State, allow_failure, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed, Failed

from flows.cli.progress import remarks, summary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from flows.runner import Step
    from tasks.results import StageResult


class PrefectRunner:
    """Submits each step to the flow's task runner, as a task run named `step-subject`.

    A step that reports problems is a failed task run; those after it run all the same, for one
    account's or destination's trouble never stops the others. What a step remarks is in the log
    of its task run and of the flow run, at its level. Its result stays in this process, where it
    is read: it needs no result storage.
    """

    def __init__(self) -> None:
        self._names: dict[UUID, tuple[str, str]] = {}
        self._said: dict[tuple[str, str], StageResult] = {}

    def submit(
        self, step: Step, subject: str, after: Sequence[PrefectFuture[Any]] = ()
    ) -> PrefectFuture[Any]:
        """Start a step as a task run; see `flows.runner.Runner`."""

        def run(subject: str) -> State[Any]:
            result = self._said[step.name, subject] = step.run(subject)
            log = get_run_logger()
            for level, text in remarks([result]):
                log.log(level, text)
            return end_state([result])

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


def end_state(results: Sequence[StageResult]) -> State[Any]:
    """The state in which the run that did these steps ends."""
    message = end_message(results)
    if any(result.problems for result in results):
        return Failed(message=message)
    if results and all(result.held for result in results):
        return Completed(name="Skipped", message=message)
    return Completed(message=message)


def end_message(results: Sequence[StageResult]) -> str:
    """What steps said: problems first, then a line a step, then notes and warnings."""
    said = remarks(results)
    problems = [text for level, text in said if level == logging.ERROR]
    others = [text for level, text in said if level != logging.ERROR]
    return "\n".join([*problems, *map(summary, results), *others])
