"""Receivers that are ended while they read, and started again."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from tasks.syslog.transport import CONFIRMED, FAILED, UNCONFIRMED, open_transport
from tests.syslog.helpers import batch, destination, lines, statuses

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.syslog_daemon import SyslogDaemon


def kill_while_reading(
    sensor: SyslogDaemon, listener: str, size: int, times: int, end: Callable[[], None]
) -> None:
    """End a receiver so many times at random moments of delivering, starting it again each time.

    Nothing that was confirmed is missing, everything is confirmed in the end, and what came twice
    is at most a batch for each time.
    """
    chance = random.Random(f"{listener} {size} {times}")
    to = destination(sensor.url(listener, timeout=3))
    transport = open_transport(to)
    first = 0
    for _ in range(times):
        ending = threading.Timer(chance.uniform(0.01, 0.15), end)
        ending.start()
        while True:
            outcome = transport.deliver(batch(to, size, first, 700))
            if statuses(outcome) != {CONFIRMED}:
                assert statuses(outcome) <= {UNCONFIRMED, FAILED}
                break
            first += size
        ending.join()
        sensor.start()
    assert statuses(transport.deliver(batch(to, size, first, 700))) == {CONFIRMED}
    first += size
    expected = set(lines(first, size=700).to_pylist())
    read = sensor.wait_for(listener, first)
    whole = [line for line in read if line in expected]
    assert set(whole) == expected
    assert len(whole) - len(expected) <= size * times
    # A killed receiver may write down the part of a line it had read.
    assert len(read) - len(whole) <= times
