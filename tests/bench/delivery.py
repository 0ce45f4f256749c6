"""Delivery with confirmation beside `loggen`, which confirms nothing, to the same syslog-ng.

syslog-ng only counts, set to read as much at once as it can, so that it is the senders that are
compared; it has one core and whoever sends the other. A round is loggen, then ours, and the figure
is the median over the rounds of the ratio within one. Ours runs from messages in memory to the
confirmation of the last batch, loggen from its connection to its last send.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from tasks.syslog.message import encode
from tasks.syslog.transport import CONFIRMED, open_transport
from tests.bench import Measured, loggen
from tests.syslog.helpers import destination
from tests.syslog_ng import SyslogNG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.syslog.destination import Destination

MESSAGES = 500_000
BYTES = 700
BATCH = 100_000
SMALL_BATCH = 1000
SMALL_BATCHES = 50
ROUNDS = 5
UDP_MESSAGES = 5000
UNLIMITED = 100_000_000  # messages a second
HEADER_BYTES = 45  # about what RFC 3164 and the framing add: ours are as long as loggen's
ESTABLISHED = "01"


class Race(NamedTuple):
    """A listener of syslog-ng, loggen's options for it, and the ratio to reach."""

    listener: str
    options: tuple[str, ...]
    target: float


RACES = (
    Race("tcp-rfc3164", ("--inet", "--stream"), 1.5),
    Race("tls-rfc3164", ("--use-ssl",), 2.0),
    Race("tcp-rfc5424", ("--inet", "--stream", "--syslog-proto"), 1.0),
)


def measure() -> Iterator[Measured]:
    """Race against loggen on each kind of stream, then time small batches, encoding and UDP."""
    cores = sorted(os.sched_getaffinity(0))
    lines = pa.array([_line(number) for number in range(MESSAGES)])
    with tempfile.TemporaryDirectory() as name:
        try:
            os.sched_setaffinity(0, cores[:1])
            with SyslogNG(Path(name) / "counting", counts_only=True) as sensor:
                os.sched_setaffinity(0, cores[1:] or cores)
                for race in RACES:
                    yield _race(sensor, race, lines)
            with SyslogNG(Path(name) / "writing") as sensor:
                for listener in ("tcp-rfc3164", "tls-rfc3164"):
                    yield _small_batches(sensor, listener, lines)
                yield _paced(sensor, lines)
        finally:
            os.sched_setaffinity(0, cores)
    for url, most in (("tcp://localhost:601", 300), ("tcp://localhost:602", 900)):
        yield _encoding(url, lines, most)


def _line(number: int) -> str:
    text = f"CEF:0|CloudPassage|Halo|1.0|999|Benchmark|3|cn1={number} cn1Label=number msg="
    return text + "x" * (BYTES - HEADER_BYTES - len(text))


def _race(sensor: SyslogNG, race: Race, lines: pa.Array) -> Measured:
    to = destination(sensor.url(race.listener))
    messages = _encode(lines, to)
    ratios, rates = [], []
    for _ in range(ROUNDS):
        theirs = _loggen(sensor.port(race.listener), race.options)
        ours = _deliver(to, messages, BATCH)
        ratios.append(theirs / ours)
        rates.append((MESSAGES / theirs, MESSAGES / ours))
    note = "; ".join(f"loggen {theirs:,.0f}, ours {ours:,.0f} messages/s" for theirs, ours in rates)
    return Measured(race.listener, statistics.median(ratios), race.target, "times loggen", note)


def _encode(lines: pa.Array, to: Destination) -> pa.Array:
    times = pa.repeat(pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC")), len(lines))
    return encode(lines, times, pa.repeat("web-1.example", len(lines)), to)


def _deliver(to: Destination, messages: pa.Array, batch: int) -> float:
    """Seconds until all are confirmed."""
    transport = open_transport(to)
    start = time.perf_counter()
    for first in range(0, len(messages), batch):
        outcome = transport.deliver(messages[first : first + batch])
        if outcome.statuses.unique().to_pylist() != [CONFIRMED]:
            raise AssertionError(outcome.error)
    return time.perf_counter() - start


def _loggen(port: int, options: tuple[str, ...]) -> float:
    """Seconds that its connection lasts: its own figure is only good to half a second."""
    process = subprocess.Popen(
        loggen.command(port, *options, size=BYTES, number=MESSAGES, rate=UNLIMITED),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    first = last = 0.0
    while process.poll() is None:
        if _established(port):
            last = time.perf_counter()
            first = first or last
        time.sleep(0.02)
    if process.returncode or not first:
        raise AssertionError(f"loggen ended with {process.returncode}")
    return last - first


def _established(port: int) -> bool:
    remote = f":{port:04X}"
    return any(
        row[2].endswith(remote) and row[3] == ESTABLISHED
        for row in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
    )


def _small_batches(sensor: SyslogNG, listener: str, lines: pa.Array) -> Measured:
    to = destination(sensor.url(listener))
    messages = _encode(lines[: SMALL_BATCH * SMALL_BATCHES], to)
    seconds = _deliver(to, messages, SMALL_BATCH)
    return Measured(
        f"{listener}, a confirmed batch of {SMALL_BATCH}",
        seconds / SMALL_BATCHES * 1000,
        100,
        "ms",
        "to a syslog-ng that parses and writes",
        at_most=True,
    )


def _paced(sensor: SyslogNG, lines: pa.Array) -> Measured:
    to = destination(sensor.url("udp-rfc3164"))
    start = time.perf_counter()
    open_transport(to).deliver(_encode(lines[:UDP_MESSAGES], to))
    seconds = time.perf_counter() - start
    arrived = len(sensor.wait_for("udp-rfc3164", UDP_MESSAGES))
    return Measured(
        f"udp, lost of {UDP_MESSAGES} at the default pace",
        UDP_MESSAGES - arrived,
        0,
        "messages",
        f"{UDP_MESSAGES / seconds:,.0f} messages/s",
        at_most=True,
    )


def _encoding(url: str, lines: pa.Array, most: float) -> Measured:
    to = destination(url)
    best = min(_cpu_seconds(lines, to) for _ in range(ROUNDS))
    name = f"header and framing, {to.format}, {to.framing}"
    return Measured(name, best / len(lines) * 1e9, most, "CPU ns/row", at_most=True)


def _cpu_seconds(lines: pa.Array, to: Destination) -> float:
    start = time.process_time()
    for first in range(0, len(lines), BATCH):
        _encode(lines[first : first + BATCH], to)
    return time.process_time() - start
