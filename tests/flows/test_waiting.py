"""Commands whose account or destination is held by another run: which wait, and which do not."""

from __future__ import annotations

import re
import shutil
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from flows.cli.app import run
from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tasks.staging.locks import hold
from tasks.staging.store import open_store
from tests.flows.command import Command, command_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.staging.store import Store

EVENTS = 60
SINCE = str(datetime.now(UTC).date() - timedelta(days=5))
RANGES = [
    ("destination", "sensor", ["replay", "--since", SINCE]),
    ("account", "alpha", ["extract", "--since", SINCE]),
    ("account", "alpha", ["transform", "--since", SINCE]),
    ("account", "alpha", ["sync", "--lookback", "1440"]),
    ("destination", "sensor", ["sync", "--lookback", "1440"]),
]


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Command, Receiver]]:
    """A command line whose staging has some events delivered, to be copied; and its sensor."""
    home = tmp_path_factory.mktemp("synced")
    with HaloStandIn(accounts=1, events=EVENTS, days=3) as halo, Receiver("tcp") as receiver:
        command = command_for(home, halo, receiver.url("tcp", name="sensor"), days=4)
        command("sync")
        yield command, receiver


@pytest.fixture
def halo_usm(tmp_path: Path, synced: tuple[Command, Receiver]) -> Command:
    """That command line with a staging of its own."""
    command, _ = synced
    shutil.copytree(command.folder / "staging", tmp_path / "staging")
    return Command(tmp_path, command.settings | {"HALO_STAGING": str(tmp_path / "staging")})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The command's staging."""
    return open_store(str(tmp_path / "staging"))


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    """Wait until a command has said something on standard error."""
    assert process.stderr is not None
    said = ""
    while text not in said:
        line = process.stderr.readline()
        assert line, f"it ended having said {said!r}"
        said += line


@pytest.mark.parametrize(("kind", "name", "command"), RANGES)
def test_a_range_that_waited_in_vain_fails(
    halo_usm: Command, store: Store, kind: str, name: str, command: list[str]
) -> None:
    """Exit code 1, and a line that says who holds what."""
    with hold(store, kind, name):  # type: ignore[arg-type]
        result = halo_usm(*command, "--wait", "0.02", code=1)
    held = f"{kind} {name} is held by another run"
    assert f"waiting: {held}" in result.stderr
    assert re.search(f"error: .*{held}, and was for the 0.02 minutes", result.stderr)


def test_a_replay_waits_for_its_turn(
    halo_usm: Command, store: Store, synced: tuple[Command, Receiver]
) -> None:
    """A command plans once it holds the lock: nothing is sent that the other run has sent."""
    _, receiver = synced
    before = len(receiver.messages("tcp"))
    with hold(store, "destination", "sensor"):
        process = halo_usm.popen("replay", "--since", SINCE, "--only", "all")
        wait_for_line(process, "waiting: destination sensor")
        assert len(receiver.messages("tcp")) == before
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert f"{EVENTS} asked, {EVENTS} tried, {EVENTS} delivered, 0 failed, 0 not tried" in out
    assert len(receiver.messages("tcp")) == before + EVENTS


def test_a_replay_that_may_not_wait_fails(halo_usm: Command, store: Store) -> None:
    """The other run does not do what was asked for."""
    with hold(store, "destination", "sensor"):
        result = halo_usm("replay", "--since", SINCE, "--wait", "0", code=1)
    assert "error: destination sensor is held by another run" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_waiting(halo_usm: Command, store: Store, number: signal.Signals) -> None:
    """At once, with exit code 130."""
    with hold(store, "destination", "sensor"):
        process = halo_usm.popen("replay", "--since", SINCE, "--only", "all")
        wait_for_line(process, "waiting: destination sensor")
        started = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - started < 30, "it would have waited for ten minutes"
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [["sync"], ["load"]])
def test_what_was_asked_for_nothing_of_its_own_does_not_wait(
    halo_usm: Command, store: Store, command: list[str]
) -> None:
    """A plain sync or load leaves what is held to the other run, says so, and exits with 0."""
    with hold(store, "account", "alpha"), hold(store, "destination", "sensor"):
        result = halo_usm(*command)
    assert "destination sensor is held by another run" in result.stderr
    assert "waiting" not in result.stderr


def test_a_plain_sync_waits_where_it_is_told_to(halo_usm: Command, store: Store) -> None:
    """`--wait` works for every command that has it."""
    held = threading.Event()
    with hold(store, "account", "alpha"):
        process = halo_usm.popen("sync", "--wait", "5")
        wait_for_line(process, "waiting: account alpha")
        held.set()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert held.is_set()
    assert "held by" not in err


@pytest.mark.parametrize("minutes", ["-1", "nan", "inf", "soon"])
def test_a_wait_that_is_no_time_is_wrong_usage(
    in_folder: Path, capsys: pytest.CaptureFixture[str], minutes: str
) -> None:
    """Exit code 2; nothing was touched."""
    assert run(["replay", "--since", SINCE, f"--wait={minutes}"]) == 2
    assert "--wait" in capsys.readouterr().err
    assert not list(in_folder.iterdir())
