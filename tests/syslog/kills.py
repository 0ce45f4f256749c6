"""Receivers that are ended while they read, and started again."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from tasks.syslog.transport import CONFIRMED, FAILED, UNCONFIRMED
from tests.syslog.helpers import batch, destination, lines, statuses

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from tasks.syslog.transport import Transport
    from tests.syslog_daemon import SyslogDaemon

BYTES = 700


_LATE = 2
"""So often a receiver that runs may fail to confirm within the time limit."""


def unconfirmed(transport: Transport, messages: pa.BinaryArray) -> pa.BinaryArray:
    """Deliver messages; those that are not confirmed."""
    outcome = transport.deliver(messages)
    assert statuses(outcome) <= {CONFIRMED, UNCONFIRMED, FAILED}
    return messages.filter(pc.not_equal(outcome.statuses, CONFIRMED))


def kill_while_reading(
    sensor: SyslogDaemon,
    listener: str,
    size: int,
    times: int,
    end: Callable[[], None],
    *,
    in_hand: int = 0,
    losses: int = 0,
) -> None:
    """End a receiver so many times at random moments of delivering, starting it again each time.

    Nothing that was confirmed is missing, everything is confirmed in the end, and what came twice
    is at most a batch for each time.

    Args:
        sensor: The receiver, running.
        listener: The one of its listeners to deliver to.
        size: Messages a batch.
        times: How often it is ended.
        end: Ends it.
        in_hand: Messages that it may hold in its memory until they are written: so many from the
            end of a batch it may have read, and confirmed, and taken with it.
        losses: How often it may do so.
    """
    chance = random.Random(f"{listener} {size} {times}")
    to = destination(sensor.url(listener, timeout=3))
    transport = to.open_transport()
    first = 0
    messages = batch(to, size, first, BYTES)
    held: dict[int, set[int]] = {}
    for _ in range(times):
        ending = threading.Timer(chance.uniform(0.01, 0.4), end)
        ending.start()
        while not len(messages := unconfirmed(transport, messages)):
            first += size
            messages = batch(to, size, first, BYTES)
        ending.join()
        held[first] = {*range(first - min(size, in_hand), first)}
        sensor.start()
    late = 0  # a busy machine may let the time limit pass
    while len(messages := unconfirmed(transport, messages)):
        late += 1
        assert late <= _LATE
    first += size
    transport.close()
    sensor.stop()  # what it has read it writes down before it ends
    expected = lines(first, size=BYTES).to_pylist()
    read = sensor.wait_for(listener, first)
    there = set(read)
    missing = {number for number, line in enumerate(expected) if line not in there}
    lost = [numbers for numbers in held.values() if numbers & missing]
    assert len(lost) <= losses, [len(numbers & missing) for numbers in lost]
    missing = missing.difference(*lost)
    assert not missing, (
        f"{len(missing)} of {first}, the first {min(missing)}, the last {max(missing)}"
    )
    torn = len(read) - sum(map(set(expected).__contains__, read))
    # A killed receiver may write down the part of a line it had read.
    assert torn <= times
    assert len(read) - torn - len(there) <= size * (times + late)
