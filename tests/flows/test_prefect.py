"""The flows on a real Prefect server: run by the command, and deployed to a worker."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import pytest

from sandbox.odd_events import malformed
from tasks.staging.locks import hold
from tasks.staging.store import open_store
from tests.flows.command import EVENTS, ROOT, command_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flows.cli.prefect_server import PrefectServer
    from sandbox.halo_api import HaloStandIn
    from sandbox.receiver import Receiver

README = ROOT / "README.md"
T = TypeVar("T")
BUSY = 503

pytestmark = pytest.mark.timeout(300)  # a worker and its runs are processes, one after the other


def post(server: dict[str, str], path: str, body: dict[str, Any]) -> Any:
    """The answer of the server's API, once its database is not busy."""
    url = f"{server['PREFECT_API_URL']}/{path}"
    while (answer := httpx.post(url, json=body, timeout=60)).status_code == BUSY:
        time.sleep(0.2)
    assert answer.is_success, answer.text
    return answer.json()


def ask(server: dict[str, str], what: str, **query: Any) -> list[dict[str, Any]]:
    """Rows that the server's API finds."""
    rows: list[dict[str, Any]] = post(server, f"{what}/filter", query)
    return rows


def task_names(server: dict[str, str], run: dict[str, Any]) -> dict[str, str]:
    """A flow run's task runs by name, with their states."""
    rows = ask(server, "task_runs", flow_runs={"id": {"any_": [run["id"]]}})
    return {row["name"]: row["state_type"] for row in rows}


def wait_for(question: Callable[[], T], seconds: float = 120) -> T:
    """The first answer that is not empty."""
    until = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < until
        time.sleep(0.2)
    return answer


def settle(server: dict[str, str], run: dict[str, Any], tasks: int) -> dict[str, str]:
    """`task_names` once it has so many rows: the server learns of task runs by events."""

    def all_of_them() -> dict[str, str]:
        return names if len(names := task_names(server, run)) >= tasks else {}

    return wait_for(all_of_them)


def log_lines(server: dict[str, str], run: dict[str, Any]) -> dict[tuple[int, str], str]:
    """A flow run's log: which task run logged it, by level and text."""
    rows = ask(server, "task_runs", flow_runs={"id": {"any_": [run["id"]]}})
    tasks = {row["id"]: row["name"] for row in rows}
    logs = ask(server, "logs", logs={"flow_run_id": {"any_": [run["id"]]}})
    return {(log["level"], log["message"]): tasks.get(log["task_run_id"], "") for log in logs}


def test_sync_is_a_flow_run_whose_graph_the_server_shows(
    tmp_path: Path, server: dict[str, str], halo: HaloStandIn, receiver: Receiver
) -> None:
    """A task run for each account and stage and each destination; a refused key is a failed one.

    A step's remarks are in the log of its task run, at their levels, and in the state's message.
    """
    yesterday = datetime.now(UTC) - timedelta(days=1)
    halo["beta"].add([malformed(yesterday)["no date"]], created_at=yesterday)
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp", name="sensor"), days=3)
    halo_usm.settings |= server
    result = halo_usm("sync")
    assert len(receiver.messages("tcp")) == EVENTS
    run = ask(server, "flow_runs", sort="START_TIME_DESC")[0]
    assert run["state_name"] == "Completed"
    expected = {f"{stage}-{name}" for stage in ("extract", "transform") for name in halo.accounts}
    names = settle(server, run, len(expected) + 1)
    assert set(names) == expected | {"load-sensor"}
    assert set(names.values()) == {"COMPLETED"}
    text = httpx.get(f"{server['PREFECT_API_URL']}/flow_runs/{run['id']}").text
    secrets = [line.split("|")[1] for line in halo.auth_lines().splitlines()]
    assert not [secret for secret in secrets if secret in text]

    warning = "account beta: 1 events have no id or no date; they are in rejected/ with the reason"
    assert result.stderr == f"warning: {warning}\n"
    assert log_lines(server, run)[logging.WARNING, warning] == "extract-beta"
    assert run["state"]["message"].splitlines() == [*result.stdout.splitlines(), warning]

    auth = tmp_path / "haloEvents.auth"
    auth.write_text(auth.read_text().replace(secrets[0], "wrong"))
    result = halo_usm("sync", code=1)
    assert "alpha" in result.stderr
    assert "Traceback" not in result.stderr
    run = ask(server, "flow_runs", sort="START_TIME_DESC")[0]
    assert run["state_name"] == "Failed"
    names = settle(server, run, len(expected) + 1)
    failed = {name for name, state in names.items() if state == "FAILED"}
    assert failed == {"extract-alpha"}
    problem, *done = run["state"]["message"].splitlines()
    assert done == result.stdout.splitlines()
    assert f"error: {problem}\n" in result.stderr
    assert log_lines(server, run)[logging.ERROR, problem] == "extract-alpha"


