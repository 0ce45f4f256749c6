"""A Prefect server that dies during a run, and a temporary one whose command dies."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from flows.cli.prefect_server import prefect_server
from sandbox.halo_api import HaloStandIn
from tests.flows.command import (
    EVENTS,
    ROOT,
    Command,
    command_for,
    wait_until,
    without_progress,
)
from tests.processes import TEST, left_of, started_with

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.receiver import Receiver

pytestmark = pytest.mark.timeout(300)  # some servers start one after the other


@pytest.fixture
def slow_halo() -> Iterator[HaloStandIn]:
    """Three accounts with a slow API."""
    with HaloStandIn(accounts=3, events=EVENTS, days=2, latency_ms=5000) as halo:
        yield halo


def test_a_server_that_dies_in_mid_run_costs_its_own_record_alone(
    tmp_path: Path, prefect_home: Path, slow_halo: HaloStandIn, receiver: Receiver
) -> None:
    """The results of the steps decide the exit code, soon; one warning names the lost report.

    With the client's own retries, and with so few that the flow run itself raises.
    """
    commands: dict[str, Command] = {}
    with prefect_server(home=prefect_home) as server:
        server.wait_until_ready()
        for name, settings in [("patient", {}), ("hasty", {"PREFECT_CLIENT_MAX_RETRIES": "2"})]:
            (tmp_path / name).mkdir()
            command = command_for(
                tmp_path / name, slow_halo, receiver.url("tcp", name=name), days=3
            )
            command.settings |= server.environment | settings
            commands[name] = command
        (tmp_path / "hasty" / "haloEvents.auth").write_text(
            slow_halo.auth_lines() + "none|none|none\n"
        )
        processes = {name: command.popen("sync") for name, command in commands.items()}
        for process in processes.values():
            wait_until(lambda: slow_halo.counters.requests >= 7, process)  # all of them log in
        assert not receiver.messages("tcp")
        server.process.kill()
        slow_halo.switches.latency_ms = 0
        killed = time.monotonic()
        for name, code in [("hasty", 1), ("patient", 0)]:
            out, err = processes[name].communicate(timeout=100)
            assert processes[name].returncode == code, err
            assert f"loaded {name}: {EVENTS} delivered" in out
            lost, *others = without_progress(err)
            assert lost.startswith(f"warning: the Prefect server at {server.url} was not told")
            assert len(others) == code, err
            assert time.monotonic() - killed < 120, "Prefect's own patience lasts for minutes"


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>")


@pytest.mark.parametrize("arguments", [["-m", "flows", "serve"], ["deployments/alerts.py"]])
def test_what_answers_is_another_server(tmp_path: Path, arguments: list[str]) -> None:
    """One message says so; Prefect's client would not expect a page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as page:
        threading.Thread(target=page.serve_forever).start()
        try:
            url = f"http://127.0.0.1:{page.server_port}/api"
            program = [str(ROOT / name) if name.endswith(".py") else name for name in arguments]
            command = Command(tmp_path, {"PREFECT_API_URL": url}, tuple(program))
            said = command(code=1).stderr
        finally:
            page.shutdown()
    assert said.count("\n") == 1
    assert f"what answers at {url} is no Prefect API; write its address" in said


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGKILL, "it extracts"),
        (signal.SIGTERM, "its server starts"),
        pytest.param(signal.SIGKILL, "its server starts", marks=pytest.mark.soak),
        pytest.param(signal.SIGTERM, "it extracts", marks=pytest.mark.soak),
    ],
)
def test_a_temporary_server_ends_with_its_command(
    tmp_path: Path,
    prefect_home: Path,
    slow_halo: HaloStandIn,
    number: signal.Signals,
    moment: str,
) -> None:
    """`sync --prefect` that is killed, or asked to end, leaves no process behind."""
    halo_usm = command_for(tmp_path, slow_halo, "tcp://127.0.0.1:1", days=3)
    mark = uuid.uuid4().hex
    halo_usm.settings |= {"PREFECT_HOME": str(prefect_home), TEST: mark}
    process = halo_usm.popen("sync", "--prefect")
    if moment == "it extracts":
        wait_until(lambda: slow_halo.counters.requests, process)
    else:
        wait_until(lambda: len(started_with(TEST, mark)) > 1, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 130), err
    assert "Traceback" not in err
    assert "nothing to do" not in err
    assert not left_of(TEST, mark)
