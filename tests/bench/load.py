"""From normalized Parquet to confirmed delivery: read, render, send, confirm, ledger.

syslog-ng only counts and has one core; the load has the other. Realistic events of three days.
"""

from __future__ import annotations

import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa

from sandbox.events import generate_encoded
from tasks.load import load_destination
from tasks.staging.raw import RAW_SCHEMA
from tasks.staging.store import open_store
from tasks.windows import Window
from tests.bench import Measured
from tests.staging.material import DAY, stage, transform
from tests.syslog.helpers import destination
from tests.syslog_ng import SyslogNG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.staging.store import Store

DAYS = 3
EVENTS_OF_A_DAY = 100_000
LISTENER = "tcp-rfc3164"
LARGER_BATCH = 20_000


def measure() -> Iterator[Measured]:
    """Load everything at the default batch, then for another destination at a larger one."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        store = open_store(str(Path(name) / "staging"))
        for day in range(DAYS):
            since = DAY + timedelta(days=day)
            window = Window(since, since + timedelta(days=1))
            stage(store, window, _events(window, seed=day))
        transform(store)
        try:
            os.sched_setaffinity(0, cores[:1])
            with SyslogNG(Path(name) / "syslog-ng", counts_only=True) as sensor:
                os.sched_setaffinity(0, cores[1:] or cores)
                yield _load(store, sensor.url(LISTENER, name="default"), 10_000)
                larger = sensor.url(LISTENER, name="larger", batch=LARGER_BATCH)
                yield _load(store, larger, 100_000)
        finally:
            os.sched_setaffinity(0, cores)


def _events(window: Window, seed: int) -> pa.Table:
    texts = generate_encoded(EVENTS_OF_A_DAY, window.since, window.until, seed=seed)
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


def _load(store: Store, url: str, target: float) -> Measured:
    to = destination(url)
    start = time.perf_counter()
    done = load_destination(store, to, run_id="bench")
    seconds = time.perf_counter() - start
    if done.problems or done.delivered != DAYS * EVENTS_OF_A_DAY:
        raise AssertionError(done)
    return Measured(
        f"normalized to confirmed, batch={to.batch}",
        done.delivered / seconds,
        target,
        "events/s",
        f"{done.delivered:,} events over TCP, ledger included",
    )
