"""The flows on a real Prefect server: run by the command, and deployed to a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from tests.flows.command import EVENTS, ROOT, command_for

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.halo_api import HaloStandIn
    from sandbox.receiver import Receiver

POOL = "halo-usm"


def ask(server: dict[str, str], what: str, **query: Any) -> list[dict[str, Any]]:
    """Rows that the server's API finds."""
    answer = httpx.post(f"{server['PREFECT_API_URL']}/{what}/filter", json=query, timeout=30)
    answer.raise_for_status()
    rows: list[dict[str, Any]] = answer.json()
    return rows


def task_names(server: dict[str, str], run: dict[str, Any]) -> dict[str, str]:
    """A flow run's task runs by name, with their states."""
    rows = ask(server, "task_runs", flow_runs={"id": {"any_": [run["id"]]}})
    return {row["name"]: row["state_type"] for row in rows}


def settle(server: dict[str, str], run: dict[str, Any], tasks: int) -> dict[str, str]:
    """`task_names` once there are so many: the server learns of task runs by events."""
    until = time.monotonic() + 20
    while len(names := task_names(server, run)) < tasks and time.monotonic() < until:
        time.sleep(0.2)
    return names


def test_sync_is_a_flow_run_whose_graph_the_server_shows(
    tmp_path: Path, server: dict[str, str], halo: HaloStandIn, receiver: Receiver
) -> None:
    """A task run an account and stage, and one a destination; a refused key is a failed one."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp", name="sensor"), days=3)
    halo_usm.settings |= server
    halo_usm("sync")
    assert len(receiver.messages("tcp")) == EVENTS
    run = ask(server, "flow_runs", sort="START_TIME_DESC")[0]
    assert run["state_type"] == "COMPLETED"
    expected = {f"{stage}-{name}" for stage in ("extract", "transform") for name in halo.accounts}
    names = settle(server, run, len(expected) + 1)
    assert set(names) == expected | {"load-sensor"}
    assert set(names.values()) == {"COMPLETED"}
    text = httpx.get(f"{server['PREFECT_API_URL']}/flow_runs/{run['id']}").text
    secrets = [line.split("|")[1] for line in halo.auth_lines().splitlines()]
    assert not [secret for secret in secrets if secret in text]

    auth = tmp_path / "haloEvents.auth"
    auth.write_text(auth.read_text().replace(secrets[0], "wrong"))
    result = halo_usm("sync", code=1)
    assert "alpha" in result.stderr
    assert "Traceback" not in result.stderr
    run = ask(server, "flow_runs", sort="START_TIME_DESC")[0]
    assert run["state_type"] == "FAILED"
    names = settle(server, run, len(expected) + 1)
    failed = {name for name, state in names.items() if state == "FAILED"}
    assert failed == {"extract-alpha"}


def test_a_deployed_sync_and_replay_are_completed_by_a_process_worker(
    tmp_path: Path, server: dict[str, str], halo: HaloStandIn, receiver: Receiver
) -> None:
    """A worker runs each of `deployments/prefect.yaml`; two syncs at once send nothing twice."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=3)
    settings = os.environ | server | halo_usm.settings | {"HALO_USM_HOME": str(ROOT)}

    def prefect(*arguments: str) -> str:
        result = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=ROOT,
            env=settings,
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    prefect("work-pool", "create", POOL, "--type", "process")
    prefect("deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
    deployments = ask(server, "deployments")
    ids = {row["name"]: row["id"] for row in deployments}
    schedules = {row["name"]: row["schedules"] for row in deployments}
    assert set(schedules) == {"sync", "replay"}
    assert schedules["sync"][0]["schedule"]["cron"] == "*/5 * * * *"
    assert not schedules["replay"]

    since = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    for flow, parameters, times, messages in [
        ("sync", {}, 2, EVENTS),
        ("replay", {"since": since, "only": "all"}, 1, 2 * EVENTS),
    ]:
        for _ in range(times):
            httpx.post(
                f"{server['PREFECT_API_URL']}/deployments/{ids[flow]}/create_flow_run",
                json={"parameters": parameters},
                timeout=30,
            ).raise_for_status()
        prefect("worker", "start", "--pool", POOL, "--run-once")
        runs = ask(
            server,
            "flow_runs",
            flows={"name": {"any_": [flow]}},
            sort="START_TIME_DESC",
            deployments={"name": {"any_": [flow]}},
        )
        states = [run["state_type"] for run in runs if run["state_type"] != "SCHEDULED"]
        assert states == ["COMPLETED"] * times, [run["state"] for run in runs]
        assert len(receiver.messages("tcp")) == messages


def test_a_prefect_api_that_does_not_answer_is_one_message(
    tmp_path: Path, halo: HaloStandIn, receiver: Receiver
) -> None:
    """Exit code 1, with the remedy, and soon; nothing is fetched."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=3)
    halo_usm.settings["PREFECT_API_URL"] = "http://127.0.0.1:1/api"
    result = halo_usm("sync", code=1)
    assert "PREFECT_API_URL" in result.stderr
    assert "unset PREFECT_API_URL" in result.stderr
    assert "Traceback" not in result.stderr
    assert halo.counters.requests == 0


def test_a_plain_command_does_not_import_prefect() -> None:
    """Without a Prefect API a cron line pays for nothing of it."""
    program = (
        "import sys, flows.cli, flows.pipeline, tasks.load; "
        "sys.exit(bool({'prefect', 'pandas'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