def test_a_run_that_found_everything_held_is_skipped(
    tmp_path: Path, server: dict[str, str], halo: HaloStandIn, receiver: Receiver
) -> None:
    """The state has that name and says what is held; if anything was free, it is `Completed`."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp", name="sensor"), days=3)
    halo_usm.settings |= server
    halo_usm("extract")
    store = open_store(halo_usm.settings["HALO_STAGING"])
    with ExitStack() as stack:
        for name in halo.accounts:
            stack.enter_context(hold(store, "account", name))
        with hold(store, "destination", "sensor"):
            result = halo_usm("sync")
        run = ask(server, "flow_runs", sort="START_TIME_DESC")[0]
        assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Skipped")
        assert "transformed beta: left to another run" in result.stdout
        assert "note: account beta is held by another run" in result.stderr
        assert "destination sensor is held by another run" in run["state"]["message"]
        assert "account beta is held by another run" in run["state"]["message"]
        rows = ask(server, "task_runs", flow_runs={"id": {"any_": [run["id"]]}})
        assert {row["state_name"] for row in rows} == {"Skipped"}
        halo_usm("sync")
        run = ask(server, "flow_runs", sort="START_TIME_DESC")[0]
        assert run["state_name"] == "Completed"
    assert not receiver.messages("tcp")


def faults(log: str) -> list[str]:
    """Errors among the records of a server's log.

    SQLite refuses a transaction at once that would have to wait for two others; Prefect logs it
    and tries again.
    """
    records = re.split(r"^(?=\d\d:\d\d:\d\d\.)", log, flags=re.MULTILINE)
    return [
        record
        for record in records
        if re.search(r"\| (ERROR|CRITICAL) |Traceback", record) and "is locked" not in record
    ]


def test_a_staging_that_cannot_be_listed_fails_the_command_and_its_flow_run(
    tmp_path: Path, server: dict[str, str], halo: HaloStandIn, receiver: Receiver
) -> None:
    """The command says the same, with the same exit code, as it does without Prefect."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=3)
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / "normalized").write_text("no folder")
    plain = halo_usm("sync", code=1)
    assert "normalized" in plain.stderr
    halo_usm.settings |= server
    assert halo_usm("sync", code=1).stderr == plain.stderr
    run = ask(server, "flow_runs", sort="START_TIME_DESC")[0]
    assert run["state_name"] == "Failed"
    assert "normalized" in run["state"]["message"]


def test_a_schedule_makes_runs_that_a_worker_completes(
    tmp_path: Path,
    prefect: PrefectServer,
    server: dict[str, str],
    halo: HaloStandIn,
    receiver: Receiver,
) -> None:
    """By the README's commands; `replay` is run by hand, and fails without a stack trace."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=3)
    settings = os.environ | server | halo_usm.settings
    steps = [line.strip() for line in README.read_text().splitlines() if "/prefect " in line]
    make_pool, deploy, work = (step.replace(".venv/bin/prefect", "$PREFECT") for step in steps)

    def popen(command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", "-c", f"PREFECT='{sys.executable} -m prefect'; {command}"],
            cwd=ROOT,
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(command: str) -> None:
        with popen(command) as process:
            said, _ = process.communicate(timeout=200)
        assert process.returncode == 0, said

    def runs(**query: Any) -> list[dict[str, Any]]:
        return ask(server, "flow_runs", deployments={"name": {"any_": ["sync"]}}, **query)

    text = (ROOT / "deployments" / "prefect.yaml").read_text()
    soon = (datetime.now(UTC) + timedelta(seconds=20)).isoformat()
    often = tmp_path / "often.yaml"
    often.write_text(
        re.sub(r"cron: .*\n( +)timezone: UTC", rf'interval: 60\n\1anchor_date: "{soon}"', text)
    )
    run(make_pool)
    run(deploy.replace("deployments/prefect.yaml", str(often)))
    with popen(f"exec {work}") as worker:
        try:
            completed = wait_for(
                lambda: (
                    len(receiver.messages("tcp")) == EVENTS
                    and runs(flow_runs={"state": {"name": {"any_": ["Completed"]}}})
                )
            )
        finally:
            worker.send_signal(signal.SIGINT)
            worker.communicate(timeout=200)  # it waits for a run that has begun
    assert completed
    assert all(run["auto_scheduled"] for run in completed)

    run(deploy)
    deployments = {row["name"]: row for row in ask(server, "deployments")}
    assert set(deployments) == {"sync", "replay"}
    wait_for(
        lambda: [
            run
            for run in runs(flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}})
            if run["auto_scheduled"] and re.search(r":[0-5][05]:00Z", run["expected_start_time"])
        ]
    )

    since = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    path = f"deployments/{deployments['replay']['id']}/create_flow_run"
    made = {
        post(server, path, {"parameters": parameters})["id"]: state
        for state, parameters in [
            ("Completed", {"since": since, "only": "all"}),
            ("Failed", {"since": "soon"}),
        ]
    }
    run(f"{work} --run-once")
    ended = ask(server, "flow_runs", flow_runs={"id": {"any_": [*made]}})
    assert {run["id"]: run["state_name"] for run in ended} == made
    assert len(receiver.messages("tcp")) == 2 * EVENTS
    lines = [text for run in ended for _, text in log_lines(server, run)]
    assert not [text for text in lines if "Traceback" in text]
    assert not faults(prefect.log)


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
    """Without a Prefect API, a cron line does not pay for Prefect's start-up."""
    program = (
        "import sys, flows.cli.app, flows.pipeline, tasks.load.destination; "
        "sys.exit(bool({'prefect', 'pandas'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
