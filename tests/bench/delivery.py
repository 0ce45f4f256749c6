"""Delivery, confirmed and in the ledger, beside `loggen`, which confirms and records nothing.

Both send to the same syslog-ng. It has one core and whoever sends the other, and it only takes the
messages apart and counts them: were it to parse them, its own limit would be measured. A round is
loggen, then ours, and the figure is the median over the rounds of the ratio within one.

Ours runs from batches in memory (rendered, hashed and framed, as a load prepares them while the
batch before is on its way) until the last one is confirmed and its rows are on disk; loggen's from
its connection to its last send.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import threading
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.delivery import Courier
from tasks.parcels import Parcel, line_hashes
from tasks.staging.ledger import Ledger
from tasks.staging.store import open_store
from tasks.syslog.message import encode
from tasks.syslog.transport import open_transport
from tests.bench import Measured, loggen
from tests.syslog.helpers import destination
from tests.syslog_ng import SyslogNG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.syslog.destination import Destination

MESSAGES = 500_000
BYTES = 700
BATCH = 250_000
SMALL_BATCH = 1000
SMALL_BATCHES = 50
ROUNDS = 5
UDP_MESSAGES = 5000
UNLIMITED = 100_000_000  # messages a second
NOW = datetime.now(UTC)
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
        folder = Path(name)
        ledger = Ledger(open_store(str(folder / "staging")), "sensor", "alpha", NOW.date())
        try:
            os.sched_setaffinity(0, cores[:1])
            with SyslogNG(folder / "counting", counts_only=True) as sensor:
                os.sched_setaffinity(0, cores[1:] or cores)
                for race in RACES:
                    yield _race(sensor, race, ledger, lines)
            with SyslogNG(folder / "writing") as sensor:
                for listener in ("tcp-rfc3164", "tls-rfc3164"):
                    yield _small_batches(sensor, listener, ledger, lines)
                yield _paced(sensor, lines)
        finally:
            os.sched_setaffinity(0, cores)
    for url, most in (("tcp://localhost:601", 300), ("tcp://localhost:602", 900)):
        to = destination(url)
        what = f"header and framing, {to.format}, {to.framing}"
        yield _each(what, partial(_encode, to=to), lines, most)
    yield _each("SHA-256 of each line", line_hashes, lines, None)


def _line(number: int) -> str:
    text = f"CEF:0|CloudPassage|Halo|1.0|999|Benchmark|3|cn1={number} cn1Label=number msg="
    return text + "x" * (BYTES - HEADER_BYTES - len(text))


def _race(sensor: SyslogNG, race: Race, ledger: Ledger, lines: pa.Array) -> Measured:
    to = destination(sensor.url(race.listener))
    ratios, rates = [], []
    _deliver(_parcel(ledger, lines[:SMALL_BATCH], to), to, BATCH)  # what a first time costs
    for _ in range(ROUNDS):
        everything = _parcel(ledger, lines, to)
        theirs = _loggen(sensor.port(race.listener), race.options)
        ours = _deliver(everything, to, BATCH)
        ratios.append(theirs / ours)
        rates.append((MESSAGES / theirs, MESSAGES / ours))
    note = "; ".join(f"loggen {theirs:,.0f}, ours {ours:,.0f} messages/s" for theirs, ours in rates)
    return Measured(race.listener, statistics.median(ratios), race.target, "times loggen", note)


def _encode(lines: pa.Array, to: Destination) -> pa.Array:
    return encode(lines, _now(len(lines)), pa.repeat("web-1.example", len(lines)), to)


def _now(count: int) -> pa.Array:
    return pa.repeat(pa.scalar(NOW, pa.timestamp("us", tz="UTC")), count)


def _parcel(ledger: Ledger, lines: pa.Array, to: Destination) -> Parcel:
    """What a load makes of normalized events, of these lines."""
    messages = _encode(lines, to)
    hashes = line_hashes(lines)
    facts = pa.table(
        {
            "event_id": pc.utf8_slice_codeunits(hashes, 0, 32),
            "created_at": _now(len(lines)),
            "bytes": pc.binary_length(messages),
            "truncated": pa.array(np.zeros(len(lines), np.bool_)),
            "line_sha256": hashes,
        }
    )
    numbers, delivered = np.zeros(len(lines), np.int32), np.zeros(len(lines), np.bool_)
    return Parcel(ledger, facts, messages, numbers, delivered)


def _deliver(everything: Parcel, to: Destination, batch: int) -> float:
    """Seconds until all are confirmed and recorded."""
    courier = Courier(to, open_transport(to), "bench", threading.Event(), pauses=())
    start = time.perf_counter()
    for first in range(0, len(everything), batch):
        courier.deliver(everything.slice(first, first + batch))
    seconds = time.perf_counter() - start
    if courier.delivered != len(everything):
        raise AssertionError(courier.error)
    return seconds


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


def _small_batches(sensor: SyslogNG, listener: str, ledger: Ledger, lines: pa.Array) -> Measured:
    to = destination(sensor.url(listener))
    everything = _parcel(ledger, lines[: SMALL_BATCH * SMALL_BATCHES], to)
    seconds = _deliver(everything, to, SMALL_BATCH)
    return Measured(
        f"{listener}, a batch of {SMALL_BATCH} confirmed and recorded",
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


def _each(
    what: str, work: Callable[[pa.Array], object], lines: pa.Array, most: float | None
) -> Measured:
    best = min(_cpu_seconds(work, lines) for _ in range(ROUNDS))
    return Measured(what, best / len(lines) * 1e9, most, "CPU ns/row", at_most=True)


def _cpu_seconds(work: Callable[[pa.Array], object], lines: pa.Array) -> float:
    start = time.process_time()
    for first in range(0, len(lines), BATCH):
        work(lines[first : first + BATCH])
    return time.process_time() - start
