"""Delivery, confirmed and in the ledger, beside `loggen`, which confirms and records nothing.

Both send to the same syslog-ng. It has one core and whoever sends the other, and it only takes the
messages apart and counts them: were it to parse them, its own limit would be measured. A round is
loggen, then ours, and the figure is the median over the rounds of the ratio within one.

What a line is about is in its name; loggen's clock runs from its connection to its last send. Ours
ends when the last batch is confirmed and its rows are on disk, and begins either with batches in
memory that are rendered, hashed and framed already, or with normalized rows in memory. One message
is confirmed before the clock starts: the first confirmation from a receiver waits longer than the
others, once a run, and is a line of its own.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.cef.line_hashes import line_hashes
from tasks.cef.render import render
from tasks.load.batch import Batch
from tasks.load.batch_sender import BatchSender
from tasks.load.parallel_sender import ParallelSender
from tasks.load.recorded_transport import RecordedTransport
from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.store import open_store
from tasks.syslog.message import encode
from tests.bench import Measured, loggen
from tests.bench.by_hand import by_hand
from tests.bench.render_events import synthetic_events
from tests.syslog.helpers import destination
from tests.syslog_ng import SyslogNG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tasks.syslog.destination import Destination

MESSAGES = 500_000
BYTES = 700
BATCH = 250_000
RENDERED = 200_000
RENDERED_BATCH = 20_000
SMALL_BATCH = 1000
SMALL_BATCHES = 50
ROUNDS = 5
UDP_MESSAGES = 5000
NOW = datetime.now(UTC)
HEADER_BYTES = 45  # about what RFC 3164 and the framing add: ours are as long as loggen's
HOST = "web-1.example"


class Race(NamedTuple):
    """A listener of syslog-ng, and loggen's options for it."""

    listener: str
    options: tuple[str, ...]


TCP = Race("tcp-rfc3164", ("--inet", "--stream"))
TLS = Race("tls-rfc3164", ("--use-ssl",))
RFC5424 = Race("tcp-rfc5424", ("--inet", "--stream", "--syslog-proto"))


def measure() -> Iterator[Measured]:
    """Race against loggen on each kind of stream, then time small batches, encoding and UDP."""
    cores = sorted(os.sched_getaffinity(0))
    lines = pa.array([line(number) for number in range(MESSAGES)])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ledger = Ledger(open_store(str(folder / "staging")), "sensor", "alpha", NOW.date())
        try:
            os.sched_setaffinity(0, cores[:1])
            with SyslogNG(folder / "counting", counts_only=True) as sensor:
                os.sched_setaffinity(0, cores[1:] or cores)
                for race, target in ((TCP, 1.5), (TLS, 2.0), (RFC5424, 1.0)):
                    ready = _Ready(ledger, lines, BATCH)
                    yield _race(sensor, race, ready, target)
                small = _Ready(ledger, lines[: SMALL_BATCH * SMALL_BATCHES], SMALL_BATCH)
                yield _race(sensor, TCP, small, 0.03)
                yield _race(sensor, TCP, _Rows(ledger), None)
            with SyslogNG(folder / "writing") as sensor:
                yield _first_confirmation(sensor, lines)
                for listener in ("tcp-rfc3164", "tls-rfc3164"):
                    yield _small_batches(sensor, listener, ledger, lines, folder)
                yield _paced(sensor, lines)
        finally:
            os.sched_setaffinity(0, cores)


def line(number: int) -> str:
    """A rendered line, as long as what `loggen` sends but for header and framing."""
    text = f"CEF:0|CloudPassage|Halo|1.0|999|Benchmark|3|cn1={number} cn1Label=number msg="
    return text + "x" * (BYTES - HEADER_BYTES - len(text))


class _Ours(Protocol):
    """What is sent by us.

    Attributes:
        what: What its clock has in it.
        size: Bytes of a message on average, framing included.
    """

    what: str
    size: int

    def run(self, to: Destination) -> float:
        """Messages a second."""


class _Ready:
    """Lines that are rendered, hashed and framed before the clock starts."""

    def __init__(self, ledger: Ledger, lines: pa.Array, batch: int) -> None:
        self._ledger, self._lines, self._batch = ledger, lines, batch
        self.size = BYTES
        self.what = (
            "in memory, rendered, hashed and framed before the clock starts, to confirmed and in "
            f"the ledger, batches of {batch:,}"
        )

    def run(self, to: Destination) -> float:
        everything = _batch_of(self._ledger, self._lines, to)
        starts = range(0, len(everything), self._batch)
        return _rate((everything.slice(at, at + self._batch) for at in starts), to)


