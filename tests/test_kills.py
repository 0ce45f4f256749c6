"""Loads to real receivers that are killed while they read, and started again."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pytest

from tasks.load.destination import load_destination
from tasks.staging.store import open_store
from tasks.syslog.transport import CONFIRMED
from tests import rsyslog, syslog_ng
from tests.rsyslog import RSyslog
from tests.staging.rejecting_receiver import ids_in
from tests.staging.staged_data import normalized, read
from tests.syslog.helpers import destination
from tests.syslog_ng import SyslogNG

if TYPE_CHECKING:
    from pathlib import Path

    from tests.syslog_daemon import SyslogDaemon

EVENTS = 600
BATCH = 50
PAUSES = (0.2, 0.5)
LOADS = 10


def load_through_kills(
    folder: Path, sensor: SyslogDaemon, listener: str, kills: int, connections: int = 1
) -> None:
    """A day's events a kill: load them, the receiver being killed meanwhile, until none is left.

    Whatever the ledger calls confirmed has been read, at any time; in the end that is everything,
    once each; and a kill repeats at most a batch a connection.
    """
    store = open_store(str(folder / "staging"))
    options = {"name": "sensor", "batch": BATCH, "timeout": 3, "connections": connections}
    to = destination(sensor.url(listener, **options))
    chance = random.Random(f"{listener} {kills}")
    staged: list[str] = []
    broken = 0
    for day in range(kills):
        staged += normalized(store, EVENTS, day=day)
        ending = threading.Timer(chance.uniform(0.01, 0.25), sensor.kill)
        ending.start()
        done = load_destination(store, to, run_id="killed", pauses=())
        broken += bool(done.pending)
        ending.join()
        attempts = read(store, "deliveries", destination="sensor")
        confirmed = Counter(
            attempts.filter(pc.field("status") == CONFIRMED)["event_id"].to_pylist()
        )
        sensor.start()
        assert not confirmed.keys() - arrived(sensor, listener).keys()
        assert set(confirmed.values()) <= {1}
        for _ in range(LOADS):
            if not load_destination(store, to, run_id="again", pauses=PAUSES).pending:
                break
        else:
            pytest.fail("events stay pending although the receiver is there")
    found = arrived(sensor, listener)
    for event_id in found.keys() - {*staged}:
        assert any(whole.startswith(event_id) for whole in staged), "torn by a kill"
    assert found.keys() >= {*staged}
    repeats = sum(found[event_id] - 1 for event_id in staged)
    assert repeats <= kills * BATCH * connections
    assert broken, "else the kills came too late to prove anything"
    print(f"{kills} kills, {broken} of them broke a batch: {repeats} events came twice")


def arrived(sensor: SyslogDaemon, listener: str) -> Counter[str]:
    """How often each event is in the receiver's file."""
    return Counter(ids_in("\n".join(sensor.messages(listener)).encode()))


@pytest.mark.syslog_ng
@pytest.mark.parametrize(("listener", "connections"), [("tcp-rfc3164", 8), ("tls-rfc5424", 1)])
def test_syslog_ng_killed(tmp_path: Path, listener: str, connections: int) -> None:
    """Nothing is lost, nothing confirmed that was not read, a kill repeats a batch at most."""
    syslog_ng.require()
    with SyslogNG(tmp_path / "sensor") as sensor:
        load_through_kills(tmp_path, sensor, listener, 3, connections)


@pytest.mark.parametrize(("listener", "connections"), [("tcp-rfc5424", 1), ("relps-rfc5424", 8)])
def test_rsyslog_killed(tmp_path: Path, listener: str, connections: int) -> None:
    """The same with a rsyslog, over RELP, too."""
    rsyslog.require()
    with RSyslog(tmp_path / "sensor") as sensor:
        load_through_kills(tmp_path, sensor, listener, 3, connections)


@pytest.mark.soak
@pytest.mark.syslog_ng
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("connections", [1, 8])
@pytest.mark.parametrize("listener", ["tcp-rfc3164", "tls-rfc5424"])
def test_syslog_ng_killed_a_hundred_times(tmp_path: Path, listener: str, connections: int) -> None:
    """A hundred times the same."""
    syslog_ng.require()
    with SyslogNG(tmp_path / "sensor") as sensor:
        load_through_kills(tmp_path, sensor, listener, 100, connections)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("listener", "connections"), [("tls-rfc5424", 1), ("relp-rfc3164", 1), ("relp-rfc3164", 8)]
)
def test_rsyslog_killed_a_hundred_times(tmp_path: Path, listener: str, connections: int) -> None:
    """A hundred times the same with a rsyslog."""
    rsyslog.require()
    with RSyslog(tmp_path / "sensor") as sensor:
        load_through_kills(tmp_path, sensor, listener, 100, connections)
