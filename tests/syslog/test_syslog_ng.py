"""What syslog-ng alone is asked: restarts, a standstill, client certificates, IPv6."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from sandbox.certificates import Authority
from tasks.errors import SensorError
from tasks.syslog.transport import check
from tests.syslog.helpers import batch, deliver, destination, lines, require_ipv6, statuses
from tests.syslog.kills import kill_while_reading
from tests.syslog_ng import LISTENERS, SyslogNG, require

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.syslog_ng


def test_a_bigger_batch(sensor: SyslogNG) -> None:
    """20,000 messages are confirmed at once, and all are there, in order."""
    before = len(sensor.records("tcp-rfc5424"))
    outcome = deliver(sensor.url("tcp-rfc5424", batch=20_000), 20_000, 700)
    assert statuses(outcome) == {"confirmed"}
    read = sensor.wait_for("tcp-rfc5424", before + 20_000)[before:]
    assert read == lines(20_000, size=700).to_pylist()


def test_ipv6(tmp_path: Path) -> None:
    """Every listener takes messages over IPv6, too."""
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


@pytest.mark.parametrize("listener", ["tcp-rfc3164", "tls-rfc5424"])
def test_restarted_while_reading(tmp_path: Path, listener: str) -> None:
    """In an ordinary restart (SIGTERM) nothing is lost, and nothing confirmed but not read."""
    require()
    with SyslogNG(tmp_path) as sensor:
        kill_while_reading(sensor, listener, 1000, 2, sensor.stop)


def test_frozen(tmp_path: Path) -> None:
    """A syslog-ng that is stopped in its tracks costs the time limit and confirms nothing."""
    require()
    with SyslogNG(tmp_path) as sensor:
        to = destination(sensor.url("tcp-rfc3164", timeout=0.5))
        os.kill(sensor.pid, signal.SIGSTOP)
        start = time.monotonic()
        outcome = to.open_transport().deliver(batch(to, 100))
        os.kill(sensor.pid, signal.SIGCONT)
        assert time.monotonic() - start < 3
        assert statuses(outcome) == {"unconfirmed"}
        assert statuses(to.open_transport().deliver(batch(to, 100))) == {"confirmed"}