class _Rows:
    """Normalized rows that are rendered, hashed and framed while others are sent."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rows = synthetic_events(RENDERED).combine_chunks()
        sample = render(self._rows.to_batches(max_chunksize=1000)[0]).lines
        self.size = HEADER_BYTES + round(pc.mean(pc.binary_length(sample)).as_py())
        self.what = (
            "normalized rows in memory, rendered, hashed and framed within the clock, to confirmed "
            f"and in the ledger, batches of {RENDERED_BATCH:,}"
        )

    def run(self, to: Destination) -> float:
        batches = self._rows.to_batches(max_chunksize=RENDERED_BATCH)
        with ThreadPoolExecutor(1) as pool:
            lines = (_batch_of(self._ledger, render(batch).lines, to) for batch in batches)
            return _rate(pool.map(lambda _: next(lines), batches), to)


def _race(sensor: SyslogNG, race: Race, ours: _Ours, target: float | None) -> Measured:
    to = destination(sensor.url(race.listener))
    ratios, rates = [], []
    ours.run(to)  # what a first time costs
    for _ in range(ROUNDS):
        theirs = MESSAGES / loggen.seconds(
            sensor.port(race.listener), *race.options, size=ours.size, number=MESSAGES
        )
        rate = ours.run(to)
        ratios.append(rate / theirs)
        rates.append(f"loggen {theirs:,.0f}, ours {rate:,.0f} messages/s")
    name = f"{race.listener}, {ours.what}"
    return Measured(name, statistics.median(ratios), target, "times loggen", "; ".join(rates))


def encoded(lines: pa.Array, to: Destination) -> pa.Array:
    """The framed messages of lines."""
    return encode(lines, _now(len(lines)), pa.repeat(HOST, len(lines)), to)


def _now(count: int) -> pa.Array:
    return pa.repeat(pa.scalar(NOW, pa.timestamp("us", tz="UTC")), count)


def _batch_of(ledger: Ledger, lines: pa.Array, to: Destination) -> Batch:
    """What a load makes of normalized events, of these lines."""
    messages = encoded(lines, to)
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
    numbers = np.zeros(len(lines), np.int32)
    flags = np.zeros((3, len(lines)), np.bool_)
    return Batch((ledger,), numbers, facts, messages, numbers.copy(), *flags)


def _rate(batches: Iterable[Batch], to: Destination) -> float:
    """Messages a second, from the first batch until the last is confirmed and recorded."""
    transport = to.open_transport()
    transport.deliver(encoded(pa.array([line(0)]), to))
    recorded = RecordedTransport(to, transport, "bench", threading.Event())
    sender = ParallelSender(BatchSender(recorded, pauses=()))
    count = 0
    start = time.perf_counter()
    for batch in batches:
        sender.deliver(batch)
        count += len(batch)
    sender.finish()
    sender.close()
    seconds = time.perf_counter() - start
    if recorded.delivered != count:
        raise AssertionError(recorded.error)
    return count / seconds


def _first_confirmation(sensor: SyslogNG, lines: pa.Array) -> Measured:
    to = destination(sensor.url("tcp-rfc3164"))
    messages = encoded(lines[:SMALL_BATCH], to)
    start = time.perf_counter()
    outcome = to.open_transport().deliver(messages)
    seconds = time.perf_counter() - start
    if outcome.error:
        raise AssertionError(outcome.error)
    name = f"{TCP.listener}, first batch of a run, of {SMALL_BATCH}, confirmed"
    return Measured(name, seconds * 1000, None, "ms")


def _small_batches(
    sensor: SyslogNG, listener: str, ledger: Ledger, lines: pa.Array, folder: Path
) -> Measured:
    """Small batches, beside what nobody who confirms and records can do without, by hand."""
    to = destination(sensor.url(listener))
    everything = _batch_of(ledger, lines[: SMALL_BATCH * SMALL_BATCHES], to)
    starts = range(0, len(everything), SMALL_BATCH)
    batches = [everything.slice(at, at + SMALL_BATCH) for at in starts]
    ratios, times = [], []
    for _ in range(ROUNDS):
        plain = statistics.median([by_hand(batch, to, folder) for batch in batches])
        ours = SMALL_BATCH / _rate(batches, to)
        ratios.append(ours / plain)
        times.append(f"by hand {plain * 1000:.1f}, ours {ours * 1000:.1f} ms")
    return Measured(
        f"{listener}, a batch of {SMALL_BATCH} confirmed and in the ledger, beside the same by "
        "hand: connect, send, wait as long as a confirmation has to, end, wait for the end, write "
        "and sync a file and its folder",
        statistics.median(ratios),
        2,
        "times by hand",
        "to a syslog-ng that parses and writes; " + "; ".join(times),
        at_most=True,
    )


def _paced(sensor: SyslogNG, lines: pa.Array) -> Measured:
    to = destination(sensor.url("udp-rfc3164"))
    start = time.perf_counter()
    to.open_transport().deliver(encoded(lines[:UDP_MESSAGES], to))
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
