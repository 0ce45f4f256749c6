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
from flows.step_executor import FlowExecutor
from tasks.errors import HaloUsmError
from tasks.redaction import foreign_text
from tasks.results import StageResult
from tasks.staging.storage import lease

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect.futures import PrefectFuture

    from flows.context import RunContext
    from flows.step_executor import Step

_STEPS_A_THREAD = 2
"""How many steps are given to the cluster for each of its threads, so that none waits for work."""
_MOST_TIMES_BEGUN = 4
"""How often a step is begun at most, where each time its worker ended before it did."""
_LEASE_PAUSE = 5.0
"""Seconds before a step is begun again that found the lease of its own dead worker."""
_LONGEST_LEASES = 2.0
"""How long that goes on, in lives of a lease: such a lease lapses within one."""
_COUNT_SECONDS = 1.0
"""After so long the threads of the cluster are counted anew."""
_WORKER_SECONDS = 60.0
"""How long a run waits for a first or another worker where there is none."""


class DaskExecutor:
    """Runs steps on the workers of a Dask cluster; see `flows.step_executor.StepExecutor`.

    Args:
        cluster: Prefect's task runner, connected.
        context: The run.
    """

    def __init__(self, cluster: DaskTaskRunner, context: RunContext) -> None:
        self._cluster = cluster
        self._context = context
        self._elsewhere = RunElsewhere.of(context)
        self._here = FlowExecutor()
        self._threads, self._counted_at, self._seen_at = 0, 0.0, time.monotonic()
        self._held_since: dict[Step, float] = {}

    def capacity(self) -> int:
        """Some steps for each thread of the cluster.

        Raises:
            HaloUsmError: There is no worker, nor was one for some time.
        """
        now, client = time.monotonic(), self._cluster.client
        if now - self._counted_at >= _COUNT_SECONDS:
            self._counted_at = now
            running = client.status == "running"
            self._threads = client.scheduler_info(n_workers=0)["total_threads"] if running else 0
        if self._threads:
            self._seen_at = now
        elif now - self._seen_at > _WORKER_SECONDS:
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

        It is begun again where it ended with its worker, or where its account or destination is
        held by this very run: that is the lease of a worker that died.

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
            if time.monotonic() - since > _LONGEST_LEASES * lease.SECONDS:
                return self._lost(step, "its worker was lost more than once")
            step.not_before = time.monotonic() + _LEASE_PAUSE
            return None
        return None if result.interrupted and step.times_begun < _MOST_TIMES_BEGUN else result

    def _lost(self, step: Step, why: object) -> StageResult:
        problem = (
            f"{step.name}: the Dask cluster gave no result ({foreign_text(why)}); look at the logs "
            "of its workers; the next run goes on"
        )
        return StageResult(step.name, problems=[problem])

    def stop(self) -> None:
        """Tell the workers that the run ends; see `flows.step_executor.StepExecutor`."""
        client = self._cluster.client
        tell = threading.Thread(
            target=client.run,
            args=(end_run, self._context.run_id),
            kwargs={"on_error": "ignore"},
            daemon=True,  # a worker that does not answer must not keep the process
        )
        tell.start()


@contextmanager
def dask_executor(address: str, context: RunContext) -> Iterator[DaskExecutor]:
    """Runs the steps of one run on the workers of the scheduler at this address.

    Raises:
        HaloUsmError: It does not answer.
    """
    with DaskTaskRunner(address=address, client_kwargs={"timeout": CONNECT_SECONDS}) as cluster:
        try:
            cluster.client  # noqa: B018 - connects
        except (OSError, ValueError) as error:
            raise no_scheduler(address, error) from None
        yield DaskExecutor(cluster, context)


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
