"""What rsyslog alone is asked: the bytes it read, both framings, hosts that look like tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tasks.syslog.message import encode
from tests.rsyslog import RSyslog, require
from tests.syslog.helpers import WHEN, deliver, destination, lines, statuses
from tests.syslog.test_real_receivers import AWKWARD

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def rsyslog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RSyslog]:
    """A real rsyslog with the sensor's five listeners."""
    require()
    with RSyslog(tmp_path_factory.mktemp("rsyslog")) as running:
        yield running


@pytest.mark.parametrize("listener", RSyslog.listeners)
def test_the_very_message(rsyslog: RSyslog, listener: str) -> None:
    """On each port a message is read once, byte for byte, header and all, without its framing."""
    to = destination(rsyslog.url(listener))
    texts = pa.array([*AWKWARD, *lines(200, size=700).to_pylist()])
    times = pa.repeat(pa.scalar(WHEN, pa.timestamp("us", tz="UTC")), len(texts))
    hosts = pa.array(["web 1:x", *["db-1.example"] * (len(texts) - 1)])
    before = len(rsyslog.raw(listener))
    transport = to.open_transport()
    outcome = transport.deliver(encode(texts, times, hosts, to))
    transport.close()
    assert statuses(outcome) == {"sent" if to.scheme == "udp" else "confirmed"}, outcome.error
    rsyslog.wait_for(listener, before + len(texts))
    udp = destination(f"udp://h:514?format={to.format}")
    unframed = encode(texts, times, hosts, udp).to_pylist()
    assert rsyslog.raw(listener)[before:] == [message.decode() for message in unframed]


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
    assert statuses(to.open_transport().deliver(encode(lines(len(hosts)), times, hosts, to))) == {
        "confirmed"
    }
    rsyslog.wait_for(listener, before + len(hosts))
    found = [(record.host, record.program) for record in rsyslog.records(listener)[before:]]
    assert found == [("web", "cpapi"), ("web.example", "cpapi"), ("web--old", "cpapi")]
