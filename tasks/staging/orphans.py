"""Orphans: normalized and rejected files whose raw file was moved out of the staging.

That is what is to be done with a damaged raw file, whose range is then extracted anew. Orphans
count for nothing (`tasks.staging.day_files`) and are dropped here, once the raw files that took
their place are normalized. Events of theirs that did not come back may have been delivered, and are
remembered as `lost` in the name of a file without rows, for as long as the ledger counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import StagingError
from tasks.staging import day_files
from tasks.staging.names import file_names
from tasks.time_window import describe_windows, isoformat

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from tasks.staging.day_files import DayFiles
    from tasks.staging.names.file_names import NormalizedFile
    from tasks.staging.store import Store
    from tasks.time_window import Window


@dataclass(frozen=True)
class Dropped:
    """What was dropped with a raw file that is gone.

    Attributes:
        window: The window of the raw file.
        normalized: Events in its normalized file.
        rejected: Events in its rejected file.
        missing: How many of all these are staged no longer.
    """

    window: Window
    normalized: int
    rejected: int
    missing: int


def drop_orphans(store: Store, account: str, day: date) -> list[Dropped]:
    """Drop the orphans of a day; the caller holds the account's lock.

    An orphan stays while a raw file of its time is not normalized, which may have its events. What
    a killed compaction left is dropped, too, and not reported.

    Raises:
        StagingError: The staging cannot be read or written.
    """
    state = day_files.day_of(store, account, day)  # listed anew: what is dropped is surely gone
    dropped = [
        (orphan, _drop(store, account, day, state, orphan))
        for orphan in state.orphans
        if not any(file.overlaps(orphan.since, orphan.until) for file in state.waiting)
    ]
    return [one for orphan, one in dropped if one.missing or not orphan.compacted]


def describe(account: str, dropped: list[Dropped]) -> str:
    """A sentence: what was dropped of an account, and what to do about events that are missing."""
    ranges = describe_windows(one.window for one in dropped)
    note = (
        f"account {account}: {sum(one.normalized for one in dropped):,} normalized and "
        f"{sum(one.rejected for one in dropped):,} rejected events of {ranges} were dropped, "
        "for their raw file is gone"
    )
    if missing := [one for one in dropped if one.missing]:
        since, until = missing[0].window.since, max(one.window.until for one in missing)
        note += (
            f"; {sum(one.missing for one in missing):,} of them are staged no longer: "
            f"`halo-usm extract --since {isoformat(since)} --until {isoformat(until)}` stages "
            "those that Halo still has"
        )
    return note


def _drop(
    store: Store, account: str, day: date, state: DayFiles, orphan: NormalizedFile
) -> Dropped:
    folder, of_rejected = (store.folder(tree, account, day) for tree in ("normalized", "rejected"))
    here = [
        file.name
        for file in state.current.values()
        if file.rows and file.overlaps(orphan.since, orphan.until)
    ]
    refused = state.orphans[orphan]
    rejected = sum(file.rows for file in refused)
    kept = _ids(store, folder, here)
    kept_or_rejected = kept + _ids(store, of_rejected, [file.name for file in state.rejected])
    try:
        events = _ids(store, folder, [orphan.name])
        all_events = events + _ids(store, of_rejected, [file.name for file in refused])
        lost = _not_among(events, kept)
        missing = _not_among(all_events, kept_or_rejected)
    except StagingError:  # it is dropped as well, and nothing of it is known to have come back
        lost, missing = orphan.rows, orphan.rows + rejected
    if lost or orphan.lost:
        from tasks.plugin.fields import NORMALIZED_SCHEMA

        name = file_names.normalized_name(
            orphan.key, orphan.generation + 1, 0, lost=orphan.lost + lost, gone=True
        )
        store.publish(NORMALIZED_SCHEMA.empty_table(), "normalized", account, day, name)
    store.remove(f"{folder}/{orphan.name}")
    for file in refused:
        store.remove(f"{of_rejected}/{file.name}")
    return Dropped(orphan.window(day), orphan.rows, rejected, missing)


def _ids(store: Store, folder: str, names: Iterable[str]) -> list[pa.ChunkedArray]:
    return [store.read(f"{folder}/{name}", ["event_id"])["event_id"] for name in names]


def _not_among(events: list[pa.ChunkedArray], others: list[pa.ChunkedArray]) -> int:
    """How many of some ids are not among others."""
    ids, known = (
        pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())
        for columns in (events, others)
    )
    return len(ids) - int(pc.sum(pc.is_in(ids, value_set=known)).as_py() or 0)
