"""The flows on a real Prefect server, run by the command."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from sandbox.odd_events import malformed
from tasks.load.result import LoadResult
from tasks.staging.locks import hold
from tasks.staging.store import open_store
from tests.flows.command import EVENTS, ROOT, command_for, without_progress
from tests.flows.prefect_api import ask, last_run, log_lines, settle

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.halo_api import HaloStandIn
    from sandbox.receiver import Receiver

pytestmark = pytest.mark.timeout(300)  # a server may have to start first


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
    run = last_run(server)
    assert run["state_name"] == "Completed"
    assert re.fullmatch(r"sync \d{4}-\d\d-\d\d \d\d:\d\d", run["name"])
    expected = {f"{stage}-{name}" for stage in ("extract", "transform") for name in halo.accounts}
    names = settle(server, run, len(expected) + 1)
    assert set(names) == expected | {"load-sensor"}
    assert set(names.values()) == {"COMPLETED"}
    text = httpx.get(f"{server['PREFECT_API_URL']}/flow_runs/{run['id']}").text
    secrets = [line.split("|")[1] for line in halo.auth_lines().splitlines()]
    assert not [secret for secret in secrets if secret in text]

    warning = "account beta: 1 event has no id or no date: in rejected/ with the reason"
    assert without_progress(result.stderr) == [f"warning: {warning}"]
    assert log_lines(server, run)[logging.WARNING, warning] == "extract-beta"
    assert run["state"]["message"].splitlines() == [*result.stdout.splitlines(), warning]

    auth = tmp_path / "haloEvents.auth"
    auth.write_text(auth.read_text().replace(secrets[0], "wrong"))
    result = halo_usm("sync", code=1)
    assert "alpha" in result.stderr
    assert "Traceback" not in result.stderr
    run = last_run(server)
    assert run["state_name"] == "Failed"
    names = settle(server, run, len(expected) + 1)
    failed = {name for name, state in names.items() if state == "FAILED"}
    assert failed == {"extract-alpha"}
    problem, *done = run["state"]["message"].splitlines()
    assert done == result.stdout.splitlines()
    assert f"error: {problem}\n" in result.stderr
    lines = log_lines(server, run)
    assert lines[logging.ERROR, problem] == "extract-alpha"
    assert not [text for _, text in lines if "NoneType" in text or "ExtractResult" in text]


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
        run = last_run(server)
        assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Skipped")
        assert run["state"]["message"].startswith("left to another run")
        assert "transformed beta: left to another run" in result.stdout
        assert "note: account beta is held by another run" in result.stderr
        assert "destination sensor is held by another run" in run["state"]["message"]
        assert "account beta is held by another run" in run["state"]["message"]
        rows = ask(server, "task_runs", flow_runs={"id": {"any_": [run["id"]]}})
        assert {row["state_name"] for row in rows} == {"Skipped"}
        halo_usm("sync")
        run = last_run(server)
        assert run["state_name"] == "Completed"
    assert not receiver.messages("tcp")


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
    run = last_run(server)
    assert run["state_name"] == "Failed"
    assert "normalized" in run["state"]["message"]


def test_what_another_run_holds_is_left_to_it_by_name() -> None:
    """A lease says which run holds it, and so does the state of the run that found it held."""
    from flows.states import flow_state  # Prefect, which no other worker of the tests needs

    held = [LoadResult("sensor", held=True, held_by="8d9f6d0e"), LoadResult("other", held=True)]
    state = flow_state(held)
    assert (state.name, str(state.message).splitlines()[0]) == ("Skipped", "left to run 8d9f6d0e")


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


def test_state_says_the_first_of_many_problems() -> None:
    """A fault of every day of a year fills neither a page nor an alert; the log has all."""
    from flows.states import task_state  # Prefect, which no other worker of the tests needs

    state = task_state(LoadResult("sensor", problems=[f"day {day}" for day in range(365)]))
    lines = str(state.message).splitlines()
    assert lines[:2] == ["day 0", "day 1"]
    assert lines[-2:] == ["and 355 more: see the log", "loaded sensor: nothing new"]
    assert len(lines) == 12
