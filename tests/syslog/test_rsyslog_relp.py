"""RELP with a real rsyslog: as a receiver that is killed, restarted, frozen; and as a relay."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.receiver import Receiver
from tasks.syslog.transport import CONFIRMED, UNCONFIRMED, check
from tests import rsyslog
from tests.load.helpers import closed_port
from tests.rsyslog import RELP, RSyslog
from tests.syslog.helpers import batch, deliver, destination, lines, statuses
from tests.syslog.kills import kill_while_reading, unconfirmed

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "usm-anywhere.md"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RSyslog]:
    """A rsyslog of a test's own."""
    rsyslog.require()
    with RSyslog(tmp_path) as running:
        yield running


def test_check_and_the_longest_line(running: RSyslog) -> None:
    """A check says whom it reached and leaves no message; a line of 60,000 bytes arrives whole."""
    for listener in RELP:
        url = running.url(listener)
        assert "RELP with librelp 1" in check(destination(url))
        outcome = deliver(url, 3, 60_000)
        assert statuses(outcome) == {CONFIRMED}, outcome.error
        assert running.messages(listener) == lines(3, size=60_000).to_pylist()


@pytest.mark.parametrize("listener", RELP)
def test_killed_while_reading(running: RSyslog, listener: str) -> None:
    """Under SIGKILL nothing is lost: what it acknowledged is in its file, message by message."""
    kill_while_reading(running, listener, 1000, 3, running.kill)


@pytest.mark.soak
@pytest.mark.parametrize("size", [100, 5000])
@pytest.mark.parametrize("listener", RELP)
def test_killed_a_hundred_times(running: RSyslog, listener: str, size: int) -> None:
    """A hundred times the same, in small batches and in large ones."""
    kill_while_reading(running, listener, size, 100, running.kill)


def test_restarted_while_reading(running: RSyslog) -> None:
    """In an ordinary restart (SIGTERM) nothing is lost, and nothing confirmed but not written."""
    kill_while_reading(running, "relp-rfc3164", 1000, 2, running.stop)


def test_frozen(running: RSyslog) -> None:
    """A rsyslog that is stopped in its tracks costs the time limit and confirms nothing."""
    to = destination(running.url("relp-rfc3164", timeout=1))
    transport = to.open_transport()
    assert not len(unconfirmed(transport, batch(to, 100)))
    os.kill(running.pid, signal.SIGSTOP)
    start = time.monotonic()
    outcome = transport.deliver(batch(to, 100, 100))
    os.kill(running.pid, signal.SIGCONT)
    assert time.monotonic() - start < 30
    assert statuses(outcome) == {UNCONFIRMED}
    assert "acknowledged next to nothing for 1 s" in str(outcome.error)
    assert not len(unconfirmed(transport, batch(to, 100, 100)))
    transport.close()
    assert set(running.wait_for("relp-rfc3164", 200)) == {*lines(200).to_pylist()}


@contextmanager
def relay(folder: Path, sensor: int, queue: str) -> Iterator[int]:
    """A rsyslog as the documentation sets it up, in front of a sensor's port; yields its own."""
    rsyslog.require()
    found = rsyslog.find()
    assert found
    [text] = re.findall(r"```rsyslog\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    port = closed_port()
    for documented, here in (
        ('port="2514"', f'address="127.0.0.1" port="{port}"'),
        ('port="601"', f'port="{sensor}"'),
        ("sensor.example.com", "127.0.0.1"),
        ('queue.type="Direct"', queue),
        ('resumeRetryCount="-1"', 'resumeRetryCount="-1" action.resumeInterval="1"'),
    ):
        assert text.count(documented) == 1, documented
        text = text.replace(documented, here)
    config = folder / "relay.conf"
    config.write_text(f'global(workDirectory="{folder}")\n{text}')
    with (folder / "relay.log").open("wb") as log:
        process = subprocess.Popen(
            found.command(config),
            env={**os.environ, **found.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.01)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("queue", "holds"),
    [
        pytest.param('queue.type="Direct"', 0, id="as documented"),
        pytest.param(
            'queue.type="LinkedList" queue.size="100" queue.lightDelayMark="0" '
            'queue.timeoutEnqueue="10"',
            100,
            id="with a queue",
        ),
    ],
)
def test_relay_whose_sensor_is_away(tmp_path: Path, queue: str, holds: int) -> None:
    """It acknowledges what it can hold, and no more; once the sensor is there everything comes."""
    count, sensor = 200, closed_port()
    with relay(tmp_path, sensor, queue) as port:
        to = destination(f"relp://127.0.0.1:{port}?timeout=1")
        transport = to.open_transport()
        left = batch(to, count)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            left = unconfirmed(transport, left)
            assert count - holds <= len(left)
        assert holds == 0 or len(left) < count
        with Receiver("tcp", port=sensor) as receiver:
            until = time.monotonic() + 60
            while len(left) and time.monotonic() < until:
                left = unconfirmed(transport, left)
            transport.close()
            assert not len(left)
            read = receiver.wait_for(count, "tcp")
    assert {*read} == {*batch(destination("udp://h:514"), count).to_pylist()}
