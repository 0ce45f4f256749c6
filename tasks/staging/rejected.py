"""Rejected events: what could not be understood, and putting malformed ones there once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.staging.names import file_names, rejected_file_names
from tasks.staging.names.compacted_names import highest, not_replaced_in_folder
from tasks.staging.schemas import REJECTED_SCHEMA, TIME

if TYPE_CHECKING:
    from datetime import date, datetime

    from tasks.staging.names.rejected_file_names import RejectedFile
    from tasks.staging.store import Store


def malformed_rows(malformed: pa.Table, run_id: str, now: datetime) -> pa.Table:
    """The malformed events in `REJECTED_SCHEMA`, the first row of each id."""
    events = malformed["event"].cast(pa.string())
    ids = [
        event_id or hashlib.sha256((event or "").encode()).hexdigest()
        for event_id, event in zip(
            malformed["event_id"].to_pylist(), events.to_pylist(), strict=True
        )
    ]
    count = malformed.num_rows
    rows = pa.table(
        [
            pa.array(ids, pa.string()),
            malformed["created_at"].cast(TIME),
            pa.repeat("extract", count),
            malformed["reason"].cast(pa.string()),
            events,
            pa.repeat(pa.scalar(now, TIME), count),
            pa.repeat(run_id, count),
        ],
        schema=REJECTED_SCHEMA,
    )
    first = {event_id: row for row, event_id in reversed(list(enumerate(ids)))}
    return rows.take(pa.array(sorted(first.values()), pa.int64()))


def reject(store: Store, account: str, day: date, malformed: pa.Table) -> int:
    """Put those malformed events into rejected that are not there yet, and return how many.

    Args:
        store: The staging.
        account: Whose events they are.
        day: When those with a date were created. Those without one were not created earlier.
        malformed: `REJECTED_SCHEMA`, each id once.

    Raises:
        StagingError: The staging cannot be read or written.
    """
    if not malformed.num_rows:
        return 0
    known = pa.array(_rejected_ids(store, account, day), pa.string())
    rows = malformed.filter(pc.invert(pc.is_in(malformed["event_id"], value_set=known)))
    without = pc.is_null(rows["created_at"])
    for part, dated in ((rows.filter(pc.invert(without)), True), (rows.filter(without), False)):
        if part.num_rows:
            folder_day = day if dated else part["rejected_at"][0].as_py().date()
            number = highest(_malformed(store, account, folder_day))
            name = rejected_file_names.extract_name(part.num_rows, number)
            store.publish(part, "rejected", account, folder_day, name)
    return int(rows.num_rows)


def _rejected_ids(store: Store, account: str, since: date) -> set[str]:
    """Ids that extraction rejected on a day or later.

    An event without a date lies in the day of its extraction, which a later extraction does not
    know.
    """
    known: set[str] = set()
    for day in store.dates("rejected", account):
        if day < since:
            continue
        folder = store.folder("rejected", account, day)
        for file in _malformed(store, account, day):
            known.update(store.read(f"{folder}/{file.name}", ["event_id"])["event_id"].to_pylist())
    return known


def _malformed(store: Store, account: str, day: date) -> list[RejectedFile]:
    """The rejected files of stage extract of a day that count."""
    names = store.files("rejected", account, day)
    folder = file_names.partition(account, day)
    files = rejected_file_names.rejected_files(names, folder)
    return not_replaced_in_folder([file for file in files if file.key is None])
