"""A pipeline as a Prefect flow run: what the flows `sync` and `replay` share.

Prefect is imported here and in the modules that are flows; a plain command imports none of them.
"""

from __future__ import annotations

import logging
import threading
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect.exceptions import CancelledRun, FailedRun
from prefect.states import Cancelled, Failed

from flows.context import Progress, RunContext, prepare, silent
from flows.prefect_runner import PrefectRunner, end_message, end_state
from tasks.errors import HaloUsmError, explain
from tasks.redaction import foreign_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect import State

    from flows.runner import Runner
    from tasks.results import StageResult
    from tasks.settings import Settings


@dataclass
class Session:
    """What the command that starts a flow run shares with it; a deployed run has its own.

    Attributes:
        stop: Set when the run is to end early, in order.
        progress: Told how far each step is.
        begun: Set before the first step.
        ended: Set after the last one.
        results: What the steps said.
        fault: What a step raised, which is a bug.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    progress: Progress = silent
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    results: list[StageResult] = field(default_factory=list)
    fault: Exception | None = None


_SESSION: ContextVar[Session | None] = ContextVar("session", default=None)


def in_session(session: Session, call: Callable[[], State[Any]]) -> Callable[[], State[Any]]:
    """A call of a flow that shares this session with it, for another thread."""
    context = copy_context()
    context.run(_SESSION.set, session)
    return lambda: context.run(call)


def flow_body(
    read: Callable[[], Settings],
    pipeline: Callable[[RunContext, Runner], list[StageResult]],
    *,
    accounts: bool,
    destination: str | None = None,
) -> State[Any]:
    """Run a pipeline in the flow run around it, and say how it ended as a state.

    A failed state names what failed; an expected fault is never a stack trace.
    """
    logging.getLogger("prefect.flow_runs").addFilter(_is_no_state)
    session = _SESSION.get() or Session()
    try:
        context = prepare(
            read(),
            accounts=accounts,
            sensors=True,
            writes=True,
            destination=destination,
            stop=session.stop,
            progress=session.progress,
        )
        session.begun.set()
        try:
            session.results = pipeline(context, PrefectRunner())
        finally:
            session.ended.set()
    except HaloUsmError as error:
        return Failed(message=foreign_text(error, None))
    except (OSError, UnicodeError) as error:
        return Failed(message=explain(error))
    except Exception as error:
        session.fault = error
        raise
    except BaseException:
        session.stop.set()  # the worker wants this run to end: let the steps end in order
        raise
    interrupted = any(result.interrupted for result in session.results)
    if interrupted and not any(result.problems for result in session.results):
        message = end_message(session.results)
        return Cancelled(message=f"Interrupted; the next run goes on where it was.\n{message}")
    return end_state(session.results)


def _is_no_state(record: logging.LogRecord) -> bool:
    """Refuse the stack trace that Prefect logs where a worker's run ends in such a state."""
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun | CancelledRun))
