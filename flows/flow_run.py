"""A pipeline as a Prefect flow run: what the flows `sync` and `replay` share.

Prefect is imported here and in the modules that are flows; a plain command imports none of them.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import httpx
from prefect.states import Cancelled, Completed, Failed

from flows.prefect_runner import PrefectRunner
from flows.report import summary
from flows.work import Progress, Work, prepare, silent
from tasks.errors import HaloUsmError
from tasks.redaction import redact
from tasks.settings import prefect_api_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect import State

    from flows.runner import Runner, StageResult
    from tasks.settings import Settings


@dataclass
class Session:
    """What the command that starts a flow run shares with it; a deployed run has its own."""

    stop: threading.Event = field(default_factory=threading.Event)
    progress: Progress = silent
    results: list[StageResult] = field(default_factory=list)


_SESSION: ContextVar[Session | None] = ContextVar("session", default=None)


def run_flow(
    name: str, parameters: dict[str, Any], stop: threading.Event, progress: Progress
) -> list[StageResult]:
    """Run the flow of this name in this process, for a command.

    Raises:
        HaloUsmError: The configured Prefect API does not answer, or the flow run failed before
            any of its steps ran.
    """
    check_api(prefect_api_url())
    flow = getattr(import_module(f"flows.{name}"), name)
    session = Session(stop=stop, progress=progress)
    token = _SESSION.set(session)
    try:
        state: State[Any] = flow(**parameters, return_state=True)
    finally:
        _SESSION.reset(token)
    if state.is_failed() and not session.results:
        raise HaloUsmError(state.message or "The flow run failed; see its log.")
    return session.results


def check_api(url: str | None) -> None:
    """See whether the configured Prefect API answers, before Prefect waits for it.

    Raises:
        HaloUsmError: It does not.
    """
    if url is None:
        return
    try:
        httpx.get(f"{url.rstrip('/')}/health", timeout=10)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        shown = redact(url)
        raise HaloUsmError(
            f"PREFECT_API_URL: the Prefect API at {shown} does not answer ({error}); start it "
            "(prefect server start), or unset PREFECT_API_URL to run without Prefect"
        ) from None


def flow_body(
    read: Callable[[], Settings],
    pipeline: Callable[[Work, Runner], list[StageResult]],
    *,
    accounts: bool,
    destination: str | None = None,
) -> State[Any]:
    """Run a pipeline in the flow run around it, and say how it ended as a state.

    A failed state names what failed; an expected fault is never a stack trace.
    """
    session = _SESSION.get() or Session()
    try:
        work = prepare(
            read(),
            accounts=accounts,
            sensors=True,
            writes=True,
            destination=destination,
            stop=session.stop,
            progress=session.progress,
        )
        session.results = pipeline(work, PrefectRunner())
    except HaloUsmError as error:
        return Failed(message=str(error))
    except BaseException:
        session.stop.set()  # the worker wants this run to end: let the steps end in order
        raise
    problems = [problem for result in session.results for problem in result.problems]
    if problems:
        return Failed(message="\n".join(problems))
    if any(result.interrupted for result in session.results):
        return Cancelled(message="Interrupted; the next run goes on where this one was.")
    return Completed(message="\n".join(summary(session.results)))
