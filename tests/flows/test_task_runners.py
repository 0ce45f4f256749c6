"""The flows with Prefect's process runner: no step needs what is in the memory of the flow run."""

from __future__ import annotations

import os
import pickle
import signal
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from flows.context import prepare
from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tests.flows.command import EVENTS, Command, command_for, wait_until
from tests.processes import TEST, started_with

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)  # each worker process imports Prefect

PROGRAM = """
from prefect.task_runners import ProcessPoolTaskRunner
from flows.replay import replay
from flows.sync import sync

for flow, parameters in {flows}:
    in_processes = flow.with_options(task_runner=ProcessPoolTaskRunner(max_workers=2))
    state = in_processes(**parameters, return_state=True)
    print(state.name, state.message, sep="\\n", end="\\n\\n")
"""


def in_processes(halo_usm: Command, flows: str) -> Command:
    """A program that runs flows with a process runner, where a command would be run.

    Args:
        halo_usm: The command.
        flows: Pairs of a flow and its parameters, as Python.
    """
    return Command(halo_usm.folder, halo_usm.settings, ("-c", PROGRAM.format(flows=flows)))


def test_every_task_runs_in_a_process_of_its_own(
    tmp_path: Path, server: dict[str, str], halo: HaloStandIn, receiver: Receiver
) -> None:
    """Extract, transform, load and replay; a failed account stops no other, and the run fails.

    The server may miss a task run here: Prefect's process runner loses events of its processes.
    """
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp", name="sensor"), days=3)
    halo_usm.settings |= server
    auth = tmp_path / "haloEvents.auth"
    auth.write_text(auth.read_text() + "none|none|none\n")
    since = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    flows = f"((sync, {{}}), (replay, {{'since': {since!r}, 'only': 'all'}}))"
    synced, replayed = in_processes(halo_usm, flows)().stdout.removesuffix("\n\n").split("\n\n")
    name, message, *others = synced.splitlines()
    assert name == "Failed", message
    assert "none" in message
    assert f"loaded sensor: {EVENTS} delivered" in "\n".join(others)
    assert replayed.startswith("Completed\n"), replayed
    assert len(receiver.messages("tcp")) == 2 * EVENTS
    for stage in "raw", "normalized":
        ids = pd.read_parquet(tmp_path / "staging" / stage, columns=["event_id"])["event_id"]
        assert ids.nunique() == len(ids) == EVENTS


def test_a_pickled_run_holds_no_secret_and_is_the_same_run(
    tmp_path: Path, halo: HaloStandIn, receiver: Receiver
) -> None:
    """Another process reads the auth file again, and writes under the same run id."""
    flags = {
        "halo_auth_file": halo.write_auth(tmp_path / "auth"),
        "halo_staging": str(tmp_path / "staging"),
        "usm_sensor": receiver.url("tcp", name="sensor"),
    }
    run = prepare(flags=flags, accounts=True, sensors=True)
    pickled = pickle.dumps(run)
    assert not [keys for keys in run.accounts if keys.secret.get_secret_value().encode() in pickled]
    again = pickle.loads(pickled)
    assert (again.run_id, again.settings) == (run.run_id, run.settings)
    assert (again.accounts, again.destinations) == (run.accounts, run.destinations)
    assert again.stop is not run.stop


@pytest.mark.soak
def test_a_signal_ends_the_step_of_a_process_in_order(
    tmp_path: Path, server: dict[str, str]
) -> None:
    """It keeps what it has staged, its flow run is cancelled, and a later sync does the rest."""
    events = 2_000
    with (
        HaloStandIn(accounts=1, events=events, days=30, latency_ms=30) as halo,
        Receiver("tcp") as receiver,
    ):
        halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=31)
        mark = uuid.uuid4().hex
        halo_usm.settings |= server | {"HALO_CONCURRENCY": "2", TEST: mark}
        process = in_processes(halo_usm, "((sync, {}),)").popen()
        raw = tmp_path / "staging" / "raw"
        wait_until(lambda: sum(1 for _ in raw.rglob("*.parquet")) > 3, process)
        for number, command in started_with(TEST, mark).items():
            if "multiprocessing.spawn" in command:
                os.kill(number, signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.startswith("Cancelled\nInterrupted"), out
        assert "Traceback" not in err
        assert 0 < halo_usm.status()["accounts"]["alpha"]["staged"] < events
        del halo_usm.settings["PREFECT_API_URL"]
        halo_usm("sync")
        assert len(receiver.messages("tcp")) == events
