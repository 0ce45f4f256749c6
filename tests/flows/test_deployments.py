"""The deployments of `deployments/prefect.yaml` on a real Prefect server: by a worker, by serve."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tasks.staging.locks import hold
from tasks.staging.store import open_store
from tests.flows.command import EVENTS, ROOT, command_for, wait_until
from tests.flows.prefect_api import (
    answer_of,
    ask,
    faults,
    log_lines,
    post,
    remove_deployments,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flows.cli.prefect_server import PrefectServer
    from sandbox.halo_api import HaloStandIn
    from sandbox.receiver import Receiver
    from tests.flows.command import Command

pytestmark = pytest.mark.timeout(400)  # a worker and its runs are processes, one after the other

SCHEDULED = {
    "sync": r":[0-5][05]:00",
    "deep-look": "T03:17:00",
    "maintain": "T04:27:00",
    "check": "T05:47:00",
}
"""The deployments that have a schedule, and when it runs."""
SINCE = (datetime.now(UTC) - timedelta(days=3)).isoformat()
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("sync", {"lookback": -5}, "lookback"),
    ("sync", {"lookback": 129_601}, "lookback"),
    ("sync", {"starting": "yesterday"}, "starting"),
    ("sync", {"accounts": ["Not/a block"]}, "accounts"),
    ("replay", {}, "since"),
    ("replay", {"since": SINCE, "only": "most"}, "only"),
    ("replay", {"since": SINCE, "wait": -1}, "wait"),
]
"""Parameters with which no run can be created, and what is wrong with them."""
BY_HAND: dict[str, tuple[str, dict[str, Any], str]] = {
    "again": ("replay", {"since": SINCE, "until": None, "only": "all"}, ""),
    "backward": ("replay", {"since": SINCE, "until": "2026-01-01T00:00:00"}, "is not before until"),
    "no time": ("replay", {"since": "2026-13-45"}, "since: '2026-13-45' cannot be used"),
    "no block": ("check", {"sensors": ["missing"]}, "no block missing of type UsmSensor"),
}
"""Runs that are created by hand: deployment, parameters, and why the run fails, if it does."""
ONE_OF_EACH_KIND = ["again", "no time"]


@pytest.fixture
def halo_usm(
    tmp_path: Path, server: dict[str, str], halo: HaloStandIn, receiver: Receiver
) -> Iterator[Command]:
    """A command line with that server; the deployments are removed from it at the end."""
    command = command_for(tmp_path, halo, receiver.url("tcp", name="sensor"), days=3)
    command.settings |= server
    yield command
    remove_deployments(server)


def runs_of(server: dict[str, str], state: str, *names: str) -> list[dict[str, Any]]:
    """The runs of some deployments that are in a state of this type."""
    return ask(
        server,
        "flow_runs",
        deployments={"name": {"any_": [*names]}},
        flow_runs={"state": {"type": {"any_": [state]}}},
    )


def all_logged(server: dict[str, str], runs: list[dict[str, Any]], texts: dict[str, str]) -> bool:
    """Whether the log of each run has its text; it may come later than the run's state."""
    return all(any(texts[run["id"]] in text for _, text in log_lines(server, run)) for run in runs)


def schedule_soon(server: dict[str, str], deployment: str) -> None:
    """Add a schedule by which a deployment runs in some seconds: the declared ones are too rare.

    The server plans the runs of a deployment that was changed just now at once, of others each
    minute. A new schedule does not count as a change.
    """
    soon = datetime.now(UTC) + timedelta(seconds=10)
    schedule = {"interval": 90, "anchor_date": soon.isoformat()}
    path = f"deployments/{deployment}"
    post(server, f"{path}/schedules", [{"active": True, "schedule": schedule, "slug": "soon"}])
    assert answer_of(server, "PATCH", path, {"paused": False}).is_success


