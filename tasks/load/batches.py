"""Batches: normalized events of one account and day, rendered, encoded and ready to be sent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.cef.line_hashes import line_hashes
from tasks.cef.render import render
from tasks.plugin.fields import NORMALIZED_SCHEMA
from tasks.staging import normalized_rows
from tasks.staging.pending import states
from tasks.syslog.message import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy.typing as npt

    from tasks.staging.file_names import NormalizedFile
    from tasks.staging.last_attempts import LastAttempts
    from tasks.staging.ledger import Ledger
    from tasks.staging.segments import Segment
    from tasks.syslog.destination import Destination

    Select = Callable[[pa.Table, LastAttempts], npt.NDArray[np.bool_]]

_ROWS = 16_384
"""Rows that are rendered at a time: enough for columns to pay off, few enough to be bounded."""
_BYTES = 32 * 1024 * 1024
"""After so many bytes, events are rendered even where they are fewer than a batch."""

_STATE = ("number", "delivered", "failed_alone")
"""What of `LastAttempts` goes along with the events."""


@dataclass(frozen=True)
class Batch:
    """Events of one account and day, ready to be sent.

    Attributes:
        ledger: Where their attempts go.
        facts: `event_id`, `created_at`, `bytes`, `truncated`, `line_sha256`.
        messages: The framed syslog messages, `pa.BinaryArray` or a chunked one.
        number: Attempts so far; an array that is kept up to date.
        delivered: Whether the last attempt was; an array that is kept up to date.
        tried: Whether this run sent it; an array that is kept up to date.
        failed_alone: Whether an earlier run sent the event alone, and it failed.
    """

    ledger: Ledger
    facts: pa.Table
    messages: pa.BinaryArray | pa.ChunkedArray
    number: npt.NDArray[np.int32]
    delivered: npt.NDArray[np.bool_]
    tried: npt.NDArray[np.bool_]
    failed_alone: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.number)

    def slice(self, start: int, stop: int) -> Batch:
        """Consecutive events; nothing is copied."""
        return Batch(
            self.ledger,
            self.facts.slice(start, stop - start),
            self.messages.slice(start, stop - start),
            self.number[start:stop],
            self.delivered[start:stop],
            self.tried[start:stop],
            self.failed_alone[start:stop],
        )

    def halves(self) -> list[Batch]:
        """Both halves; none of nothing."""
        middle = len(self) // 2
        return [self.slice(0, middle), self.slice(middle, len(self))] if middle else []

    def take(self, mask: npt.NDArray[np.bool_]) -> Batch:
        """The events where `mask` is true: a copy, or nothing new where that is all."""
        return self if mask.all() else self.rows(np.flatnonzero(mask))

    def copy(self) -> Batch:
        """A copy that keeps no larger batch's memory alive."""
        return self.rows(np.arange(len(self)))

    def rows(self, rows: npt.NDArray[np.intp]) -> Batch:
        """A copy of the events of these indices, in this order."""
        chosen = pa.array(rows)
        return Batch(
            self.ledger,
            self.facts.take(chosen),
            self.messages.take(chosen),
            self.number[rows],
            self.delivered[rows],
            self.tried[rows],
            self.failed_alone[rows],
        )


def batches(
    ledger: Ledger,
    files: Iterable[tuple[Segment, NormalizedFile]],
    destination: Destination,
    select: Select,
) -> Iterator[Batch]:
    """The events of a day that are to be delivered, a batch at a time, in order of creation.

    Args:
        ledger: The destination's ledger of the account and day.
        files: Normalized files in order of their windows, each with its segment.
        destination: Says how many events make a batch, and how they are encoded.
        select: Which events, an array of booleans, by `event_id` and `created_at` and what the
            ledger last says.

    Raises:
        FileGone: A file was replaced since the names were listed.
        StagingError: A file cannot be read.
    """
    for whole in _ahead(_packs(ledger, files, destination, select)):
        for start in range(0, len(whole), destination.batch):
            yield whole.slice(start, min(start + destination.batch, len(whole)))


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Make the next batch while the one before it is sent: sending is mostly waiting."""
    with ThreadPoolExecutor(1, "batches") as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def _packs(
    ledger: Ledger,
    files: Iterable[tuple[Segment, NormalizedFile]],
    destination: Destination,
    select: Select,
) -> Iterator[Batch]:
    """The events to be delivered, in order; whole batches at a time, unless they are large."""
    batch = destination.batch
    waiting: list[pa.Table] = []
    rows = size = 0
    for segment, file in files:
        for table in _selected(ledger, segment, file, select):
            waiting.append(table)
            rows += table.num_rows
            size += table.nbytes
            if rows >= max(batch, _ROWS) or size >= _BYTES:
                ready = _in_order(waiting)
                full = rows // batch * batch or rows
                yield _pack(ledger, ready.slice(0, full), destination)
                waiting, rows = [ready.slice(full)], rows - full
                size = waiting[0].nbytes
    if rows:
        yield _pack(ledger, _in_order(waiting), destination)


def _selected(
    ledger: Ledger, segment: Segment, file: NormalizedFile, select: Select
) -> Iterator[pa.Table]:
    """The chosen rows of a file, with what the ledger says of them in more columns, `_STATE`."""
    masks: list[npt.NDArray[np.bool_]] = []
    states_of: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in _STATE}
    for events, last in states(ledger, segment, file):  # of a large file, only this is kept
        masks.append(select(events, last))
        for name, parts in states_of.items():
            parts.append(getattr(last, name))
    if not any(mask.any() for mask in masks):
        return
    mask = np.concatenate(masks)
    state = {name: np.concatenate(parts) for name, parts in states_of.items()}
    path = f"{ledger.store.folder('normalized', ledger.account, ledger.day)}/{file.name}"
    start = 0
    for table in normalized_rows.batches(ledger.store, path, rows=_ROWS):
        part = slice(start, start + table.num_rows)
        start += table.num_rows
        with_state = table
        for name in _STATE:
            with_state = with_state.append_column(f"_{name}", pa.array(state[name][part]))
        yield with_state.filter(pa.array(mask[part]))


def _in_order(tables: list[pa.Table]) -> pa.Table:
    table = pa.concat_tables(tables)
    created = table["created_at"].cast(pa.int64()).to_numpy()
    return table if (created[1:] >= created[:-1]).all() else table.sort_by("created_at")


def _pack(ledger: Ledger, table: pa.Table, destination: Destination) -> Batch:
    """Render and encode events."""
    events = table.select(NORMALIZED_SCHEMA.names)
    messages, truncated, hashes = [], [], []
    for start in range(0, events.num_rows, _ROWS):
        piece = events.slice(start, _ROWS)
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
    number, delivered, failed_alone = (table[f"_{name}"].to_numpy().copy() for name in _STATE)
    tried = np.zeros(len(number), np.bool_)
    return Batch(ledger, facts, framed, number, delivered, tried, failed_alone)
