"""A command's pipeline as a flow run: on the configured Prefect server, or on a temporary one.

The steps do not wait for the server. If the server dies or hangs during the run, only its record
of the run is lost: the command warns of that, and its exit code says what the steps did.
"""

from __future__ import annotations

import atexit
import functools
import logging
import math
import os
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import ValidationError

from flows.cli.prefect_server import PrefectServer, prefect_server
from tasks.errors import HaloUsmError, SettingsError
from tasks.redaction import foreign_text, redact, redact_address
from tasks.settings import prefect_api_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect import Flow, State

    from flows.context import RunContext
    from flows.pipeline import Pipeline
    from tasks.results import StageResult

_BEGIN_SECONDS = 120.0
_REPORT_SECONDS = 30.0
"""How long to wait for the server before the first step, and after the last one."""
_STOP_SECONDS = 5.0
"""How long to wait for the first step to begin once the command is to end."""
_JSON = "application/json"
_PREFECT = ("prefect", "EventsWorker", "APILogWorker")
_OF_RUNS = ("prefect.flow_runs", "prefect.task_runs")
"""The loggers of Prefect, and those of flow and task runs among them."""


def run_as_flow(
    name: str, parameters: dict[str, Any], pipeline: Pipeline, context: RunContext
) -> tuple[list[StageResult], list[str]]:
    """Run the flow of this name in this process, with a context that is prepared already.

    `parameters` are for the server to show. Returns the results of the steps, and warnings: that
    the server does not know the end of the run, or else those of Prefect.

    Raises:
        HaloUsmError: The Prefect API does not answer, the flow run failed before any of its steps
            ran, or a step could not be started.
        KeyboardInterrupt: The run was stopped before any of its steps ran.
    """
    os.environ["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "false"
    url = prefect_api_url()
    if url is not None:
        _flow(name)  # names a fault in Prefect's own settings before the server is asked
        check_api(url)
    else:
        server = _temporary_server()
        server.wait_until_ready(context.stop)
        if context.stop.is_set():
            raise KeyboardInterrupt
        url = server.url
        os.environ.update(server.environment)
    run = _FlowRun(_flow(name), parameters, pipeline, context)
    warnings = _prefect_warnings()
    run.start()
    results, lost = run.results(redact_address(url))
    return results, lost or warnings  # where the report is lost, Prefect's warnings say it again


def _temporary_server() -> PrefectServer:
    """A server that ends with this process: Prefect sends its last reports at the very end."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(prefect_server(only_reports=True))


def check_api(url: str) -> None:
    """Ask the configured Prefect API for an answer, because Prefect itself would wait for it."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=10)
    except httpx.HTTPError as error:
        raise HaloUsmError(
            f"PREFECT_API_URL: the Prefect API at {redact_address(url)} does not answer "
            f"({foreign_text(redact(str(error)))}); start it (prefect server start), or unset "
            "PREFECT_API_URL to run without Prefect"
        ) from None
    except (httpx.InvalidURL, ValueError, ImportError):
        # not shown: it may hold a password
        raise SettingsError(
            "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is not a proxy that Prefect can use: write "
            "http:// or https:// and a host, or name the host of PREFECT_API_URL in NO_PROXY"
        ) from None
    if answer.is_success and not answer.headers.get("Content-Type", "").startswith(_JSON):
        raise HaloUsmError(
            f"PREFECT_API_URL: what answers at {redact_address(url)} is no Prefect API; write its "
            "address, such as http://127.0.0.1:4200/api, or unset PREFECT_API_URL to run without "
            "Prefect"
        )


def _flow(name: str) -> Flow[..., State[Any]]:
    """Import a flow, and with it Prefect, which reads its own settings then.

    Raises:
        SettingsError: One of them cannot be used.
    """
    try:
        from flows.maintain import maintain
        from flows.replay import replay
        from flows.sync import sync
    except ValidationError as error:
        raise SettingsError(
            *(
                f"Prefect's settings ({error.title}): {'.'.join(map(str, fault['loc']))}: "
                f"{fault['msg']}; correct it among the PREFECT_ variables"
                for fault in error.errors(include_url=False, include_input=False)
            )
        ) from None
    flows: list[Flow[..., State[Any]]] = [sync, replay, maintain]
    return next(flow for flow in flows if flow.name == name)


class _FlowRun(threading.Thread):
    """Runs a flow in a thread that this process does not wait for when it ends.

    In the main thread Prefect would handle SIGTERM. The flow's body is replaced by its pipeline
    with the context of this command, so that the command has the results before they are reported
    to the server.
    """

    def __init__(
        self,
        flow: Flow[..., State[Any]],
        parameters: dict[str, Any],
        pipeline: Pipeline,
        context: RunContext,
    ) -> None:
        from flows.states import faults_as_states

        super().__init__(name="flow", daemon=True)
        self._flow = flow.with_options()
        self._flow.fn = functools.wraps(flow.fn)(faults_as_states(self._body))
        self._parameters = parameters
        self._pipeline = pipeline
        self._context = context
        self._begun = threading.Event()
        self._ended = threading.Event()
        self._results: list[StageResult] = []
        self._raised: Exception | None = None
        self._state: State[Any] | None = None
        self._error: Exception | None = None

    def _body(self, *_parameters: object) -> State[Any]:
        from prefect.runtime import flow_run

        from flows.flow_report import end_flow
        from flows.prefect_runner import prefect_runner

        self._begun.set()
        self._context = self._context.under(flow_run.id)
        try:
            with prefect_runner(self._context) as runner:
                self._results = self._pipeline(self._context, runner)
        except Exception as error:
            self._raised = error
            raise
        finally:
            self._ended.set()
        return end_flow(self._context, self._results)

    def run(self) -> None:
        """Call the flow."""
        from prefect import tags

        from flows.prefect_events import TAG

        try:
            with tags(TAG):
                self._state = self._flow(**self._parameters, return_state=True)
        except Exception as error:  # noqa: BLE001 - whatever Prefect's client raises is reported
            self._error = error

    def results(self, server: str) -> tuple[list[StageResult], list[str]]:
        """The results of the steps, and a warning if the server was not told of the end."""
        self._wait()
        if self._raised is not None:
            raise self._raised
        if not self._begun.is_set():
            if self._context.stop.is_set():
                raise KeyboardInterrupt
            self._context.stop.set()  # in case it begins after all
            if self._state is not None:
                raise HaloUsmError(self._state.message or "the flow run failed; see its log")
            raise HaloUsmError(
                f"no step ran: the Prefect server at {server} failed ({self._fault()}); run "
                "again, or unset PREFECT_API_URL to run without Prefect"
            )
        if not (fault := self._fault()):
            return self._results, []
        lost = (
            f"the Prefect server at {server} was not told how this run ended ({fault}), and may "
            "show it as running for ever; the output of this command says what the run did"
        )
        return self._results, [lost]

    def _fault(self) -> str:
        """Why the server does not know how the flow run ended; empty if it does."""
        if self._error is not None:
            return foreign_text(
                redact((str(self._error) or type(self._error).__name__).splitlines()[0])
            )
        return "" if self._state is not None and self._state.is_final() else "it does not answer"

    def _wait(self) -> None:
        """Wait until the flow run has ended, or its server has taken too long."""

        def wait_for(condition: Callable[[], bool], seconds: float = math.inf) -> None:
            until = time.monotonic() + seconds
            while self.is_alive() and not condition() and time.monotonic() < until:
                self.join(0.1)

        wait_for(lambda: self._begun.is_set() or self._context.stop.is_set(), _BEGIN_SECONDS)
        wait_for(self._begun.is_set, _STOP_SECONDS)
        if self._begun.is_set():
            wait_for(self._ended.is_set)
            self.join(_REPORT_SECONDS)


def _prefect_warnings() -> list[str]:
    """Keep Prefect's log off stderr, and collect its warnings in the list that is returned.

    The list grows during the run. The steps' own remarks are not in it; they are in the results.
    The server gets the whole log.
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
    logging.raiseExceptions = False  # else logging itself writes its faults to stderr
    return warnings
