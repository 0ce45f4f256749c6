"""The Prefect states in which task runs and flow runs end."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, ParamSpec

from prefect import get_run_logger
from prefect.exceptions import CancelledRun, FailedRun
from prefect.states import Cancelled, Completed, Failed

from flows.dry_run import plan_table
from flows.summary import remarks, summary
from tasks.errors import HaloUsmError, explain
from tasks.redaction import foreign_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prefect import State

    from tasks.load.replay_plan import ReplayPlan
    from tasks.results import StageResult

P = ParamSpec("P")

_MOST_REMARKS = 10
"""Pages and alerts show a state's message whole; where a disk fails, each day is a problem."""


def task_state(result: StageResult) -> State[Any]:
    """The state of a task run that did this step, with its result as data."""
    return _state([result], data=result)


def flow_state(results: Sequence[StageResult]) -> State[Any]:
    """The state of a flow run that did these steps."""
    problems = any(result.problems for result in results)
    if any(result.interrupted for result in results) and not problems:
        message = f"Interrupted; the next run goes on where it was.\n{_message(results)}"
        return Cancelled(message=message)
    return _state(results)


def plan_state(plan: ReplayPlan) -> State[Any]:
    """The state of a flow run that only said what a replay would send; its log says it, too."""
    problems, notes = (
        [foreign_text(text, None) for text in texts] for texts in (plan.problems, plan.notes)
    )
    message = "\n".join([*problems, plan_table(plan), *notes])
    get_run_logger().info(message)
    return Failed(message=message) if plan.problems else Completed(message=message)


def _state(results: Sequence[StageResult], data: StageResult | None = None) -> State[Any]:
    message = _message(results)
    if any(result.problems for result in results):
        return Failed(message=message, data=data)
    if results and all(result.held for result in results):
        runs = dict.fromkeys(result.held_by for result in results if result.held_by)
        left = f"left to run {', '.join(runs)}" if runs else "left to another run, which holds it"
        return Completed(name="Skipped", message=f"{left}\n{message}", data=data)
    return Completed(message=message, data=data)


def _message(results: Sequence[StageResult]) -> str:
    """Problems first, then a line a step, then notes and warnings; of many the first ones."""
    said = remarks(results)
    problems = [text for level, text in said if level == logging.ERROR]
    others = [text for level, text in said if level != logging.ERROR]
    return "\n".join([*_first(problems), *map(summary, results), *_first(others)])


def _first(texts: list[str]) -> list[str]:
    more = len(texts) - _MOST_REMARKS
    return [*texts[:_MOST_REMARKS], f"and {more:,} more: see the log"] if more > 0 else texts


def faults_as_states(body: Callable[P, State[Any]]) -> Callable[P, State[Any]]:
    """Let a flow end in a failed state that names an expected fault, without a stack trace.

    The fault is an error in the log of the flow run, too.
    """

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> State[Any]:
        logging.getLogger("prefect.flow_runs").addFilter(_keeps_record)
        try:
            return body(*args, **kwargs)
        except HaloUsmError as error:
            message = foreign_text(error, None)
        except (OSError, UnicodeError) as error:
            message = explain(error)
        get_run_logger().error(message)
        return Failed(message=message)

    return run


def _keeps_record(record: logging.LogRecord) -> bool:
    """False for the stack trace that a worker logs where a run has failed or was cancelled."""
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun | CancelledRun))
