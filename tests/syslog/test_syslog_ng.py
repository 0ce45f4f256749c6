from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from sandbox.certificates import Authority
from tasks.errors import SensorError
from tasks.syslog.message import encode
from tasks.syslog.transport import check, open_transport
from tests.syslog.helpers import (
    WHEN,
    batch,
    deliver,
    destination,
    lines,
    require_ipv6,
    statuses,
)
from tests.syslog.kills import kill_while_reading
from tests.syslog_ng import LISTENERS, SyslogNG, require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.syslog_ng

STREAMS = [name for name in LISTENERS if not name.startswith("udp")]
AWKWARD = [
    r"CEF:0|CloudPassage|Halo|1.0|999|A \| B \\ C|3|msg=a\=b \n c cs1=C:\\d",
    "CEF:0|CloudPassage|Halo|1.0|999|Ünïcödé 😀|3|msg=日本語 \ufffd",
    "CEF:0|CloudPassage|Halo|1.0|999|spaces|3|msg=a  b   c",
    "CEF:0|CloudPassage|Halo|1.0|999|quotes|3|msg=\"a\" 'b' <14> [x]: {y}",
]


@pytest.mark.parametrize("listener", LISTENERS)
def test_every_listener_gets_the_very_line(sensor: SyslogNG, listener: str) -> None:
    """On each of the sensor's ports the CEF line arrives unaltered, its header understood."""
    to = destination(sensor.url(listener))
    # So few datagrams that all of them fit into the receiver's buffer at once.
    texts = pa.array([*AWKWARD, *lines(50 if to.scheme == "udp" else 200, size=700).to_pylist()])
    hosts = pa.array([None, "web: 1", "", *["db-1.example"] * (len(texts) - 3)])
    times = pa.array([WHEN] * len(texts), pa.timestamp("us", tz="UTC"))
    before = len(sensor.records(listener))
    outcome = open_transport(to).deliver(encode(texts, times, hosts, to))
    assert statuses(outcome) == {"sent" if to.scheme == "udp" else "confirmed"}, outcome.error
    sensor.wait_for(listener, before + len(texts))
    records = sensor.records(listener)[before:]
    assert [record.message for record in records] == texts.to_pylist()
    assert {record.priority for record in records} == {14}
    assert {record.program for record in records} == {"cpapi"}
    assert records[1].host == "web--1"
    assert records[-1].host == "db-1.example"
    if to.format == "rfc5424":
        assert {record.time for record in records} == {"2016-08-22T16:24:30.726+00:00"}
    else:  # RFC 3164 has no year
        assert {record.time[5:19] for record in records} == {"08-22T16:24:30"}


@pytest.mark.parametrize("listener", LISTENERS)
def test_the_longest_line(sensor: SyslogNG, listener: str) -> None:
    """A line of 60,000 bytes, the longest there is, arrives whole over each transport."""
    before = len(sensor.records(listener))
    outcome = deliver(sensor.url(listener), 3, 60_000)
    assert statuses(outcome) <= {"sent", "confirmed"}, outcome.error
    assert sensor.wait_for(listener, before + 3)[before:] == lines(3, size=60_000).to_pylist()


@pytest.mark.parametrize("listener", LISTENERS)
def test_check(sensor: SyslogNG, listener: str) -> None:
    """A check passes on every port and leaves no message there."""
    before = len(sensor.records(listener))
    said = check(destination(sensor.url(listener)))
    assert listener.partition("-")[2] in said
    assert len(sensor.records(listener)) == before


def test_a_bigger_batch(sensor: SyslogNG) -> None:
    """20,000 messages are confirmed at once, and all are there, in order."""
    before = len(sensor.records("tcp-rfc5424"))
    outcome = deliver(sensor.url("tcp-rfc5424", batch=20_000), 20_000, 700)
    assert statuses(outcome) == {"confirmed"}
    read = sensor.wait_for("tcp-rfc5424", before + 20_000)[before:]
    assert read == lines(20_000, size=700).to_pylist()


def test_ipv6(tmp_path: Path) -> None:
    """The same over IPv6."""
    require()
    require_ipv6()
    with SyslogNG(tmp_path, host="::1") as sensor:
        for listener in LISTENERS:
            outcome = deliver(sensor.url(listener))
            assert statuses(outcome) <= {"sent", "confirmed"}, outcome.error
            assert sensor.wait_for(listener, 3) == lines(3).to_pylist()


def test_client_certificates(tmp_path: Path) -> None:
    """A syslog-ng that wants a client certificate gets it; without one the message says so."""
    require()
    authority = Authority(tmp_path / "authority")
    own = authority.issue("connector", client=True)
    with SyslogNG(tmp_path / "sensor", client_ca=authority.cert) as sensor:
        url = sensor.url("tls-rfc5424")
        outcome = deliver(f"{url}&cert={own.cert}&key={own.key}")
        assert statuses(outcome) == {"confirmed"}, outcome.error
        assert sensor.wait_for("tls-rfc5424", 3) == lines(3).to_pylist()
        outcome = deliver(url)
        assert statuses(outcome) <= {"failed", "unconfirmed"}
        with pytest.raises(SensorError, match="client certificate"):
            check(destination(url))


@pytest.fixture
def one_to_kill(tmp_path: Path) -> Iterator[SyslogNG]:
    """A syslog-ng of a test's own."""
    require()
    with SyslogNG(tmp_path) as running:
        yield running


@pytest.mark.parametrize("listener", STREAMS)
def test_killed_while_reading(one_to_kill: SyslogNG, listener: str) -> None:
    """Under SIGKILL nothing is lost and nothing is confirmed that was not read."""
    kill_while_reading(one_to_kill, listener, 1000, 3, one_to_kill.kill)


@pytest.mark.parametrize("listener", ["tcp-rfc3164", "tls-rfc5424"])
def test_restarted_while_reading(one_to_kill: SyslogNG, listener: str) -> None:
    """Under an ordinary restart (SIGTERM) the same holds."""
    kill_while_reading(one_to_kill, listener, 1000, 2, one_to_kill.stop)


@pytest.mark.soak
@pytest.mark.parametrize("size", [100, 5000])
@pytest.mark.parametrize("listener", STREAMS)
def test_killed_a_hundred_times(one_to_kill: SyslogNG, listener: str, size: int) -> None:
    """A hundred times the same, in small batches and in large ones."""
    kill_while_reading(one_to_kill, listener, size, 100, one_to_kill.kill)


def test_frozen(tmp_path: Path) -> None:
    """A syslog-ng that is stopped in its tracks costs the time limit and confirms nothing."""
    require()
    with SyslogNG(tmp_path) as sensor:
        to = destination(sensor.url("tcp-rfc3164", timeout=0.5))
        os.kill(sensor.pid, signal.SIGSTOP)
        start = time.monotonic()
        outcome = open_transport(to).deliver(batch(to, 100))
        os.kill(sensor.pid, signal.SIGCONT)
        assert time.monotonic() - start < 3
        assert statuses(outcome) == {"unconfirmed"}
        assert statuses(open_transport(to).deliver(batch(to, 100))) == {"confirmed"}
