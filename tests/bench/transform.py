"""A large transform: the whole command with processes of its own, beside one process alone."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa

from sandbox.events import generate_encoded
from tasks.staging.names import file_names
from tasks.staging.schemas import RAW_SCHEMA
from tasks.staging.store import open_store
from tasks.time_window import Window
from tests.bench import Measured
from tests.flows.command import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.staging.store import Store

EVENTS = 500_000
DAYS = 40
_ROUNDS = 3
_TIMES_ALONE = 1.4
_ALONE = """
from tasks.transform import processes
processes.ENOUGH_ROWS = 1 << 60
from flows.__main__ import main
main()
"""


def measure() -> Iterator[Measured]:
    """Yield the ratio; with one processor there is nothing to compare."""
    what = f"transform of {EVENTS:,} events, whole command, with a process a processor"
    processors = len(os.sched_getaffinity(0))
    if processors < 2:
        yield Measured(what, 1.0, None, "times one process", "not measured: one processor")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "auth").write_text("key|secret|alpha\n")
        several = Command(
            folder,
            {
                "HALO_AUTH_FILE": str(folder / "auth"),
                "HALO_STAGING": str(folder / "staging"),
                "USM_SENSOR": "tcp://127.0.0.1:9",
            },
        )
        alone = replace(several, program=("-c", _ALONE))
        store = open_store(str(folder / "staging"))
        for day in range(DAYS):
            _stage_day(store, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day))
        taken: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(_ROUNDS):
            for command in (alone, several):
                shutil.rmtree(folder / "staging" / "normalized", ignore_errors=True)
                began = time.monotonic()
                command("transform")
                taken[command is several].append(time.monotonic() - began)
    ratio = min(taken[False]) / min(taken[True])
    note = f"{processors} processors, which have to be free; {DAYS} files"
    yield Measured(what, ratio, _TIMES_ALONE, "times one process", note)


def _stage_day(store: Store, since: datetime) -> None:
    """Stage a raw file of a day's events."""
    moments, encoded = zip(
        *generate_encoded(EVENTS // DAYS, since, since + timedelta(days=1)), strict=True
    )
    events = [orjson.loads(text) for text in encoded]
    created = pa.array(moments, pa.int64()).cast(RAW_SCHEMA.field("created_at").type)
    columns = {
        "event_id": pa.array([event["id"] for event in events]),
        "created_at": created,
        "type": pa.array([event["type"] for event in events]),
        "name": pa.array([event.get("name") for event in events]),
        "critical": pa.repeat(False, len(events)),  # noqa: FBT003 - a column's value
        "event": pa.array([text.decode() for text in encoded]),
        "extracted_at": created,
    }
    name = file_names.raw_name(Window.of_day(since.date()), len(events))
    table = pa.table(columns, schema=RAW_SCHEMA)
    store.publish(table, "raw", "alpha", since.date(), name)
