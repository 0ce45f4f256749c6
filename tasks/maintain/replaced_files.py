"""Removing files that compacted ones replace, once each of their rows is known to be kept.

The rows of the files that this run merged are kept. Any other replaced file was merged by a run
that was killed, or written by one that had lost its lease, or restored from a backup. So its rows
are looked up in the files that count, and those that are missing there are staged anew before it is
removed: no event is lost with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.maintain.compaction_writer import ATTEMPT_KEY
from tasks.staging import day_files
from tasks.staging.deliveries.last_attempts import last_of
from tasks.staging.event_masks import span_of
from tasks.staging.names import ledger_file_names
from tasks.staging.names.compacted_names import highest
from tasks.staging.raw import publish
from tasks.staging.rejected import reject

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

    from tasks.staging.day_files import DayFiles
    from tasks.staging.deliveries.ledger import Ledger
    from tasks.staging.store import Store


def remove_replaced(store: Store, account: str, day: date, merged: Collection[str]) -> int:
    """Remove the replaced files of an account's day, and return how many. The account is locked.

    Args:
        store: The staging.
        account: Whose day it is.
        day: The day.
        merged: Names of files whose rows are known to be kept.

    Raises:
        StagingError: A file cannot be read, written or removed.
    """
    state = day_files.day_of(store, account, day)
    # raw last: what is there of a day without its compacted file comes from raw
    for tree, name in state.replaced:
        path = f"{store.folder(tree, account, day)}/{name}"
        if name not in merged:
            if tree == "raw":
                _keep_events(store, account, day, state, name)
            elif name.startswith("extract-"):
                reject(store, account, day, store.read(path))
        store.remove(path)
    return len(state.replaced)


def _keep_events(store: Store, account: str, day: date, state: DayFiles, name: str) -> None:
    """Stage the events of a replaced raw file that are in none that counts."""
    folder = store.folder("raw", account, day)
    rows = store.read(f"{folder}/{name}")
    for file in state.raw:
        if file.rows and rows.num_rows:
            ids = store.read(f"{folder}/{file.name}", ["event_id"])["event_id"].combine_chunks()
            rows = rows.filter(pc.invert(pc.is_in(rows["event_id"], value_set=ids)))
    if rows.num_rows:
        publish(store, account, span_of(rows["created_at"]), rows, "beside", highest(state.raw))


def remove_attempts(ledger: Ledger, merged: Collection[str]) -> int:
    """Remove the replaced files of a ledger, and return how many. Its destination is locked.

    Args:
        ledger: The ledger.
        merged: Names of files whose rows are known to be kept.

    Raises:
        StagingError: A file cannot be read, written or removed.
    """
    names = ledger.names()
    current = set(ledger_file_names.not_replaced_names(names))
    replaced = [name for name in names if name not in current]
    for name in replaced:
        if name not in merged:
            _keep_attempts(ledger, name)
        ledger.store.remove(f"{ledger.folder}/{name}")
    return len(replaced)


def _keep_attempts(ledger: Ledger, name: str) -> None:
    """Record the attempts of a replaced ledger file that are in none that counts."""
    files, _ = ledger.files()
    rows = ledger.store.read(f"{ledger.folder}/{name}")
    known = pa.concat_tables(ledger.store.read(f"{ledger.folder}/{file.name}") for file in files)
    keys = [*ATTEMPT_KEY]
    rows = rows.join(known.select(keys), keys, join_type="left anti")
    if not rows.num_rows:
        return
    events = rows.group_by("event_id").aggregate([])
    both = pa.concat_tables([known, rows.select(known.column_names)])
    before, after = (int(last_of(each, events).delivered.sum()) for each in (known, both))
    rows = rows.select(known.column_names)
    with ledger.attempt(rows) as attempt:
        attempt.write(rows, after - before)
