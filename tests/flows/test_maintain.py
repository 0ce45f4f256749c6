"""`halo-usm maintain`, as a command and as a flow run."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tasks.staging.locks import hold
from tasks.staging.store import open_store
from tests.flows.command import command_for
from tests.flows.prefect_api import ask, last_run, settle

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.halo_api import HaloStandIn
    from sandbox.receiver import Receiver
    from tests.flows.command import Command

pytestmark = pytest.mark.timeout(300)  # a server may have to start first

_PROGRAM = """
from flows.__main__ import main
from tasks.maintain import maintenance_run

maintenance_run.LOCK_WAIT = 0.1
main()
"""
WITH_SHORT_WAIT = ("-c", _PROGRAM)
"""Waits for what another run holds, but not for half a minute."""


@pytest.fixture
def halo_usm(tmp_path: Path, halo: HaloStandIn, receiver: Receiver) -> Command:
    """A command line that has synced and keeps a day from now on.

    Each account has an event of the last day that is dropped, which has few others late at night.
    """
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    last = midnight - timedelta(days=1, seconds=1)
    for number, name in enumerate(halo.accounts):
        halo[name].add([{"id": f"{number:032x}", "created_at": last.isoformat(), "type": "?"}])
    command = command_for(tmp_path, halo, receiver.url("tcp", name="sensor"), days=3)
    command("sync")
    command.settings["HALO_RETENTION_DAYS"] = "1"
    return command


def test_every_account_of_the_staging_is_maintained(halo_usm: Command, halo: HaloStandIn) -> None:
    """Without the auth file; a dry run changes nothing; what is left is said, and no failure."""
    (halo_usm.folder / "haloEvents.auth").unlink()
    before = halo_usm.status()["accounts"]
    planned = halo_usm("maintain", "--dry-run").stdout
    assert halo_usm.status()["accounts"] == before
    would = "3 days sealed, 2 days dropped"
    assert planned == "".join(f"would maintain {name}: {would}\n" for name in halo.accounts)

    sensor = halo_usm.settings.pop("USM_SENSOR")
    result = halo_usm("maintain")
    assert "account alpha: 2 days from " in result.stderr
    assert "USM_SENSOR is not set" in result.stderr
    assert "maintained alpha: 3 days sealed\n" in result.stdout
    halo_usm.settings["USM_SENSOR"] = f"tcp://127.0.0.1:9?name=slow {sensor}"
    result = halo_usm("maintain")  # one of the two days has no event, and nobody waits for it
    assert result.stderr.count("destination slow has not got") == len(halo.accounts)

    halo_usm.settings["USM_SENSOR"] = sensor
    with hold(open_store(halo_usm.settings["HALO_STAGING"]), "account", "beta"):
        result = replace(halo_usm, program=WITH_SHORT_WAIT)("maintain")
    assert "note: account beta is held by another run, and is left to it" in result.stderr
    assert "maintained alpha: 1 day dropped" in result.stdout
    assert "maintained beta: 1 day dropped" in halo_usm("maintain").stdout
    found = halo_usm.status()["accounts"]
    assert all(len(account["dropped"]) == 1 and not account["gaps"] for account in found.values())
    shown = halo_usm("status").stdout
    assert len(re.findall("retention dropped the days from", shown)) == len(halo.accounts)
    since = found["alpha"]["dropped"][0][0]
    assert "no longer staged" in halo_usm("audit", "--since", since).stdout
    result = halo_usm("export", "--since", since, "--format", "cef")
    assert "note: 2 days of the range are no longer staged" in result.stderr


def test_a_maintenance_is_a_flow_run(halo_usm: Command, server: dict[str, str]) -> None:
    """A task run an account, and an artifact that says what was done."""
    halo_usm.settings |= server
    halo_usm("maintain", "--dry-run")
    assert re.fullmatch(r"maintain dry run [-\d]+ [:\d]+", last_run(server)["name"])
    result = halo_usm("maintain")
    run = last_run(server)
    assert run["state_name"] == "Completed"
    assert run["state"]["message"].startswith(result.stdout.strip())
    assert re.fullmatch(r"maintain [-\d]+ [:\d]+", run["name"])
    expected = {"maintain-alpha", "maintain-beta", "maintain-gamma"}
    names = settle(server, run, len(expected))
    assert (set(names), set(names.values())) == (expected, {"COMPLETED"})
    pages = {"key": {"any_": ["halo-usm-maintain"]}}
    [page] = ask(server, "artifacts", artifacts=pages, flow_runs={"id": {"any_": [run["id"]]}})
    assert "| ` alpha ` | 3 | 2 |" in page["data"]