@pytest.mark.parametrize(
    "by_hand", [ONE_OF_EACH_KIND, pytest.param([*BY_HAND], marks=pytest.mark.soak, id="all")]
)
def test_schedules_make_runs_that_a_worker_completes(
    prefect: PrefectServer,
    server: dict[str, str],
    halo_usm: Command,
    receiver: Receiver,
    *,
    by_hand: list[str],
) -> None:
    """By the README's commands. What is created by hand is refused, or fails with a message."""
    readme = (ROOT / "README.md").read_text().splitlines()
    steps = [line.strip() for line in readme if "bin/prefect " in line]
    make_pool, deploy, work = (step.replace(".venv/bin/prefect", "$PREFECT") for step in steps)

    def popen(command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", "-c", f"PREFECT='{sys.executable} -m prefect'; {command}"],
            cwd=ROOT,
            env=os.environ | halo_usm.settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(command: str) -> None:
        with popen(command) as process:
            said, _ = process.communicate(timeout=200)
        assert process.returncode == 0, said

    def all_completed() -> list[dict[str, Any]]:
        runs = runs_of(server, "COMPLETED", *SCHEDULED)
        return runs if len({run["deployment_id"] for run in runs}) == len(SCHEDULED) else []

    def ended() -> list[dict[str, Any]]:
        runs = ask(server, "flow_runs", flow_runs={"id": {"any_": [*made]}})
        return runs if all(run["state_type"] in {"COMPLETED", "FAILED"} for run in runs) else []

    run(make_pool)
    run(deploy)
    deployments = {row["name"]: row["id"] for row in ask(server, "deployments")}
    assert set(deployments) == {*SCHEDULED, "replay"}
    for name, when in SCHEDULED.items():
        for planned in wait_for(partial(runs_of, server, "SCHEDULED", name)):
            assert re.search(when, planned["expected_start_time"])

    assert "for the workers of the work pool halo-usm" in halo_usm("serve", code=2).stderr

    for name, parameters, fault in REFUSED:
        answer = answer_of(
            server,
            "POST",
            f"deployments/{deployments[name]}/create_flow_run",
            {"parameters": parameters},
        )
        assert answer.status_code == httpx.codes.CONFLICT
        assert fault in answer.text

    for name in SCHEDULED:
        schedule_soon(server, deployments[name])
    with popen(f"exec {work}") as worker:
        try:
            completed = wait_for(all_completed, 240)
            assert len(receiver.messages("tcp")) == EVENTS
            made = {
                post(
                    server,
                    f"deployments/{deployments[name]}/create_flow_run",
                    {"parameters": given},
                )["id"]: fault
                for name, given, fault in map(BY_HAND.__getitem__, by_hand)
            }
            by_then = wait_for(ended, 240)
            wait_for(partial(all_logged, server, by_then, made))
        finally:
            worker.send_signal(signal.SIGINT)
            worker.communicate(timeout=200)  # it waits for a run that has begun
    assert all(run["auto_scheduled"] for run in completed)
    names = {run["name"][:-5] for run in completed}
    assert names == {
        f"{flow} {datetime.now(UTC):%Y-%m-%d} " for flow in ("sync", "maintain", "check")
    }
    for one in by_then:
        fault = made[one["id"]]
        assert one["state_name"] == ("Failed" if fault else "Completed")
        assert fault in one["state"]["message"]
        lines = log_lines(server, one)
        assert bool(fault) == any(level == logging.ERROR and fault in text for level, text in lines)
        assert not [text for _, text in lines if "Traceback" in text]
        assert one["name"].startswith(("replay all ", "replay failed ", "check "))
    assert len(receiver.messages("tcp")) == 2 * EVENTS
    assert not faults(prefect.log)


@pytest.mark.soak
def test_served_schedules_make_runs_that_complete(
    server: dict[str, str], halo_usm: Command, receiver: Receiver
) -> None:
    """Without a worker. Ctrl-C ends it in order with a run that has begun; no schedule pauses."""
    said = halo_usm.folder / "said"
    process = halo_usm.popen("serve", stdout=said)
    wait_until(lambda: "Ctrl-C ends in order" in said.read_text(), process)
    deployments = {row["name"]: row["id"] for row in ask(server, "deployments")}
    assert set(deployments) == {*SCHEDULED, "replay"}
    schedule_soon(server, deployments["sync"])
    [run, *_] = wait_for(lambda: runs_of(server, "COMPLETED", "sync"), 240)
    assert run["auto_scheduled"]
    assert len(receiver.messages("tcp")) == EVENTS

    with hold(open_store(halo_usm.settings["HALO_STAGING"]), "account", "alpha"):
        path = f"deployments/{deployments['deep-look']}/create_flow_run"
        waiting = post(server, path, {})
        wait_for(lambda: any("waiting: account alpha" in t for _, t in log_lines(server, waiting)))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    [ended] = ask(server, "flow_runs", flow_runs={"id": {"any_": [waiting["id"]]}})
    assert ended["state_type"] == "CANCELLED"
    rows = ask(server, "deployments")
    assert not any(row["paused"] for row in rows)
    assert all(schedule["active"] for row in rows for schedule in row["schedules"])


def test_a_port_that_is_taken_is_named_with_the_remedy(
    prefect: PrefectServer, halo_usm: Command
) -> None:
    """Without a configured API, `serve` starts a server; it does not start a second one."""
    port = httpx.URL(prefect.url).port
    del halo_usm.settings["PREFECT_API_URL"]
    halo_usm.settings["PREFECT_SERVER_API_PORT"] = str(port)
    result = halo_usm("serve", code=2)
    assert f"PREFECT_API_URL=http://127.0.0.1:{port}/api" in result.stderr
