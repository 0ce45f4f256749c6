"""A run that is interrupted ends in order, and the next one goes on; two at once do no harm."""

from __future__ import annotations

import re
import shlex
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tests.flows.command import command_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVENTS = 4_000


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something to become true.

    Raises:
        TimeoutError: It did not.
    """
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.01)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.soak)]
)
def test_an_interrupted_sync_exits_130_and_the_next_one_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    """In the middle of extraction; afterwards every event has arrived once."""
    with (
        HaloStandIn(accounts=1, events=EVENTS, days=30, latency_ms=30) as halo,
        Receiver("tcp") as receiver,
    ):
        halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=31)
        halo_usm.settings["HALO_CONCURRENCY"] = "2"
        process = halo_usm.popen("sync")
        raw = tmp_path / "staging" / "raw"
        wait_until(lambda: sum(1 for _ in raw.rglob("*.parquet")) > 3)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert "Traceback" not in err
        assert halo_usm.status()["accounts"]["alpha"]["staged"] < EVENTS
        halo_usm("sync")
        assert len(receiver.messages("tcp")) == EVENTS
        ids = pd.read_parquet(tmp_path / "staging" / "normalized", columns=["event_id"])
        assert ids["event_id"].nunique() == len(ids) == EVENTS


STILL_PYTHONS_OWN = ("init_import_site", "import runpy module")
"""What Python prints, with exit code 1, if it is interrupted before it runs our code."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.1, 0.2, 0.4])
def test_an_interruption_of_the_start_is_no_fault(
    tmp_path: Path, number: signal.Signals, after: float
) -> None:
    """Ctrl-C or SIGTERM while modules are loaded ends with 130 and without a stack trace."""
    with HaloStandIn(accounts=1) as halo:
        process = command_for(tmp_path, halo, "tcp://127.0.0.1:1").popen("status")
        time.sleep(after)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    begun = process.returncode != -number and not any(words in err for words in STILL_PYTHONS_OWN)
    if begun:
        assert process.returncode in {0, 130}
        assert not err


def test_an_interrupted_load_finishes_its_batch_and_the_next_one_sends_the_rest(
    tmp_path: Path,
) -> None:
    """The ledger knows what was sent: afterwards every event has arrived once."""
    with HaloStandIn(accounts=1, events=600, days=1) as halo, Receiver("udp") as receiver:
        sensor = receiver.url("udp", name="slow", rate=100, batch=50)
        halo_usm = command_for(tmp_path, halo, sensor)
        halo_usm("extract")
        halo_usm("transform")
        process = halo_usm.popen("load")
        wait_until(lambda: receiver.counts()["udp"] > 100)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        sent = receiver.counts()["udp"]
        assert sent < 600
        assert halo_usm.status()["destinations"]["slow"]["delivered"] == sent
        halo_usm.settings["USM_SENSOR"] = receiver.url("udp", name="slow")
        halo_usm("load")
        assert len(receiver.wait_for(600, "udp")) == 600
        assert set(Counter(receiver.messages("udp")).values()) == {1}


def test_an_interrupted_replay_says_what_goes_on(tmp_path: Path) -> None:
    """The command that it prints, run unchanged, sends the events that were not yet sent again."""
    env_file = tmp_path / "other settings.env"
    with HaloStandIn(accounts=1, events=600, days=1) as halo, Receiver("udp", "tcp") as receiver:
        halo_usm = command_for(tmp_path, halo, receiver.url("udp", name="sensor"))
        halo_usm("sync")
        assert len(receiver.wait_for(600, "udp")) == 600
        del halo_usm.settings["USM_SENSOR"]
        env_file.write_text(f"USM_SENSOR={receiver.url('udp', name='sensor', rate=100, batch=50)}")
        since = "--since", str(datetime.now(UTC).date() - timedelta(days=3))
        process = halo_usm.popen("replay", *since, "--only=all", "--env-file", str(env_file))
        wait_until(lambda: receiver.counts()["udp"] > 700)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        told = re.search(r"600 asked, (\d+) tried, (\d+) delivered, 0 failed, (\d+) not tried", out)
        assert told, out
        tried, _, rest = map(int, told.groups())
        assert tried + rest == 600
        env_file.write_text(f"USM_SENSOR={receiver.url('tcp', name='sensor')}")
        command = re.search(r"go on with `halo-usm ([^`]+)`", err)
        assert command, err
        # events that share the time of the first of the rest are sent with it
        again = re.search(r"which sends (\d+) events? that w\w+ delivered just now once more", err)
        halo_usm(*shlex.split(command[1]))
        assert len(receiver.messages("tcp")) == rest + (int(again[1]) if again else 0)


def test_of_two_syncs_at_once_one_leaves_the_account_to_the_other(tmp_path: Path) -> None:
    """The second says so and exits 0; every event is staged and sent once."""
    with (
        HaloStandIn(accounts=1, events=2_000, days=30, latency_ms=30) as halo,
        Receiver("tcp") as receiver,
    ):
        halo_usm = command_for(tmp_path, halo, receiver.url("tcp"))
        first = halo_usm.popen("sync")
        wait_until(lambda: halo.counters.requests > 3)
        halo.switches.latency_ms = 3_000  # the first is at work for as long as the second takes
        second = halo_usm("sync")
        halo.switches.latency_ms = 30
        _, err = first.communicate(timeout=60)
        assert "held by another run" in second.stderr
        assert first.returncode == 0, err
        assert halo.counters.logins == 1
        halo_usm("load")  # what came while the other one was delivering
        assert len(receiver.messages("tcp")) == 2_000
        assert set(Counter(receiver.messages("tcp")).values()) == {1}
