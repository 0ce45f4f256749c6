"""The stand-in and the receiver as programs, to try settings against."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.halo_api import Clock, HaloStandIn
from sandbox.live_events import LiveEvents
from sandbox.password_guesses import password_guesses
from sandbox.receiver import Receiver
from tests.flows.command import ROOT, Command, wait_until
from tests.sample import RANGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def program(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program that is ended by Ctrl-C, in order."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def test_a_sync_between_two_programs(tmp_path: Path) -> None:
    """A person starts both, a sync with their settings brings events over, later ones as well."""
    auth, received = tmp_path / "keys", tmp_path / "received"
    live = ("--events", "60", "--accounts", "2", "--events-per-minute", "600")
    with (
        program("sandbox.halo_api", *live, "--write-auth", str(auth)) as halo,
        program("sandbox.receiver", "--listen", "tls", "--output", str(received)) as receiver,
    ):
        assert halo.stdout is not None
        assert receiver.stdout is not None
        settings = {
            "HALO_API_URL": halo.stdout.readline().strip(),
            "HALO_AUTH_FILE": str(auth),
            "USM_SENSOR": receiver.stdout.readline().strip(),
        }
        halo_usm = Command(tmp_path, settings)

        def count() -> int:
            halo_usm("sync")
            return received.read_bytes().count(b"externalId=")

        before = count()
        assert before >= 60
        wait_until(lambda: count() > before, receiver)


@pytest.mark.parametrize("module", ["sandbox.halo_api", "sandbox.receiver"])
def test_help(module: str) -> None:
    """Each says what it takes."""
    command = [sys.executable, "-m", module, "--help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--port" in said.stdout


@pytest.mark.parametrize("module", ["sandbox.halo_api", "sandbox.receiver"])
def test_a_port_that_is_taken(module: str) -> None:
    """It is said in one line, and what to do."""
    with Receiver("tcp") as other:
        command = [sys.executable, "-m", module, "--port", str(other.port("tcp"))]
        listen = ["--listen", "tcp"] if module == "sandbox.receiver" else []
        said = subprocess.run(
            [*command, *listen], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert said.returncode == 1
    [line] = said.stderr.splitlines()
    assert "Address already in use" in line
    assert line.endswith("choose another --port or file")


def test_live_events_are_listed_when_their_time_comes() -> None:
    """The events of half a minute are made before it, for each account its share."""
    with HaloStandIn(accounts=2, clock=Clock(at=RANGE.since)) as halo:
        live = LiveEvents(halo, per_minute=60)
        live.start()
        try:
            assert halo["alpha"].visible() == []
            halo.clock.set(RANGE.since + timedelta(seconds=30))
            until = time.monotonic() + 60
            while [len(account.visible()) for account in halo.accounts.values()] != [15, 15]:
                assert time.monotonic() < until
                time.sleep(0.01)
        finally:
            live.stop()
            live.join()


def test_password_guesses() -> None:
    """Always the same, in order, at one server; the last one may be right."""
    made = [
        list(password_guesses(20, RANGE.since, RANGE.until, "192.0.2.1", last_is_right=True))
        for _ in range(2)
    ]
    assert made[0] == made[1]
    times = [event["created_at"] for event in made[0]]
    assert times == sorted(times)
    assert len({event["server_id"] for event in made[0]}) == 1
    lines = [event["original_log_entry"] for event in made[0]]
    assert ["Accepted" in line for line in lines] == [False] * 19 + [True]
    assert all("from 192.0.2.1 port" in line for line in lines)
