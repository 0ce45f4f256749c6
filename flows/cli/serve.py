"""`halo-usm serve`: the schedules of the deployments in one process, without a worker."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx

from flows.cli.output import say
from flows.cli.prefect_server import PrefectServer, prefect_server
from flows.context import export_prefect_settings
from tasks.errors import HaloUsmError, SettingsError
from tasks.redaction import foreign_text, redact, redact_address
from tasks.settings import prefect_api_url, read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from prefect.deployments.runner import RunnerDeployment
    from prefect.runner import Runner

_NAME = "halo-usm"
_PREFECT_PORT = 4200
_STOP_SECONDS = 60.0
"""How long the runs that have begun may take to end in order."""
_POLL_SECONDS = 0.5


def run_serve(env_file: Path | None, stop: threading.Event) -> None:
    """Serve the deployments on the configured Prefect API, or on a server that is started here.

    Args:
        env_file: The settings file of this command and of the runs; `.env` by default.
        stop: Ends the serving in order once it is set, and the runs that have begun.

    Raises:
        SettingsError: A setting cannot be used, or the port of the server to be started is taken.
        HaloUsmError: The configured API does not answer, or a server did not start or has ended.
    """
    export_prefect_settings(read_settings(env_file))
    os.environ["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "false"
    with ExitStack() as stack:
        url = prefect_api_url()
        server = None
        if url is None:
            port = _free_port()
            say("starting a Prefect server, which ends with this command")
            server = stack.enter_context(prefect_server(port=port))
            server.wait_until_ready(stop)
            os.environ.update(server.environment)
            url = server.url
        else:
            from flows.cli.prefect_run import check_api

            check_api(url)
        if stop.is_set():
            return
        _serve(env_file, stop, url, server)


def _free_port() -> int:
    """The port of Prefect's pages: their usual one, so that their address stays the same."""
    text = os.environ.get("PREFECT_SERVER_API_PORT") or _PREFECT_PORT
    try:
        port = int(text)
        socket.create_server(("127.0.0.1", port)).close()
    except (ValueError, OverflowError):
        raise SettingsError(
            f"PREFECT_SERVER_API_PORT: '{foreign_text(text)}' is no port; write 1 to 65535"
        ) from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise SettingsError(
            f"port {port} is taken, perhaps by a Prefect server: use that server by "
            f"PREFECT_API_URL=http://127.0.0.1:{port}/api, or set PREFECT_SERVER_API_PORT to "
            "another port for a server of this command"
        ) from None
    return port


def _serve(
    env_file: Path | None, stop: threading.Event, url: str, server: PrefectServer | None
) -> None:
    from prefect.runner import Runner

    from flows.deployments import served_deployments

    # paused deployments would stay so when they are served again
    runner = Runner(name=_NAME, pause_on_shutdown=False)
    deployments = served_deployments(env_file)
    for deployment in deployments:
        _check_no_work_pool(deployment)
    for deployment in deployments:
        try:
            runner.add_deployment(deployment)
        except httpx.HTTPError as error:
            raise HaloUsmError(
                f"the Prefect server at {redact_address(url)} did not take the deployment "
                f"{deployment.name} ({foreign_text(redact(str(error)))}); run the command again"
            ) from None
        when = ", ".join(schedule.slug or "" for schedule in deployment.schedules or [])
        say(f"{deployment.name}: {when or 'by hand'}")
    pages = redact_address(url).removesuffix("/api")
    say(f"the runs, and a form for each of these: {pages}/deployments; Ctrl-C ends in order")
    running = _Running(runner)
    running.start()
    while running.is_alive() and not stop.wait(_POLL_SECONDS):
        if server is not None and server.process.poll() is not None:
            running.stop()
            raise HaloUsmError("the Prefect server of this command has ended; start it again")
    running.stop()


def _check_no_work_pool(deployment: RunnerDeployment) -> None:
    """Refuse to serve a deployment that a worker runs: its runs would start in the wrong folder.

    Raises:
        SettingsError: The deployment belongs to a work pool.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    name = f"{deployment.flow_name}/{deployment.name}"
    with get_client(sync_client=True) as client:
        try:
            there = client.read_deployment_by_name(name)
        except ObjectNotFound:
            return
    if there.work_pool_name:
        raise SettingsError(
            f"the deployment {foreign_text(name)} of this server is for the workers of the work "
            f"pool {foreign_text(there.work_pool_name)}: start one of them instead, or delete the "
            f"deployments first (prefect deployment delete {foreign_text(name)})"
        )


class _Running(threading.Thread):
    """Runs a runner in a thread, because in the main thread it would handle the signals."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(name="runner", daemon=True)
        self._runner = runner
        self._loop = asyncio.new_event_loop()
        self._error: Exception | None = None

    def run(self) -> None:
        """Poll for runs, and start them as processes, until `stop`."""
        try:
            self._loop.run_until_complete(self._runner.start())
        except Exception as error:  # noqa: BLE001 - raised in the main thread
            self._error = error

    def stop(self) -> None:
        """End the runs that have begun, which record where they are, and then the polling.

        Raises:
            Exception: The runner has failed.
        """
        if self.is_alive():
            asyncio.run_coroutine_threadsafe(self._runner.astop(), self._loop)
            self.join(_STOP_SECONDS)
        if self._error is not None:
            raise self._error
