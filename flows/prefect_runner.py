"""Runs the steps of a pipeline as Prefect task runs of the flow run around it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prefect import allow_failure
from prefect.context import TagsContext
from prefect.futures import PrefectFuture, wait
from prefect.utilities.annotations import quote

from flows.stage_tasks import TASKS

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from flows.runner import Stage
    from tasks.results import StageResult


class PrefectRunner:
    """Submits each step to the flow's task runner; see `flows.runner.Runner`.

    Later steps run even where an earlier one failed, because a failure of one account or
    destination must not stop the others.
    """

    def submit(
        self,
        stage: Stage,
        *arguments: Any,
        after: Sequence[PrefectFuture[Any]] = (),
        **options: Any,
    ) -> PrefectFuture[Any]:
        """Start the task of the step's name; see `flows.runner.Runner`.

        Quoted arguments are not searched for futures. The earlier steps are an argument, too,
        because Prefect's process runner loses `allow_failure` in `wait_for`.
        """
        future: PrefectFuture[Any] = TASKS[stage.__name__].submit(
            *map(quote, arguments), after=allow_failure(list(after)), **options
        )
        return future

    def results(self, submitted: Sequence[PrefectFuture[Any]]) -> list[StageResult]:
        """Wait for steps; see `flows.runner.Runner`."""
        wait(list(submitted))
        results = [future.result(raise_on_failure=False) for future in submitted]
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results


@contextmanager
def prefect_runner(stop: threading.Event) -> Iterator[PrefectRunner]:
    """A runner for a flow; `stop` is set when the flow run is ended, by a worker or by Ctrl-C."""
    # Each step would have the flow run's tags, and ask the server before it begins whether there is
    # a limit of runs with them.
    without_tags = TagsContext(current_tags=set())
    try:
        with without_tags:
            yield PrefectRunner()
    except BaseException:
        stop.set()  # Prefect waits for the steps, which end in order
        raise
