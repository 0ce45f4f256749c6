"""Prefect blocks in the place of the auth file and the sensor URL, on a real Prefect server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.halo_api import HaloStandIn
from tests.flows.command import EVENTS, Command, command_for
from tests.flows.prefect_api import ask

if TYPE_CHECKING:
    from flows.cli.prefect_server import PrefectServer
    from sandbox.receiver import Receiver

pytestmark = pytest.mark.timeout(300)  # each worker process imports Prefect

PROGRAM = """
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentCreate
from prefect.task_runners import ProcessPoolTaskRunner
from flows.blocks import HaloAccount, UsmSensor
from flows.check import check
from flows.replay import replay
from flows.sync import sync

HaloAccount(account="alpha", key_id={key_id!r}, secret={secret!r}).save("prod")
HaloAccount(account="ALPHA", key_id={key_id!r}, secret={secret!r}).save("twin")
prod = HaloAccount.load("prod")
odd = dict(account="no folder's name", key_id={key_id!r}, secret={secret!r})
ids = dict(block_type_id=prod._block_type_id, block_schema_id=prod._block_schema_id)
with get_client(sync_client=True) as client:  # as the form of the pages does, which checks less
    client.create_block_document(BlockDocumentCreate(name="odd", data=odd, **ids))
UsmSensor(url={sensor!r}).save("siem")
UsmSensor(url="tcp://127.0.0.1:1?name=down").save("down")
in_processes = sync.with_options(task_runner=ProcessPoolTaskRunner(max_workers=2))
for state in (
    in_processes(accounts=["prod"], sensors=["siem"], return_state=True),
    replay({since!r}, only="all", sensors=["siem"], return_state=True),
    check(accounts=["prod"], sensors=["siem"], return_state=True),
    check(accounts=["prod"], sensors=["down"], return_state=True),
    sync(accounts=["none"], sensors=["siem"], return_state=True),
    sync(accounts=["prod", "twin"], sensors=["siem"], return_state=True),
    sync(accounts=["odd"], sensors=["siem"], return_state=True),
):
    print(state.name, state.message.splitlines()[0], sep=": ")
"""


def test_blocks_stand_in_for_the_auth_file_and_the_sensor(
    tmp_path: Path, prefect: PrefectServer, receiver: Receiver
) -> None:
    """By their names, also where each step runs in a process of its own.

    The secret is nowhere in the server's database, and in no log, not even where a run fails.
    """
    since = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    with HaloStandIn(accounts=1, events=EVENTS, days=2) as halo:
        [key_id, secret, _] = halo.auth_lines().strip().split("|")
        sensor = receiver.url("tcp", name="from-a-block")
        halo_usm = command_for(tmp_path, halo, sensor, days=3)
        for name in "HALO_AUTH_FILE", "USM_SENSOR":
            del halo_usm.settings[name]
        (tmp_path / "haloEvents.auth").unlink()
        halo_usm.settings |= prefect.environment
        program = PROGRAM.format(key_id=key_id, secret=secret, sensor=sensor, since=since)
        result = Command(tmp_path, halo_usm.settings, ("-c", program))()
    expected = [
        f"Completed: extracted alpha: 4 windows, {EVENTS} new",
        f"Completed: replayed from-a-block: {EVENTS} asked",
        "Completed: ok   account blocks prod: alpha",
        "Failed: FAIL sensor down: ",
        "Failed: there is no block none of type HaloAccount",
        "Failed: accounts: the block twin has the account",
        "Failed: the block odd of type HaloAccount cannot be used: correct its account on",
    ]
    ended = result.stdout.splitlines()
    assert [line[: len(start)] for line, start in zip(ended, expected, strict=True)] == expected
    assert len(receiver.messages("tcp")) == 2 * EVENTS

    shown = [
        run for run in ask(prefect.environment, "flow_runs") if run["parameters"].get("accounts")
    ]
    assert {"prod"} in [set(run["parameters"]["accounts"]) for run in shown]
    files = [*Path(prefect.environment["PREFECT_HOME"]).rglob("*.db*")]
    stored = b"".join(file.read_bytes() for file in files)
    assert b"from-a-block" in stored
    for text in (stored, result.stdout.encode(), result.stderr.encode()):
        assert secret.encode() not in text
