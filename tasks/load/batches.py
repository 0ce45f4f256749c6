"""Makes batches of the events to be delivered: rendered, hashed and encoded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.cef.line_hashes import line_hashes
from tasks.cef.render import render
from tasks.load.batch import Batch
from tasks.load.selected_rows import ROWS_AT_A_TIME, STATE, BrokenOff, selected_rows
from tasks.plugin.fields import NORMALIZED_SCHEMA
from tasks.syslog.message import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tasks.load.pending_days import PendingDay
    from tasks.load.selected_rows import Rows
    from tasks.staging.deliveries.pending import Selection
    from tasks.syslog.destination import Destination

T = TypeVar("T")

_BYTES = 32 * 1024 * 1024
"""After so many bytes, events are rendered even where they are fewer than a batch."""
_LEDGERS = 16
"""Accounts and days of a batch at most: each has a file open while the batch is under way."""


def batches(
    days: Iterable[PendingDay], selection: Selection, destination: Destination
) -> Iterator[Batch | BrokenOff]:
    """The events of some days that are to be delivered, a batch at a time.

    Day follows day as given, and within a day events are in order of creation. A batch has events
    of several days where one day does not fill it; over UDP, where nothing waits for a batch, it
    has events of one. They are read and made in threads, ahead of their use, but not beyond a day
    that broke off: it is read on once the caller has dealt with that.

    Args:
        days: The days; how far each was read is noted in them.
        selection: Which of their events.
        destination: Says how many events make a batch, and how they are encoded.
    """
    ledgers = 1 if destination.per_message_outcome else _LEDGERS
    read = _ahead(selected_rows(days, selection))
    for made in _ahead(_packs(read, destination)):
        if isinstance(made, BrokenOff):
            yield made
        else:
            yield from _cut(made, destination.batch, ledgers)


def _ahead(made: Iterator[T | BrokenOff]) -> Iterator[T | BrokenOff]:
    """Make the next in a thread while the one before it is used."""
    with ThreadPoolExecutor(1, "ahead") as pool:
        coming = pool.submit(next, made, None)
        while (one := coming.result()) is not None:
            if isinstance(one, BrokenOff):
                yield one
                coming = pool.submit(next, made, None)
            else:
                coming = pool.submit(next, made, None)
                yield one


def _cut(pack: Batch, size: int, ledgers: int) -> Iterator[Batch]:
    """Batches of so many events, and of at most so many accounts and days."""
    start = 0
    while start < len(pack):
        others = np.searchsorted(pack.ledger_index, pack.ledger_index[start] + ledgers)
        stop = min(start + size, int(others))
        yield pack.slice(start, stop)
        start = stop


def _packs(
    read: Iterable[Rows | BrokenOff], destination: Destination
) -> Iterator[Batch | BrokenOff]:
    """The events to be delivered, in order; whole batches at a time, unless they are large.

    The very first batch is made alone, so that it is soon on its way.
    """
    alone = destination.batch
    for ready in _whole_batches(read, destination.batch):
        if isinstance(ready, BrokenOff):
            yield ready
            continue
        count = sum(table.num_rows for _, table in ready)
        for start, stop in pairwise((0, min(alone, count), count)):
            if start < stop:
                yield _pack(_slice(ready, start, stop), destination)
        alone = 0


def _whole_batches(
    read: Iterable[Rows | BrokenOff], batch: int
) -> Iterator[list[Rows] | BrokenOff]:
    """Rows of whole batches, many at a time; of fewer where they are large, or at an end."""
    waiting: list[Rows] = []
    rows = size = 0
    for some in read:
        if isinstance(some, BrokenOff):
            yield _in_order(waiting)
            waiting, rows, size = [], 0, 0
            yield some
            continue
        waiting.append(some)
        rows += some[1].num_rows
        size += some[1].nbytes
        if rows >= max(batch, ROWS_AT_A_TIME) or size >= _BYTES:
            ready = _in_order(waiting)
            full = rows // batch * batch or rows
            yield _slice(ready, 0, full)
            waiting = _slice(ready, full, rows)
            rows -= full
            size = sum(table.nbytes for _, table in waiting)
    yield _in_order(waiting)


def _in_order(read: list[Rows]) -> list[Rows]:
    """One table an account and day, in order of creation."""
    found = []
    for _, group in groupby(read, key=lambda rows: id(rows[0])):
        ledgers, tables = zip(*group, strict=True)
        table = pa.concat_tables(tables)
        created = table["created_at"].cast(pa.int64()).to_numpy()
        if not (created[1:] >= created[:-1]).all():
            table = table.sort_by("created_at")
        found.append((ledgers[0], table))
    return found


def _slice(read: list[Rows], start: int, stop: int) -> list[Rows]:
    """Consecutive rows, counted over all tables."""
    found = []
    for ledger, table in read:
        if start < table.num_rows and stop > 0:
            found.append((ledger, table.slice(max(start, 0), stop - max(start, 0))))
        start -= table.num_rows
        stop -= table.num_rows
    return found


def _pack(read: list[Rows], destination: Destination) -> Batch:
    """Render and encode events."""
    ledgers, tables = zip(*read, strict=True)
    table = pa.concat_tables(tables).combine_chunks()
    events = table.select(NORMALIZED_SCHEMA.names)
    messages, truncated, hashes = [], [], []
    for start in range(0, events.num_rows, ROWS_AT_A_TIME):
        piece = events.slice(start, ROWS_AT_A_TIME)
        rendered = render(piece)
        hosts = piece["destination_hostname"]
        messages.append(encode(rendered.lines, piece["created_at"], hosts, destination))
        truncated.append(rendered.truncated)
        hashes.append(line_hashes(rendered.lines))
    framed = pa.chunked_array(messages, pa.binary())
    facts = pa.table(
        {
            "event_id": events["event_id"],
            "created_at": events["created_at"],
            "bytes": pc.binary_length(framed),
            "truncated": pa.chunked_array(truncated, pa.bool_()),
            "line_sha256": pa.chunked_array(hashes, pa.string()),
        }
    )
    number, delivered, failed_alone = (table[f"_{name}"].to_numpy().copy() for name in STATE)
    counts = [one.num_rows for one in tables]
    ledger_index = np.repeat(np.arange(len(ledgers), dtype=np.int32), counts)
    tried = np.zeros(len(number), np.bool_)
    return Batch(ledgers, ledger_index, facts, framed, number, delivered, tried, failed_alone)
