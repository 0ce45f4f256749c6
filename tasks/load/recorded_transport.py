"""One attempt: a batch is sent once, and its rows are in the ledger before anything follows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.load.batch_record import open_record
from tasks.load.early_end import Stopped
from tasks.staging.deliveries.last_attempts import DELIVERED, FAILED_ALONE, FAILED_BETWEEN
from tasks.staging.schemas import DELIVERIES_SCHEMA, TIME
from tasks.syslog.transport import CONFIRMED, FAILED, SENT, UNCONFIRMED, Outcome

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    import numpy.typing as npt

    from tasks.load.batch import Batch
    from tasks.staging.deliveries.ledger import Ledger
    from tasks.syslog.destination import Destination
    from tasks.syslog.transport import Transport

_NO_REASON = "no reason given"


def _mask(values: pa.BooleanArray) -> npt.NDArray[np.bool_]:
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _delivered(outcome: Outcome) -> npt.NDArray[np.bool_]:
    return _mask(pc.is_in(outcome.statuses, value_set=pa.array(DELIVERED)))


def _refused(outcome: Outcome) -> npt.NDArray[np.bool_]:
    if outcome.refused is None:
        return np.zeros(len(outcome.statuses), np.bool_)
    return _mask(outcome.refused)


@dataclass(frozen=True)
class _SingleFailures:
    """Which events of an attempt failed by themselves, as arrays of booleans.

    Attributes:
        alone: Which failed by themselves: sent alone, as datagrams, or refused one by one.
        between: Which of these did so with others delivered right before and right after them.
    """

    alone: npt.NDArray[np.bool_]
    between: npt.NDArray[np.bool_]

    @classmethod
    def none(cls, count: int) -> Self:
        """No event failed by itself."""
        return cls(*np.zeros((2, count), np.bool_))


@dataclass(frozen=True)
class Attempt:
    """An attempt that was made and is in the ledger.

    Attributes:
        batch: What was sent.
        outcome: What became of it.
        blamed: The events whose own fault the failure is, by the ledger; an array of booleans.
        interruption: What ended the run while the batch was sent.
    """

    batch: Batch
    outcome: Outcome
    blamed: npt.NDArray[np.bool_]
    interruption: BaseException | None

    @property
    def complete(self) -> bool:
        """Whether nothing of it is to be sent again."""
        return bool((_delivered(self.outcome) | self.blamed).all())


@dataclass
class RecordedTransport:
    """Makes attempts at one destination for one run, and counts them.

    Attributes:
        batches: Attempts made.
        tried: Events that were sent at least once, by ledger.
        delivered: Events of these whose last attempt is `confirmed` or `sent`.
        error: What happened to the last attempt that failed.
        unreachable: Whether nothing could be handed over at the last attempt.
        last_delivered: Whether the last attempt that handed over anything delivered anything, and
            ended well.
        previous_delivered: Whether the one before that did.
        notes: What is worth knowing of the receiver.
    """

    destination: Destination
    transport: Transport
    run_id: str
    stop: threading.Event
    batches: int = 0
    tried: Counter[Ledger] = field(default_factory=Counter)
    delivered: int = 0
    error: str = ""
    unreachable: bool = False
    last_delivered: bool = False
    previous_delivered: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def per_message(self) -> bool:
        """Whether each message of a batch is handed over by itself, without a connection."""
        return self.destination.per_message_outcome

    def attempt(self, batch: Batch, *, blame: bool = False) -> Batch:
        """Send a batch once, write its rows into the ledger and count it; what is to be sent again.

        Args:
            batch: The events.
            blame: Whether a failure of this single event is recorded as the fault of the event.

        Raises:
            Stopped: The run was asked to end; nothing was sent.
            LedgerError: The ledger cannot be written.
        """
        if self.stop.is_set():
            raise Stopped
        return self.count(self.send(batch, self.transport.deliver, blame=blame))

    def send(
        self, batch: Batch, deliver: Callable[[pa.ChunkedArray], Outcome], *, blame: bool = False
    ) -> Attempt:
        """Send a batch once and write its rows into the ledger. May run in any thread.

        Args:
            batch: The events.
            deliver: Sends their messages. Where it raises `Stopped` there is no attempt.
            blame: Whether a failure of this single event is recorded as the fault of the event.

        Raises:
            Stopped: `deliver` did; nothing was sent.
            LedgerError: The ledger cannot be written. If that shows before, nothing is sent.
        """
        rows = partial(self._rows, batch, datetime.now(UTC))
        expected = Outcome.of((CONFIRMED if self.destination.acknowledges else SENT, len(batch)))
        with open_record(batch, rows(expected)) as record:
            try:
                outcome, interruption = deliver(batch.messages), None
            except Stopped:
                raise
            except BaseException as anything:  # noqa: BLE001 - raised when it is counted
                # any part of it may have gone out
                outcome = Outcome.of((UNCONFIRMED, len(batch)), error="the run was interrupted")
                interruption = anything
            as_expected = outcome.statuses.equals(expected.statuses)
            nothing = as_expected or interruption is not None
            single = (
                _SingleFailures.none(len(batch))
                if nothing
                else self._single_failures(outcome, blame=blame)
            )
            record.write(_delivered(outcome), None if as_expected else rows(outcome, single))
        return Attempt(batch, outcome, single.between, interruption)

    def count(self, attempt: Attempt) -> Batch:
        """Count an attempt; what is to be sent again. Attempts are counted in order.

        Raises:
            BaseException: What ended the run while the batch was sent.
        """
        batch, outcome = attempt.batch, attempt.outcome
        delivered = _delivered(outcome)
        if not batch.tried.all():
            for ledger, rows in batch.by_ledger():
                self.tried[ledger] += int((~batch.tried[rows]).sum())
        batch.tried[:] = True
        batch.attempts[:] += 1
        batch.delivered[:] = delivered
        self.batches += 1
        self.delivered += int(delivered.sum())
        if not delivered.all():
            self.error = outcome.error or _NO_REASON
        failed = pc.sum(pc.equal(outcome.statuses, FAILED)).as_py()
        # a datagram that fails by itself says nothing about the receiver
        by_itself = self.per_message and len(batch) == 1
        refused = _refused(outcome)
        self.unreachable = failed == len(batch) and not by_itself and not refused.any()
        if not self.unreachable:
            # what was acknowledged before a connection broke does not speak for the receiver
            broke = not self.per_message and not (delivered | refused).all()
            self.previous_delivered, self.last_delivered = (
                self.last_delivered,
                bool(delivered.any()) and not broke,
            )
        if attempt.interruption:
            raise attempt.interruption
        return batch.take(~batch.delivered & ~attempt.blamed)

    def _single_failures(self, outcome: Outcome, *, blame: bool) -> _SingleFailures:
        """Which events failed by themselves in an attempt."""
        failed = ~_delivered(outcome)
        refused = _refused(outcome)
        if len(failed) == 1:
            if not self.per_message:
                failed &= refused | _mask(pc.equal(outcome.statuses, UNCONFIRMED))
            return _SingleFailures(failed, failed & blame)
        by_itself = failed if self.per_message else refused
        if failed.all() or not by_itself.any():
            return _SingleFailures.none(len(failed))
        sent = np.flatnonzero(~failed)
        row = np.arange(len(failed))
        alone = by_itself & (row < sent[-1])
        return _SingleFailures(alone, alone & (self.last_delivered | (row > sent[0])))

    def _rows(
        self,
        batch: Batch,
        attempted_at: datetime,
        outcome: Outcome,
        single: _SingleFailures | None = None,
    ) -> pa.Table:
        """The ledger's rows of an attempt."""
        count = len(batch)
        stamp = pa.scalar(attempted_at, TIME)
        error = outcome.error or _NO_REASON
        reason = pa.repeat(error, count)
        if single is not None and single.alone.any():
            blamed = pc.if_else(
                pa.array(single.between), FAILED_BETWEEN + error, FAILED_ALONE + error
            )
            reason = pc.if_else(pa.array(single.alone), blamed, reason)
        delivered = pa.array(_delivered(outcome))
        columns = {
            "event_id": batch.facts["event_id"],
            "created_at": batch.facts["created_at"],
            "status": outcome.statuses,
            "attempt": pa.array(batch.attempts + 1),
            "attempted_at": pa.repeat(stamp, count),
            "transport": pa.repeat(self.destination.scheme, count),
            "bytes": batch.facts["bytes"],
            "truncated": batch.facts["truncated"],
            "line_sha256": batch.facts["line_sha256"],
            "error": pc.if_else(delivered, pa.scalar(None, pa.string()), reason),
            "run_id": pa.repeat(self.run_id, count),
        }
        return pa.table(columns).cast(DELIVERIES_SCHEMA)
