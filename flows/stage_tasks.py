"""The steps of a pipeline as Prefect tasks: those of `flows.stages`, under the same names.

Each task gets plain arguments and returns a state whose data is the step's result. So any task
runner can run it, also in other processes or, given a `RunElsewhere` as context, on Dask workers. A
step that reports problems is a failed task run.
"""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prefect import State, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows import stages
from flows.dask_worker import RunElsewhere, ended_with_worker
from flows.states import task_state
from flows.summary import remarks
from tasks.errors import HaloUsmError
from tasks.redaction import foreign_text
from tasks.results import StageResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from logging import Logger, LoggerAdapter

    from flows.context import RunContext
    from tasks.staging.deliveries.pending import Only
    from tasks.time_window import Window


_OPTIONS: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


@task(name="extract", task_run_name="extract-{account}", **_OPTIONS)
def extract(
    context: RunContext | RunElsewhere,
    account: str,
    window: Window | None = None,
    **options: Any,
) -> State[StageResult]:
    """Stage the raw events of an account; see `flows.stages.extract`."""
    return _run(stages.extract, context, account, window, **options)


@task(name="transform", task_run_name="transform-{account}", **_OPTIONS)
def transform(
    context: RunContext | RunElsewhere,
    account: str,
    window: Window | None = None,
    **options: Any,
) -> State[StageResult]:
    """Normalize the raw events of an account; see `flows.stages.transform`."""
    return _run(stages.transform, context, account, window, **options)


@task(name="load", task_run_name="load-{destination}", **_OPTIONS)
def load(
    context: RunContext | RunElsewhere, destination: str, **options: Any
) -> State[StageResult]:
    """Deliver to a destination what is pending; see `flows.stages.load`."""
    return _run(stages.load, context, destination, **options)


@task(name="replay", task_run_name="replay-{destination}", **_OPTIONS)
def replay(
    context: RunContext | RunElsewhere,
    destination: str,
    window: Window,
    only: Only,
    **options: Any,
) -> State[StageResult]:
    """Deliver a range to a destination again; see `flows.stages.replay`."""
    return _run(stages.replay, context, destination, window, only, **options)


@task(name="maintain", task_run_name="maintain-{account}", **_OPTIONS)
def maintain(
    context: RunContext | RunElsewhere, account: str, now: datetime, **options: Any
) -> State[StageResult]:
    """Compact, seal and drop days of an account; see `flows.stages.maintain`."""
    return _run(stages.maintain, context, account, now, **options)


TASKS = {one.name: one for one in (extract, transform, load, replay, maintain)}


def _run(
    stage: Callable[..., StageResult],
    context: RunContext | RunElsewhere,
    subject: str,
    *arguments: Any,
    **options: Any,
) -> State[StageResult]:
    """Run a step of an account or destination, and log its remarks at their levels."""
    logging.getLogger("prefect.task_runs").addFilter(_is_no_state)
    log = get_run_logger()
    try:
        with _prepared(context) as here, _logged(log):
            result = stage(here, subject, *arguments, **options)
    except HaloUsmError as error:  # the run cannot be prepared on this machine
        result = StageResult(subject, problems=[foreign_text(error, None)])
    for level, text in remarks([result]):
        log.log(level, text)
    return task_state(result)


@contextmanager
def _prepared(context: RunContext | RunElsewhere) -> Iterator[RunContext]:
    """The run as it is on this machine; it ends early where this process is to end."""
    if isinstance(context, RunElsewhere):
        here = context.prepared()
        with ended_with_worker(here):
            yield here
    else:
        with _stopped_by_signals(context.stop):
            yield context


def _is_no_state(record: logging.LogRecord) -> bool:
    """Refuse Prefect's own words of a failed state: the step's result, and no stack trace."""
    return record.exc_info != (None, None, None)


@contextmanager
def _logged(log: Logger | LoggerAdapter[Logger]) -> Iterator[None]:
    """Put into the log of the task run what the step itself logs, such as for whom it waits."""
    thread = threading.get_ident()

    class ToTaskRun(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                log.log(record.levelno, foreign_text(record.getMessage(), None))

    logger, handler = logging.getLogger("tasks"), ToTaskRun()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let the first SIGTERM or SIGINT stop a step in order; a second one acts as it did before.

    Only a main thread can handle signals. Prefect's process runner runs a step there; with
    threads, the flow itself is there, and `prefect_runner` stops the steps.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(_number: int, _frame: object) -> None:
        restore()
        stop.set()

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        restore()
