"""Days of more events than a test could stage one by one: in all trees, and delivered once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.plugin.fields import NORMALIZED_SCHEMA
from tasks.plugin.normalize import normalize
from tasks.staging.names.file_names import SUFFIX, normalized_name, raw_name
from tasks.staging.names.ledger_file_names import attempts_name
from tasks.staging.schemas import DELIVERIES_SCHEMA, RAW_SCHEMA, TIME
from tasks.time_window import Window
from tests.staging.staged_data import realistic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from tasks.staging.store import Store

DESTINATION = "sensor"
_DIFFERENT = 5_000
"""After so many events they repeat, with other ids."""


def write_day(store: Store, day: date, events: int, *, only_raw: bool = False) -> None:
    """Write a day of so many events, one file in each tree; all of them are delivered."""
    whole = Window.of_day(day)
    made = realistic(_DIFFERENT, whole.since, whole.until)
    made = made.append_column("extracted_at", made["created_at"]).cast(RAW_SCHEMA)
    rows = normalize(made, "192.0.2.1").rows
    assert rows.num_rows == _DIFFERENT
    name = raw_name(whole, events)
    with store.writer(RAW_SCHEMA, "raw", "alpha", day) as writer:
        for keys in _keys(whole, events):
            writer.write(_with(keys, made))
        writer.name = name
    if only_raw:
        return
    with store.writer(NORMALIZED_SCHEMA, "normalized", "alpha", day) as writer:
        for keys in _keys(whole, events):
            writer.write(_with(keys, rows))
        writer.name = normalized_name(name.removesuffix(SUFFIX), 1, events, lost=0)
    with store.writer(
        DELIVERIES_SCHEMA, "deliveries", "alpha", day, destination=DESTINATION
    ) as writer:
        for keys in _keys(whole, events):
            writer.write(_attempts(keys))
        writer.name = attempts_name(whole.until, whole, events, events)


def _keys(whole: Window, events: int) -> Iterator[pa.Table]:
    """`event_id` and `created_at`, some rows at a time."""
    apart = timedelta(days=1) / events
    for first in range(0, events, _DIFFERENT):
        numbers = range(first, min(first + _DIFFERENT, events))
        ids = [f"{whole.day:%Y%m%d}{number:024x}" for number in numbers]
        times = [whole.since + number * apart for number in numbers]
        yield pa.table({"event_id": ids, "created_at": pa.array(times, TIME)})


def _with(keys: pa.Table, rows: pa.Table) -> pa.Table:
    """The rows with other keys."""
    found = rows.slice(0, keys.num_rows)
    for name in keys.column_names:
        at = found.schema.get_field_index(name)
        found = found.set_column(at, found.schema.field(at), keys[name])
    return found


def _attempts(keys: pa.Table) -> pa.Table:
    count = keys.num_rows
    columns = {
        "status": pa.repeat("confirmed", count),
        "attempt": pa.repeat(pa.scalar(1, pa.int32()), count),
        "attempted_at": keys["created_at"],
        "transport": pa.repeat("tcp", count),
        "bytes": pa.repeat(pa.scalar(800, pa.int64()), count),
        "truncated": pa.repeat(pa.scalar(value=False), count),
        "line_sha256": keys["event_id"],
        "error": pa.nulls(count, pa.string()),
        "run_id": pa.repeat("run", count),
    }
    return pa.table({"event_id": keys["event_id"], "created_at": keys["created_at"], **columns})
