"""The record of one attempt: a ledger file for each account and day that its batch touches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.staging.deliveries.ledger import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from tasks.load.batch import Batch
    from tasks.staging.deliveries.ledger import AttemptWriter


@dataclass
class _Part:
    """One ledger's part of a record.

    Attributes:
        events: Indices of its events in the batch.
        writer: Writes its rows.
        opened: Publishes the file when it is left.
    """

    events: npt.NDArray[np.intp]
    writer: AttemptWriter
    opened: ExitStack


@dataclass
class BatchRecord:
    """The record of a batch that is being sent; see `open_record`."""

    _batch: Batch
    _parts: list[_Part]

    def write(self, delivered: npt.NDArray[np.bool_], rows: pa.Table | None = None) -> None:
        """Write the record: what can be, even if one of its files cannot.

        Args:
            delivered: Which events are delivered now.
            rows: `DELIVERIES_SCHEMA`, one row an event; those that were expected by default.

        Raises:
            LedgerError: A file cannot be written.
        """
        change = delivered.astype(int) - self._batch.delivered

        def write(part: _Part) -> LedgerError | None:
            delta = int(change[part.events].sum())
            try:
                with part.opened:
                    writer = part.writer
                    writer.write(writer.expected if rows is None else _of(rows, part.events), delta)
            except LedgerError as fault:
                return fault
            return None

        first, *others = self._parts
        # a disk forces several files out in hardly more time than one
        with ThreadPoolExecutor(len(others) or 1, "ledger") as pool:
            written = pool.map(write, others)
            for fault in (write(first), *written):
                if fault is not None:
                    raise fault


def _of(rows: pa.Table, events: npt.NDArray[np.intp]) -> pa.Table:
    """The rows of some events, in ascending order; nothing is copied where they are neighbours."""
    first, count = int(events[0]), len(events)
    if events[-1] - first == count - 1:
        return rows.slice(first, count)
    return rows.take(pa.array(events))


@contextmanager
def open_record(batch: Batch, expected: pa.Table) -> Iterator[BatchRecord]:
    """The record of a batch, which is to be sent within the context; on disk once it is written.

    Args:
        batch: The batch.
        expected: Its rows if all goes well. They are written now: there is time until the answer.

    Raises:
        LedgerError: There is no room for it: the batch must not be sent.
    """
    with ExitStack() as every:
        parts = []
        for ledger, events in batch.by_ledger():
            opened = every.enter_context(ExitStack())
            writer = opened.enter_context(ledger.attempt(_of(expected, events)))
            parts.append(_Part(events, writer, opened))
        yield BatchRecord(batch, parts)
