from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tasks.syslog.message import encode
from tasks.syslog.transport import check, open_transport
from tests.rsyslog import LISTENERS, RSyslog, require
from tests.syslog.helpers import WHEN, deliver, destination, lines, statuses
from tests.syslog.kills import BYTES, kill_while_reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STREAMS = [name for name in LISTENERS if not name.startswith("udp")]
ONE_READ = 128 * 1024  # tcpsrv.c, imptcp.c
AWKWARD = [
    r"CEF:0|CloudPassage|Halo|1.0|999|A \| B \\ C|3|msg=a\=b \n c cs1=C:\\d",
    "CEF:0|CloudPassage|Halo|1.0|999|Ünïcödé 😀|3|msg=日本語 \ufffd",
    "CEF:0|CloudPassage|Halo|1.0|999|spaces|3|msg=a  b   c",
    "CEF:0|CloudPassage|Halo|1.0|999|outer spaces|3|msg=  a  ",
    "CEF:0|CloudPassage|Halo|1.0|999|quotes|3|msg=\"a\" 'b' <14> [x]: {y}",
    "CEF:0|CloudPassage|Halo|1.0|999|patterns|3|msg=%msg% $!cef #011 \\\\x09",
]


@pytest.fixture(scope="module")
def rsyslog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RSyslog]:
    """A real rsyslog with the sensor's five listeners."""
    require()
    with RSyslog(tmp_path_factory.mktemp("rsyslog")) as running:
        yield running


@pytest.fixture
def one_to_kill(tmp_path: Path) -> Iterator[RSyslog]:
    """A rsyslog of a test's own."""
    require()
    with RSyslog(tmp_path) as running:
        yield running


@pytest.mark.parametrize("listener", LISTENERS)
def test_every_listener_gets_the_very_message(rsyslog: RSyslog, listener: str) -> None:
    """On each port every message arrives once, byte for byte, its header understood."""
    to = destination(rsyslog.url(listener))
    texts = pa.array([*AWKWARD, *lines(200, size=700).to_pylist(), *lines(3, size=60_000)])
    times = pa.repeat(pa.scalar(WHEN, pa.timestamp("us", tz="UTC")), len(texts))
    hosts = pa.array(["web 1:x", *["db-1.example"] * (len(texts) - 1)])
    before = len(rsyslog.records(listener))
    outcome = open_transport(to).deliver(encode(texts, times, hosts, to))
    assert statuses(outcome) == {"sent" if to.scheme == "udp" else "confirmed"}, outcome.error
    assert rsyslog.wait_for(listener, before + len(texts))[before:] == texts.to_pylist()
    records = rsyslog.records(listener)[before:]
    assert {(record.priority, record.program) for record in records} == {(14, "cpapi")}
    assert records[0].host == "web-1-x"
    assert records[-1].host == "db-1.example"
    if to.format == "rfc5424":
        assert {record.time for record in records} == {"2016-08-22T16:24:30.726Z"}
    else:  # RFC 3164 has no year
        assert {record.time[5:19] for record in records} == {"08-22T16:24:30"}
    udp = destination(f"udp://h:514?format={to.format}")
    unframed = encode(texts, times, hosts, udp).to_pylist()
    assert rsyslog.raw(listener)[before:] == [message.decode() for message in unframed]


@pytest.mark.parametrize("listener", LISTENERS)
def test_check(rsyslog: RSyslog, listener: str) -> None:
    """A check passes on every port and leaves no message there."""
    before = rsyslog.records(listener)
    assert listener.partition("-")[2] in check(destination(rsyslog.url(listener)))
    assert rsyslog.records(listener) == before


def test_both_framings_on_one_port(rsyslog: RSyslog) -> None:
    """A listener that tells the framing from the first byte takes both of ours."""
    before = len(rsyslog.records("tcp-rfc5424"))
    for form in ("rfc3164", "rfc5424"):
        outcome = deliver(rsyslog.url("tcp-rfc5424", format=form), 50)
        assert statuses(outcome) == {"confirmed"}, outcome.error
    read = rsyslog.wait_for("tcp-rfc5424", before + 100)[before:]
    # rsyslog counts the space behind RFC 3164's tag to the text
    assert [line.lstrip() for line in read] == lines(50).to_pylist() * 2


@pytest.mark.parametrize("listener", ["tcp-rfc3164", "tcp-rfc5424"])
def test_hosts_that_end_in_a_hyphen_or_dot(rsyslog: RSyslog, listener: str) -> None:
    """Such a host, which rsyslog would take for the tag, is read as a host without that end."""
    to = destination(rsyslog.url(listener))
    hosts = pa.array(["web-", "web.example.", "web (old)"])
    times = pa.repeat(pa.scalar(WHEN, pa.timestamp("us", tz="UTC")), len(hosts))
    before = len(rsyslog.records(listener))
    assert statuses(open_transport(to).deliver(encode(lines(len(hosts)), times, hosts, to))) == {
        "confirmed"
    }
    rsyslog.wait_for(listener, before + len(hosts))
    found = [(record.host, record.program) for record in rsyslog.records(listener)[before:]]
    assert found == [("web", "cpapi"), ("web.example", "cpapi"), ("web--old", "cpapi")]


@pytest.mark.parametrize("listener", STREAMS)
def test_killed_while_reading(one_to_kill: RSyslog, listener: str) -> None:
    """Under SIGKILL nothing is lost and nothing is confirmed that is not in rsyslog's file."""
    kill_while_reading(one_to_kill, listener, 500, 3, one_to_kill.kill)


@pytest.mark.soak
@pytest.mark.parametrize("size", [100, 5000])
@pytest.mark.parametrize("listener", STREAMS)
def test_killed_a_hundred_times(one_to_kill: RSyslog, listener: str, size: int) -> None:
    """A hundred times the same, in small batches and in large ones.

    Of a large batch rsyslog may be killed holding what its last read gave it, the kernel closing
    the connection in order: read, and so confirmed, and not written.
    """
    in_hand = ONE_READ if size * BYTES > ONE_READ else 0
    kill_while_reading(one_to_kill, listener, size, 100, one_to_kill.kill, in_hand=in_hand)
