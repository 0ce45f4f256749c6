"""A command stops within a second at any moment, and leaves the staging whole."""

from __future__ import annotations

import json
import signal
import socket
import textwrap
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from sandbox import faults
from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tasks.staging.names import file_names
from tasks.staging.schemas import RAW_SCHEMA
from tasks.staging.store import open_store
from tasks.time_window import Window
from tests.flows.command import Command, command_for
from tests.flows.test_interruption import wait_until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

SOON = 3.0
"""Seconds: one is promised, the others allow for a machine that is busy with other work."""
NUMBERS = (signal.SIGTERM, signal.SIGINT)


def assert_stops(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """The signal ends the command soon, with 130 and no stack trace."""
    sent = time.monotonic()
    process.send_signal(number)
    try:
        _, err = process.communicate(timeout=10 * SOON)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert time.monotonic() - sent < SOON


def assert_whole(halo_usm: Command, count: int) -> None:
    """After a sync that is not stopped, so many events are staged, normalized and delivered."""
    halo_usm("sync")
    assert list((halo_usm.folder / "staging" / ".tmp").glob("*")) == []
    found = json.loads(halo_usm("audit", "--since", "2010-01-01", "--json").stdout)
    assert found["consistent"]
    assert found["staged"] == found["normalized"] == count
    (destination,) = found["destinations"].values()
    assert destination["delivered"] == count


LONG_AGO = f"{datetime.now(UTC) - timedelta(days=60):%Y-%m-%d}"


@pytest.mark.parametrize(
    "command",
    [("sync",), pytest.param(("extract", "--since", LONG_AGO), marks=pytest.mark.soak)],
)
def test_at_any_moment(tmp_path: Path, command: tuple[str, ...]) -> None:
    """From its start to its end, with both signals: what was staged before stays as it is."""
    events = 3_000
    with (
        HaloStandIn(accounts=1, events=events, days=20, latency_ms=5) as halo,
        Receiver("tcp") as receiver,
    ):
        halo_usm = command_for(tmp_path, halo, receiver.url("tcp", batch=100), days=30)
        requests = 1
        for moment in range(8):
            before = halo.counters.requests
            process = halo_usm.popen(*command)
            # as many requests later as it takes for each run to get further than the one before
            requests += 7 * moment
            wait_until(
                lambda: halo.counters.requests - before >= requests or process.poll() is not None  # noqa: B023
            )
            if process.poll() is not None:
                process.communicate()
                break
            assert_stops(process, NUMBERS[moment % 2])
        assert_whole(halo_usm, events)


@pytest.mark.parametrize("fault", [faults.timeout(), faults.status(503, retry_after=60)])
def test_while_the_api_is_waited_for(tmp_path: Path, fault: faults.Fault) -> None:
    """It waits neither for an answer that does not come, nor for the pause that the API demands."""
    with HaloStandIn(accounts=1, events=50, days=1) as halo, Receiver("tcp") as receiver:
        halo.fail(fault, times=None)
        halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=2)
        process = halo_usm.popen("sync")
        wait_until(lambda: halo.counters.requests > 1)
        assert_stops(process, signal.SIGTERM)
        halo.heal()
        assert_whole(halo_usm, 50)


def test_while_a_name_is_looked_up(tmp_path: Path) -> None:
    """A resolver that does not answer cannot be interrupted, but the command ends."""
    slow = tmp_path / "slow"
    slow.mkdir()
    asked = tmp_path / "asked"
    (slow / "sitecustomize.py").write_text(
        textwrap.dedent(
            f"""
            import pathlib, socket, time

            def getaddrinfo(*_, **__):
                pathlib.Path({str(asked)!r}).touch()
                time.sleep(60)

            socket.getaddrinfo = getaddrinfo
            """
        )
    )
    with HaloStandIn(accounts=1) as halo:
        halo_usm = command_for(tmp_path, halo, "udp://127.0.0.1:9", days=1)
    halo_usm.settings["HALO_API_URL"] = "https://halo.example.com"
    halo_usm.settings["PYTHONPATH"] = f"{halo_usm.environment['PYTHONPATH']}:{slow}"
    process = halo_usm.popen("sync")
    wait_until(asked.exists)
    assert_stops(process, signal.SIGTERM)


def test_while_a_large_file_is_transformed(tmp_path: Path) -> None:
    """A file that takes many seconds is left unfinished; the next transform normalizes it."""
    count = 500_000
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
    stage_many(tmp_path, day, count)
    with HaloStandIn(accounts=1) as halo, Receiver("tcp") as receiver:
        halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=3)
        tmp = tmp_path / "staging" / ".tmp"
        process = halo_usm.popen("transform")
        wait_until(lambda: any(path.stat().st_size for path in tmp.glob("*")))
        assert_stops(process, signal.SIGTERM)
        assert list((tmp_path / "staging" / "normalized").rglob("*.parquet")) == []
        assert "normalized" in halo_usm("transform").stdout
        found = json.loads(halo_usm("audit", "--since", f"{day:%Y-%m-%d}", "--json").stdout)
        assert found["consistent"]
        assert found["normalized"] == count
        assert list(tmp.glob("*")) == []


def stage_many(folder: Path, day: datetime, count: int) -> None:
    """One raw file of many events."""
    moments = pa.array([day] * count, pa.timestamp("us", "UTC"))
    text = '{{"id": "{0:032x}", "type": "server_restarted", "message": "event {0}"}}'
    events = {
        "event_id": pa.array([f"{number:032x}" for number in range(count)]),
        "created_at": moments,
        "type": pa.repeat("server_restarted", count),
        "name": pa.repeat("Server restarted", count),
        "critical": pa.repeat(False, count),  # noqa: FBT003 - a column's value
        "event": pa.array([text.format(number) for number in range(count)]),
        "extracted_at": moments,
    }
    store = open_store(str(folder / "staging"))
    name = file_names.raw_name(Window.of_day(day.date()), count)
    table = pa.table(events, schema=RAW_SCHEMA)
    store.publish(table, "raw", "alpha", day.date(), name)


def test_a_batch_in_hand_is_finished_and_recorded(tmp_path: Path) -> None:
    """A receiver that reads nothing has until its `timeout=`; no further batch is sent."""
    with (
        HaloStandIn(accounts=1, events=500, days=1) as halo,
        Receiver("tcp") as receiver,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        slow = f"tcp://127.0.0.1:{listener.getsockname()[1]}?name=slow&timeout=2&batch=100"
        halo_usm = command_for(tmp_path, halo, slow, days=2)
        halo_usm("extract")
        halo_usm("transform")
        process = halo_usm.popen("load")
        connection, _ = listener.accept()  # may be made before the batch is
        with connection:
            connection.recv(1, socket.MSG_PEEK)
            sent = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=60)
            assert time.monotonic() - sent < 3 * 2 + SOON
        assert process.returncode == 130, err
        assert "Traceback" not in err
        told = halo_usm.status()["destinations"]["slow"]
        assert 0 < told["failed"] <= 100
        assert (told["pending"], told["delivered"]) == (500, 0)
        halo_usm.settings["USM_SENSOR"] = receiver.url("tcp", name="slow")
        halo_usm("load")
        assert len(receiver.messages("tcp")) == 500
