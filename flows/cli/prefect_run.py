"""A command's pipeline as a flow run: on the configured Prefect server, or on a temporary one.

The steps do not wait for the server. One that dies or hangs in mid-run costs its own record of
the run and nothing else: the command says so, and ends by what the steps did.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import ValidationError

from flows.cli.prefect_server import PrefectServer, prefect_server
from tasks.errors import HaloUsmError, SettingsError
from tasks.redaction import foreign_text, redact, redact_address
from tasks.settings import prefect_api_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect import State

    from flows.context import Progress
    from flows.flow_run import Session
    from tasks.results import StageResult

_BEGIN_SECONDS = 120.0
_REPORT_SECONDS = 30.0
"""How long the server is waited for before the first step, and after the last one."""
_STOP_SECONDS = 5.0
"""How long it is waited for where the first step does not begin, and the command is to end."""
_PREFECT = ("prefect", "EventsWorker", "APILogWorker")
_OF_RUNS = ("prefect.flow_runs", "prefect.task_runs")
"""The loggers of Prefect, and among them those of flow and task runs."""


@dataclass(frozen=True)
class FlowOutcome:
    """What the steps of a flow run did, and what its Prefect server was not told, or warned of."""

    results: list[StageResult]
    warnings: list[str] = field(default_factory=list)


def run_as_flow(
    name: str, parameters: dict[str, Any], stop: threading.Event, progress: Progress
) -> FlowOutcome:
    """Run the flow of this name in this process.

    Raises:
        HaloUsmError: The Prefect API does not answer, or the flow run failed before any of its
            steps ran.
        KeyboardInterrupt: `stop` was set before any of its steps ran.
    """
    os.environ["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "false"
    url = prefect_api_url()
    if url is not None:
        _load_flow(name)  # what is wrong with Prefect's own settings is said before
        _check_api(url)
    else:
        server = _temporary_server()
        server.wait_until_ready(stop)
        if stop.is_set():
            raise KeyboardInterrupt
        url = server.url
        os.environ.update(server.environment)
    return _run(name, parameters, redact_address(url), stop, progress)


def _temporary_server() -> PrefectServer:
    """A server until this process ends: only then does Prefect send the last of its reports."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(prefect_server(only_reports=True))


def _check_api(url: str) -> None:
    """See whether the configured Prefect API answers, before Prefect waits for it."""
    try:
        httpx.get(f"{url.rstrip('/')}/health", timeout=10)
    except httpx.HTTPError as error:
        raise HaloUsmError(
            f"PREFECT_API_URL: the Prefect API at {redact_address(url)} does not answer "
            f"({foreign_text(redact(str(error)))}); start it (prefect server start), or unset "
            "PREFECT_API_URL to run without Prefect"
        ) from None
    except (httpx.InvalidURL, ValueError, ImportError):
        # not shown: it may hold a password
        raise SettingsError(
            "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is no proxy that Prefect can use: write http:// "
            "or https:// and a host, or name the host of PREFECT_API_URL in NO_PROXY"
        ) from None


def _load_flow(name: str) -> Callable[..., State[Any]]:
    """Import a flow, and Prefect, which reads its own settings then.

    Raises:
        SettingsError: One of them cannot be used.
    """
    try:
        found: Callable[..., State[Any]] = getattr(import_module(f"flows.{name}"), name)
    except ValidationError as error:
        raise SettingsError(
            *(
                f"Prefect's settings ({error.title}): {'.'.join(map(str, fault['loc']))}: "
                f"{fault['msg']}; correct it among the PREFECT_ variables"
                for fault in error.errors(include_url=False, include_input=False)
            )
        ) from None
    return found


def _run(
    name: str, parameters: dict[str, Any], server: str, stop: threading.Event, progress: Progress
) -> FlowOutcome:
    flow = _load_flow(name)
    from flows.flow_run import Session, in_session

    warnings = _prefect_warnings()
    session = Session(stop=stop, progress=progress)
    call = _Call(in_session(session, lambda: flow(**parameters, return_state=True)))
    call.start()
    _wait(call, session)
    if session.fault is not None:
        raise session.fault
    if not session.begun.is_set():
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()  # should it begin after all
        if call.state is not None:
            raise HaloUsmError(call.state.message or "the flow run failed; see its log")
        raise HaloUsmError(
            f"no step ran: the Prefect server at {server} failed ({call.fault}); run again, or "
            "unset PREFECT_API_URL to run without Prefect"
        )
    if call.fault:
        told = f"the Prefect server at {server} was not told how this run ended ({call.fault}), "
        warnings = [f"{told}and may show it as running for ever; what it did is what is said here"]
    return FlowOutcome(session.results, warnings)


class _Call(threading.Thread):
    """Calls a flow in a thread, which this process does not wait for when it ends.

    Only in the main thread would Prefect take SIGTERM for itself.
    """

    def __init__(self, flow: Callable[[], State[Any]]) -> None:
        super().__init__(name="flow", daemon=True)
        self._flow = flow
        self._error: Exception | None = None
        self.state: State[Any] | None = None

    def run(self) -> None:
        """Call the flow."""
        try:
            self.state = self._flow()
        except Exception as error:  # noqa: BLE001 - whatever Prefect's client raises, it is told
            self._error = error

    @property
    def fault(self) -> str:
        """Why the server does not know how the flow run ended; empty where it does."""
        if self._error is not None:
            return foreign_text(
                redact((str(self._error) or type(self._error).__name__).splitlines()[0])
            )
        return "" if self.state is not None and self.state.is_final() else "it does not answer"


def _wait(call: _Call, session: Session) -> None:
    """Wait until a flow run has ended, or its server is given up."""

    def wait_for(condition: Callable[[], bool], seconds: float = math.inf) -> None:
        until = time.monotonic() + seconds
        while call.is_alive() and not condition() and time.monotonic() < until:
            call.join(0.1)

    wait_for(lambda: session.begun.is_set() or session.stop.is_set(), _BEGIN_SECONDS)
    wait_for(session.begun.is_set, _STOP_SECONDS)
    if session.begun.is_set():
        wait_for(session.ended.is_set)
        call.join(_REPORT_SECONDS)


def _prefect_warnings() -> list[str]:
    """Keep what Prefect logs off stderr; what it warns of, but for the steps' own, is returned.

    The list fills as the run goes on. The log of a run goes to the server as it was.
    """
    warnings: list[str] = []

    def shown(record: logging.LogRecord) -> bool:
        if not record.name.startswith(_PREFECT):
            return True
        if record.levelno >= logging.WARNING and not record.name.startswith(_OF_RUNS):
            warnings.append(f"Prefect: {foreign_text(redact(record.getMessage()))}")
        return False

    for name in (None, "prefect._internal"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(shown)
    logging.raiseExceptions = False  # else it writes to stderr what it could not log
    return warnings
