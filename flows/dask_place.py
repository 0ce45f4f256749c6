"""Runs steps on the workers of a Dask cluster, by prefect-dask.

A step whose worker dies is run again on another one, once the dead worker's lease has lapsed: it
goes on from what is staged and recorded. A replay is run in the process of the flow run instead,
because `only=all` would send everything again.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prefect.context import FlowRunContext, SettingsContext
from prefect.flows import Flow
from prefect.results import ResultStore
from prefect.settings import Profile, Settings, get_current_settings
from prefect.settings.models.api import APISettings
from prefect_dask.task_runners import DaskTaskRunner

from flows import stages
from flows.dask_scheduler import CONNECT_SECONDS, START_WORKERS, no_scheduler
from flows.dask_worker import RunElsewhere, end_run
from flows.stage_tasks import TASKS
from flows.task_place import FlowsTaskRunner
from tasks.errors import HaloUsmError
from tasks.redaction import foreign_text
from tasks.results import StageResult
from tasks.staging import lease

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect.futures import PrefectFuture

    from flows.context import RunContext
    from flows.task_place import Step

_STEPS_A_THREAD = 2
"""How many steps are given to the cluster for each of its threads, so that none waits for work."""
_MOST_RUNS = 4
"""How often a step is begun that ends early with its worker."""
_HELD_PAUSE = 5.0
"""After so many seconds a step is begun again whose dead predecessor's lease has not lapsed."""
_HELD_LONGEST = 2.0
"""For how many times the life of a lease that is tried."""
_COUNT_EVERY = 1.0
_WORKER_SECONDS = 60.0
"""How long a run waits for a worker where there is none (any more)."""


class DaskPlace:
    """The workers of a Dask cluster; see `flows.task_place.Place`.

    Args:
        cluster: Prefect's task runner, connected.
        context: The run.
    """

    def __init__(self, cluster: DaskTaskRunner, context: RunContext) -> None:
        self._cluster = cluster
        self._context = context
        self._elsewhere = RunElsewhere.of(context)
        self._here = FlowsTaskRunner()
        self._threads, self._counted, self._seen = 0, 0.0, time.monotonic()
        self._held_since: dict[Step, float] = {}

    def room(self) -> int:
        """Some steps for each thread of the cluster, counted anew every second.

        Raises:
            HaloUsmError: There is no worker, nor was one for some time.
        """
        now, client = time.monotonic(), self._cluster.client
        if now - self._counted >= _COUNT_EVERY:
            self._counted = now
            running = client.status == "running"
            self._threads = client.scheduler_info(n_workers=0)["total_threads"] if running else 0
        if self._threads:
            self._seen = now
        elif now - self._seen > _WORKER_SECONDS:
            raise HaloUsmError(
                f"the Dask scheduler at {self._cluster.address} has had no worker for "
                f"{_WORKER_SECONDS:g} seconds; {START_WORKERS}; the next run goes on"
            )
        return self._threads * _STEPS_A_THREAD

    def begin(self, step: Step) -> PrefectFuture[Any]:
        """Give a step to the cluster."""
        if step.stage is stages.replay:
            return self._here.begin(step)
        task = TASKS[step.stage.__name__]
        # unquoted: Dask makes a plain tuple of Prefect's `quote`, as of any tuple
        parameters = step.parameters(self._elsewhere, *step.arguments[1:])
        with _without_secrets():
            future: PrefectFuture[Any] = self._cluster.submit(
                task, parameters, dependencies=step.inputs
            )
        return future

    def result(self, step: Step) -> StageResult | None:
        """What a step did; None where it is to be begun again.

        It is where it ended with its worker, or where another run is said to hold its account or
        destination that is this run itself: a dead worker's lease.

        Raises:
            Exception: The step has a bug.
        """
        assert step.future is not None
        try:
            result: StageResult | BaseException = step.future.result(raise_on_failure=False)
        except Exception as error:  # noqa: BLE001 - whatever Dask raises: the step has no result
            return self._lost(step, str(error) or type(error).__name__)
        if isinstance(result, BaseException):
            raise result
        if self._context.stop.is_set() or result.problems:
            return result
        if result.held and result.held_by == self._context.run_id:
            since = self._held_since.setdefault(step, time.monotonic())
            if time.monotonic() - since > _HELD_LONGEST * lease.SECONDS:
                return self._lost(step, "its worker was lost more than once")
            step.not_before = time.monotonic() + _HELD_PAUSE
            return None
        return None if result.interrupted and step.runs < _MOST_RUNS else result

    def _lost(self, step: Step, why: object) -> StageResult:
        problem = (
            f"{step.name}: the Dask cluster gave no result ({foreign_text(why)}); look at the logs "
            "of its workers; the next run goes on"
        )
        return StageResult(step.name, problems=[problem])

    def stop(self) -> None:
        """Tell the workers that the run ends; see `flows.task_place.Place`."""
        client = self._cluster.client
        tell = threading.Thread(
            target=client.run,
            args=(end_run, self._context.run_id),
            kwargs={"on_error": "ignore"},
            daemon=True,  # a worker that does not answer must not keep the process
        )
        tell.start()


@contextmanager
def dask_place(address: str, context: RunContext) -> Iterator[DaskPlace]:
    """The workers of the scheduler at this address, for one run.

    Raises:
        HaloUsmError: It does not answer.
    """
    with DaskTaskRunner(address=address, client_kwargs={"timeout": CONNECT_SECONDS}) as cluster:
        try:
            cluster.client  # noqa: B018 - connects
        except (OSError, ValueError) as error:
            raise no_scheduler(address, error) from None
        yield DaskPlace(cluster, context)


def _of_flow_run() -> None:
    """What a worker gets in the place of the flow's function."""


@contextmanager
def _without_secrets() -> Iterator[None]:
    """What Prefect pickles with a task within this context: the flow run, and no secret.

    Prefect would pickle all of its settings, its password and that of its database among them, the
    run's parameters and the storage of results with its keys. A worker gets the API's address, and
    has the rest in its own environment.
    """
    run = FlowRunContext.get()
    assert run is not None
    assert run.flow is not None
    assert run.flow_run is not None
    flow_run = run.flow_run.model_copy(update={"parameters": {}, "job_variables": {}})
    own = {
        "flow": Flow(_of_flow_run, name=run.flow.name),
        "flow_run": flow_run,
        "parameters": {},
        "result_store": ResultStore(),
    }
    url = get_current_settings().api.url
    settings = Settings.model_construct(api=APISettings.model_construct(url=url))
    with (
        run.model_copy(update=own),
        SettingsContext.model_construct(profile=Profile(name="flow run"), settings=settings),
    ):
        yield
