"""Header, framing and hashes of rendered lines in CPU time, beside a plain loop."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.cef.line_hashes import line_hashes
from tests.bench import Measured
from tests.bench.delivery import BATCH, HOST, MESSAGES, NOW, ROUNDS, encoded, line
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENCODED_BY_HAND = 100_000


def measure() -> Iterator[Measured]:
    """Header and framing beside the loop, then the hash of each line."""
    lines = pa.array([line(number) for number in range(MESSAGES)])
    loops = (
        ("tcp://localhost:601", _rfc3164_by_hand, 0.1),
        ("tcp://localhost:602", _rfc5424_by_hand, 0.2),
    )
    for url, by_hand, most in loops:
        to = destination(url)
        plain = _nanoseconds(by_hand, lines[:ENCODED_BY_HAND])
        own = _nanoseconds(partial(encoded, to=to), lines)
        name = f"header and framing, {to.format}, {to.framing}, lines rendered before"
        note = f"CPU time; loop {plain:,.0f}, ours {own:,.0f} ns/row"
        yield Measured(name, own / plain, most, "times f-string loop", note, at_most=True)
    hashes = _nanoseconds(line_hashes, lines)
    yield Measured("SHA-256 of each line", hashes, None, "CPU ns/row")


def _rfc3164_by_hand(lines: pa.Array) -> list[bytes]:
    """A message a line, newline behind it."""
    return [
        f"<14>{NOW:%b %d %H:%M:%S} {HOST} cpapi: {text}\n".encode() for text in lines.to_pylist()
    ]


def _rfc5424_by_hand(lines: pa.Array) -> list[bytes]:
    """A message a line, its length in front."""
    messages = [
        f"<14>1 {NOW:%Y-%m-%dT%H:%M:%S.%f} {HOST} cpapi - - - {text}".encode()
        for text in lines.to_pylist()
    ]
    return [b"%d %s" % (len(message), message) for message in messages]


def _nanoseconds(work: Callable[[pa.Array], object], lines: pa.Array) -> float:
    """CPU time a row: the best of some rounds."""
    best = min(_cpu_seconds(work, lines) for _ in range(ROUNDS))
    return best / len(lines) * 1e9


def _cpu_seconds(work: Callable[[pa.Array], object], lines: pa.Array) -> float:
    start = time.process_time()
    for first in range(0, len(lines), BATCH):
        work(lines[first : first + BATCH])
    return time.process_time() - start
