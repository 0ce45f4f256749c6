"""From normalized Parquet to confirmed delivery: read, render, hash, send, confirm, ledger.

syslog-ng only counts and has one core; the load has the other. Realistic events of three days.
Beside it, in turns, `loggen`, which sends as many messages as long out of its memory, confirms
and records nothing.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa

from sandbox.events import generate_encoded
from tasks.load.destination import load_destination
from tasks.staging.schemas import RAW_SCHEMA
from tasks.staging.store import open_store
from tasks.time_window import Window
from tests.bench import Measured, loggen
from tests.staging.staged_data import DAY, stage, transform
from tests.syslog.helpers import destination
from tests.syslog_ng import SyslogNG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.staging.store import Store

DAYS = 3
EVENTS_OF_A_DAY = 100_000
LISTENER = "tcp-rfc3164"
BATCHES = ((1000, 0.03), (20_000, 0.2))
"""Events a batch, the default first, and the ratio to reach."""
ROUNDS = 3
MESSAGE_BYTES = 820


def measure() -> Iterator[Measured]:
    """Load everything for new destinations, at the default batch and at a larger one."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        store = normalized_days(Path(name) / "staging", DAYS, EVENTS_OF_A_DAY)
        try:
            os.sched_setaffinity(0, cores[:1])
            with SyslogNG(Path(name) / "syslog-ng", counts_only=True) as sensor:
                os.sched_setaffinity(0, cores[1:] or cores)
                for batch, target in BATCHES:
                    yield _race(store, sensor, batch, target)
        finally:
            os.sched_setaffinity(0, cores)


def normalized_days(folder: Path, days: int, events_of_a_day: int) -> Store:
    """A staging with days of realistic events, normalized."""
    store = open_store(str(folder))
    for day in range(days):
        window = Window.of_day((DAY + timedelta(days=day)).date())
        stage(store, window, realistic_events(window, events_of_a_day, seed=day))
    transform(store)
    return store


def realistic_events(window: Window, count: int, seed: int) -> pa.Table:
    """Raw events as the stand-in would serve them, without `extracted_at`."""
    texts = generate_encoded(count, window.since, window.until, seed=seed)
    rows = [(moment, text.decode(), orjson.loads(text)) for moment, text in texts]
    columns = {
        "event_id": [event["id"] for _, _, event in rows],
        "created_at": pa.array([moment for moment, _, _ in rows], pa.int64()),
        "type": [event["type"] for _, _, event in rows],
        "name": [event["name"] for _, _, event in rows],
        "critical": [event["critical"] for _, _, event in rows],
        "event": [text for _, text, _ in rows],
    }
    return pa.table(columns).cast(RAW_SCHEMA.remove(RAW_SCHEMA.get_field_index("extracted_at")))


def _race(store: Store, sensor: SyslogNG, batch: int, target: float) -> Measured:
    count = DAYS * EVENTS_OF_A_DAY
    options = ("--inet", "--stream")
    ratios, rates = [], []
    for number in range(ROUNDS):
        theirs = count / loggen.seconds(
            sensor.port(LISTENER), *options, size=MESSAGE_BYTES, number=count
        )
        url = sensor.url(LISTENER, name=f"sensor-{batch}-{number}", batch=batch)
        start = time.perf_counter()
        done = load_destination(store, destination(url), run_id="bench")
        ours = count / (time.perf_counter() - start)
        if done.problems or done.delivered != count:
            raise AssertionError(done)
        ratios.append(ours / theirs)
        rates.append(f"loggen {theirs:,.0f}, ours {ours:,.0f} events/s")
    return Measured(
        f"normalized Parquet to confirmed and in the ledger, everything in the clock but the start "
        f"of the command, batch={batch}",
        statistics.median(ratios),
        target,
        "times loggen",
        f"{count:,} events over TCP; " + "; ".join(rates),
    )
