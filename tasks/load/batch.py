"""A batch: events that go to a destination together, each with the ledger of its attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import numpy.typing as npt

    from tasks.staging.deliveries.ledger import Ledger


@dataclass(frozen=True)
class Batch:
    """Events ready to be sent, of any number of accounts and days.

    Attributes:
        ledgers: Where their attempts go, one of each account and day.
        ledger_index: Which of these, for each event.
        facts: `event_id`, `created_at`, `bytes`, `truncated`, `line_sha256`.
        messages: The framed syslog messages, `pa.BinaryArray` or a chunked one.
        attempts: How many there were so far; an array that is kept up to date.
        delivered: Whether the last attempt was; an array that is kept up to date.
        tried: Whether this run sent it; an array that is kept up to date.
        failed_alone: Whether an earlier run sent the event alone, and it failed.
    """

    ledgers: tuple[Ledger, ...]
    ledger_index: npt.NDArray[np.int32]
    facts: pa.Table
    messages: pa.BinaryArray | pa.ChunkedArray
    attempts: npt.NDArray[np.int32]
    delivered: npt.NDArray[np.bool_]
    tried: npt.NDArray[np.bool_]
    failed_alone: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.attempts)

    def slice(self, start: int, stop: int) -> Batch:
        """Consecutive events; nothing is copied."""
        return Batch(
            self.ledgers,
            self.ledger_index[start:stop],
            self.facts.slice(start, stop - start),
            self.messages.slice(start, stop - start),
            self.attempts[start:stop],
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
            self.ledgers,
            self.ledger_index[rows],
            self.facts.take(chosen),
            self.messages.take(chosen),
            self.attempts[rows],
            self.delivered[rows],
            self.tried[rows],
            self.failed_alone[rows],
        )

    def with_in_the_middle(self, mask: npt.NDArray[np.bool_]) -> Batch:
        """A copy, the events where `mask` is true moved between the others."""
        others, chosen = np.flatnonzero(~mask), np.flatnonzero(mask)
        half = len(others) // 2
        return self.rows(np.concatenate([others[:half], chosen, others[half:]]))

    def without(self, ledger: Ledger) -> Batch:
        """The events of other accounts and days."""
        gone = [index for index, one in enumerate(self.ledgers) if one is ledger]
        return self.take(~np.isin(self.ledger_index, gone))

    def by_ledger(self) -> list[tuple[Ledger, npt.NDArray[np.intp]]]:
        """The ledgers of these events, each with the indices of its own."""
        order = np.argsort(self.ledger_index, kind="stable")
        present, starts = np.unique(self.ledger_index[order], return_index=True)
        ledgers = (self.ledgers[index] for index in present)
        return list(zip(ledgers, np.split(order, starts[1:]), strict=True))
