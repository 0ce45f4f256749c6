"""The rows of normalized files that are to be delivered, day after day."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import StagingError
from tasks.load.pending_days import now
from tasks.retry_policy import REREADS_OF_REPLACED_FILES
from tasks.staging import normalized_rows
from tasks.staging.deliveries.last_attempts import LastAttempts
from tasks.staging.deliveries.pending import states
from tasks.staging.storage.files import FileGone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tasks.load.pending_days import PendingDay
    from tasks.staging.deliveries.ledger import Ledger
    from tasks.staging.deliveries.pending import Selection
    from tasks.staging.names.file_names import NormalizedFile
    from tasks.staging.names.segments import Segment

    Rows = tuple[Ledger, pa.Table]

ROWS_AT_A_TIME = 16_384
"""Rows that are read, and rendered, at a time: enough for columns to pay off, and bounded."""
STATE = ("number", "delivered", "failed_alone")
"""What of `LastAttempts` goes along with the events, each in a column of that name after `_`."""


@dataclass(frozen=True)
class BrokenOff:
    """The reading of a day broke off.

    Attributes:
        day: Which one. What was read of it before is in batches that came before.
        fault: Why.
        again: Whether it is read again, as a file of it was replaced: what was not tried by then.
    """

    day: PendingDay
    fault: StagingError
    again: bool


def selected_rows(days: Iterable[PendingDay], selection: Selection) -> Iterator[Rows | BrokenOff]:
    """The selected rows of each day; where its reading broke off, that."""
    for day in days:
        day.begun = now()
        here, rereads = selection, 0
        while not day.read:
            try:
                if rereads:
                    day.list_files()
                for segment, file in day.files(here):
                    for table in _selected(day.ledger, segment, file, here):
                        day.selected += table.num_rows
                        yield day.ledger, table
                day.read = True
            except StagingError as fault:
                again = isinstance(fault, FileGone) and rereads < REREADS_OF_REPLACED_FILES
                yield BrokenOff(day, fault, again)
                if not again:
                    break
                here = replace(selection, tried_before=day.begun)
                rereads += 1


def _selected(
    ledger: Ledger, segment: Segment, file: NormalizedFile, selection: Selection
) -> Iterator[pa.Table]:
    """The chosen rows of a file, with what the ledger says of them in more columns, `STATE`."""
    path = f"{ledger.store.folder('normalized', ledger.account, ledger.day)}/{file.name}"
    marks: pa.Table | None = None
    if segment.attempts or selection.takes.by_content:
        # perhaps none is chosen: the columns that tell are read first
        known = states(ledger, segment, file)
        marks = pa.concat_tables([_marks(events, last, selection) for events, last in known])
        if not pc.any(marks["_chosen"]).as_py():
            return
    start = 0
    for events in normalized_rows.batches(ledger.store, path, rows=ROWS_AT_A_TIME):
        count = events.num_rows
        if marks is None:
            here = _marks(events, LastAttempts.never(count), selection)
        else:
            here = marks.slice(start, count)
        start += count
        columns = [*events.columns, *here.columns]
        table = pa.table(columns, [*events.column_names, *here.column_names])
        table = table.filter(table["_chosen"])
        if table.num_rows:
            yield table


def _marks(events: pa.Table, last: LastAttempts, selection: Selection) -> pa.Table:
    """Which events are chosen, and what the ledger last says of them."""
    state = {f"_{name}": pa.array(getattr(last, name)) for name in STATE}
    return pa.table({"_chosen": pa.array(selection.select(events, last)), **state})
