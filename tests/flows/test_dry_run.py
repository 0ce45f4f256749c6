"""`replay --dry-run`, as a command and as a flow run."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.flows.command import EVENTS, ROOT, command_for
from tests.flows.prefect_api import ask, log_lines, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.halo_api import HaloStandIn
    from sandbox.receiver import Receiver

_FLOW = "from flows.replay import replay; replay(since={!r}, only='all', dry_run=True)"


def test_a_dry_run_says_what_the_replay_then_sends(
    tmp_path: Path, halo: HaloStandIn, receiver: Receiver, server: dict[str, str]
) -> None:
    """A line a destination, account and day, with totals, on stdout and in a flow run's state."""
    url = f"{receiver.url('tcp', name='a')} {receiver.url('tcp', name='b')}&critical=true"
    halo_usm = command_for(tmp_path, halo, url)
    halo_usm("sync")
    sent = len(receiver.messages("tcp"))
    since = (datetime.now(UTC) - timedelta(days=5)).isoformat()
    dry = halo_usm("replay", "--since", since, "--only", "all", "--dry-run")
    assert (dry.stderr, len(receiver.messages("tcp"))) == ("", sent)
    rows = [line.split() for line in dry.stdout.splitlines() if line]
    assert rows[0] == ["destination", "account", "day", "events", "left", "out"]
    assert rows[-1] == ["A", "dry", "run:", "nothing", "was", "sent."]
    totals = {row[0]: [int(cell) for cell in row[3:]] for row in rows if row[1:3] == ["all"] * 2}
    assert totals["a"] == [EVENTS, 0]
    assert sum(totals["b"]) == EVENTS
    assert totals["b"] == [
        sum(int(row[column]) for row in rows if row[0] == "b" and row[1] != "all")
        for column in (3, 4)
    ]
    assert totals["all"] == [totals["a"][0] + totals["b"][0], totals["b"][1]]

    subprocess.run(
        [sys.executable, "-c", _FLOW.format(since)],
        cwd=tmp_path,
        env=halo_usm.environment | server | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        timeout=100,
    )
    assert len(receiver.messages("tcp")) == sent
    [flow] = ask(server, "flows", flows={"name": {"any_": ["replay"]}})
    [run] = [
        run
        for run in ask(server, "flow_runs", flows={"id": {"any_": [flow["id"]]}})
        if run["parameters"].get("dry_run") and run["parameters"]["since"] == since
    ]
    table = dry.stdout.removesuffix("\n")
    assert (run["state_type"], run["state"]["message"]) == ("COMPLETED", table)
    wait_for(lambda: (logging.INFO, table) in log_lines(server, run))

    said = halo_usm("replay", "--since", since, "--only", "all").stdout
    asked = [int(number) for number in re.findall(r"(\d+) asked", said)]
    assert asked == [totals["a"][0], totals["b"][0]]
