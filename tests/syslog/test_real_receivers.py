"""Delivery to syslog-ng and rsyslog alike, on each listener of a USM Anywhere sensor."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tasks.syslog.message import encode
from tasks.syslog.transport import check
from tests import rsyslog, syslog_ng
from tests.rsyslog import RSyslog
from tests.syslog.helpers import WHEN, deliver, destination, lines, statuses
from tests.syslog.kills import BYTES, kill_while_reading
from tests.syslog_daemon import LISTENERS
from tests.syslog_ng import SyslogNG

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.syslog_daemon import SyslogDaemon

PROGRAMS = [
    pytest.param(syslog_ng, id="syslog-ng", marks=pytest.mark.syslog_ng),
    pytest.param(rsyslog, id="rsyslog"),
]
STREAMS = [name for name in LISTENERS if not name.startswith("udp")]
RSYSLOG_READS = 128 * 1024  # bytes at once: tcpsrv.c, imptcp.c
AWKWARD = [
    r"CEF:0|CloudPassage|Halo|1.0|999|A \| B \\ C|3|msg=a\=b \n c cs1=C:\\d",
    "CEF:0|CloudPassage|Halo|1.0|999|Ünïcödé 😀|3|msg=日本語 \ufffd",
    "CEF:0|CloudPassage|Halo|1.0|999|spaces|3|msg=a  b   c",
    "CEF:0|CloudPassage|Halo|1.0|999|outer spaces|3|msg=  a  ",
    "CEF:0|CloudPassage|Halo|1.0|999|quotes|3|msg=\"a\" 'b' <14> [x]: {y}",
    "CEF:0|CloudPassage|Halo|1.0|999|patterns|3|msg=%msg% $!cef #011 \\\\x09",
]


def made(program: object, folder: Path) -> SyslogDaemon:
    """One of the programs, to be run in a folder; the test is skipped where it is missing."""
    if program is syslog_ng:
        syslog_ng.require()
        return SyslogNG(folder)
    rsyslog.require()
    return RSyslog(folder)


@pytest.fixture(scope="module", params=PROGRAMS)
def daemon(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SyslogDaemon]:
    """A real receiver with the sensor's five listeners."""
    with made(request.param, tmp_path_factory.mktemp("daemon")) as running:
        yield running


@pytest.fixture(params=PROGRAMS)
def one_to_kill(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SyslogDaemon]:
    """A real receiver of a test's own."""
    with made(request.param, tmp_path) as running:
        yield running


@pytest.mark.parametrize("listener", LISTENERS)
def test_every_listener_gets_the_very_line(daemon: SyslogDaemon, listener: str) -> None:
    """On each of the sensor's ports the CEF line arrives unaltered, its header understood."""
    to = destination(daemon.url(listener))
    # So few datagrams that all of them fit into the receiver's buffer at once.
    texts = pa.array([*AWKWARD, *lines(50 if to.scheme == "udp" else 200, size=700).to_pylist()])
    hosts = pa.array([None, "web: 1", "", *["db-1.example"] * (len(texts) - 3)])
    times = pa.array([WHEN] * len(texts), pa.timestamp("us", tz="UTC"))
    before = len(daemon.records(listener))
    outcome = to.open_transport().deliver(encode(texts, times, hosts, to))
    assert statuses(outcome) == {"sent" if to.scheme == "udp" else "confirmed"}, outcome.error
    daemon.wait_for(listener, before + len(texts))
    records = daemon.records(listener)[before:]
    assert [record.message for record in records] == texts.to_pylist()
    assert {(record.priority, record.program) for record in records} == {(14, "cpapi")}
    assert records[1].host == "web--1"
    assert records[-1].host == "db-1.example"
    if to.format == "rfc5424":
        assert {datetime.fromisoformat(record.time) for record in records} == {WHEN}
    else:  # RFC 3164 has no year
        assert {record.time[5:19] for record in records} == {"08-22T16:24:30"}


@pytest.mark.parametrize("listener", LISTENERS)
def test_the_longest_line(daemon: SyslogDaemon, listener: str) -> None:
    """A line of 60,000 bytes, the longest there is, arrives whole over each transport."""
    before = len(daemon.records(listener))
    outcome = deliver(daemon.url(listener), 3, 60_000)
    assert statuses(outcome) <= {"sent", "confirmed"}, outcome.error
    assert daemon.wait_for(listener, before + 3)[before:] == lines(3, size=60_000).to_pylist()


@pytest.mark.parametrize("listener", LISTENERS)
def test_check(daemon: SyslogDaemon, listener: str) -> None:
    """A check passes on every port and leaves no message there."""
    before = daemon.records(listener)
    assert listener.partition("-")[2] in check(destination(daemon.url(listener)))
    assert daemon.records(listener) == before


@pytest.mark.parametrize("listener", STREAMS)
def test_killed_while_reading(one_to_kill: SyslogDaemon, listener: str) -> None:
    """Under SIGKILL nothing is lost and nothing is confirmed that was not read."""
    kill(one_to_kill, listener, 1000, 3)


@pytest.mark.soak
@pytest.mark.parametrize("size", [100, 5000])
@pytest.mark.parametrize("listener", STREAMS)
def test_killed_a_hundred_times(one_to_kill: SyslogDaemon, listener: str, size: int) -> None:
    """A hundred times the same, in small batches and in large ones."""
    kill(one_to_kill, listener, size, 100)


def kill(daemon: SyslogDaemon, listener: str, size: int, times: int) -> None:
    """Kill a receiver so many times while it reads batches of a size.

    It may be killed holding what it has read and not yet written, the kernel closing the connection
    in order: so that is confirmed. rsyslog holds what its last read gave it of a large batch.
    syslog-ng has written all long before our end comes, but on a machine so busy that its threads
    wait for longer than we do.
    """
    if isinstance(daemon, RSyslog):
        in_hand, losses = (RSYSLOG_READS // BYTES if size * BYTES > RSYSLOG_READS else 0), times
    else:
        in_hand, losses = syslog_ng.WINDOW, times // 100
    kill_while_reading(daemon, listener, size, times, daemon.kill, in_hand=in_hand, losses=losses)
