"""One attempt: a batch is sent once, and its rows are in the ledger before anything follows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.staging.last_attempts import DELIVERED, FAILED_ALONE, FAILED_BETWEEN
from tasks.staging.schemas import DELIVERIES_SCHEMA, TIME
from tasks.syslog.transport import CONFIRMED, FAILED, SENT, UNCONFIRMED, Outcome

if TYPE_CHECKING:
    import threading

    import numpy.typing as npt

    from tasks.load.batches import Batch
    from tasks.syslog.destination import Destination
    from tasks.syslog.transport import Transport

_NO_REASON = "no reason given"


class Stopped(Exception):  # noqa: N818
    """The run was asked to end, between two attempts."""


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
        fault: Which of these did so with others delivered right before and right after them.
    """

    alone: npt.NDArray[np.bool_]
    fault: npt.NDArray[np.bool_]

    @classmethod
    def none(cls, count: int) -> Self:
        """No event failed by itself."""
        return cls(*np.zeros((2, count), np.bool_))


@dataclass
class RecordedTransport:
    """Makes attempts at one destination for one run, and counts them.

    Attributes:
        batches: Attempts made.
        tried: Events that were sent at least once.
        delivered: Events of these whose last attempt is `confirmed` or `sent`.
        error: What happened to the last attempt that failed.
        absent: Whether nothing could be handed over at the last attempt.
        worked: Whether the last attempt that handed over anything delivered anything, and ended
            well.
        worked_before: Whether the one before that did.
    """

    destination: Destination
    transport: Transport
    run_id: str
    stop: threading.Event
    batches: int = 0
    tried: int = 0
    delivered: int = 0
    error: str = ""
    absent: bool = False
    worked: bool = False
    worked_before: bool = False

    @property
    def per_message(self) -> bool:
        """Whether each message of a batch is handed over by itself, without a connection."""
        return self.destination.per_message_outcome

    def attempt(self, batch: Batch, *, fault: bool = False) -> Batch:
        """Send a batch once and write its rows into the ledger; what is to be sent again.

        Args:
            batch: The events.
            fault: Whether a failure of this single event is recorded as the fault of the event.

        Raises:
            Stopped: The run was asked to end; nothing was sent.
            LedgerError: The ledger cannot be written.
        """
        if self.stop.is_set():
            raise Stopped
        with batch.ledger.attempt(batch.facts["event_id"]) as attempt:
            rows = partial(self._rows, batch, datetime.now(UTC))
            expected = Outcome.of(
                (CONFIRMED if self.destination.acknowledges else SENT, len(batch))
            )
            attempt.expect(partial(rows, expected))
            try:
                outcome, interruption = self.transport.deliver(batch.messages), None
            except BaseException as anything:  # noqa: BLE001 - raised when it is on record
                # any part of it may have gone out
                outcome = Outcome.of((UNCONFIRMED, len(batch)), error="the run was interrupted")
                interruption = anything
            delivered = _delivered(outcome)
            delta = int(delivered.sum()) - int(batch.delivered.sum())
            as_expected = outcome.statuses.equals(expected.statuses)
            nothing = as_expected or interruption is not None
            single = (
                _SingleFailures.none(len(batch))
                if nothing
                else self._single_failures(outcome, fault=fault)
            )
            attempt.record(delta, None if as_expected else rows(outcome, single))
        self._count(batch, outcome, delivered)
        if interruption:
            raise interruption
        return batch.take(~batch.delivered & ~single.fault)

    def _single_failures(self, outcome: Outcome, *, fault: bool) -> _SingleFailures:
        """Which events failed by themselves in an attempt."""
        failed = ~_delivered(outcome)
        refused = _refused(outcome)
        if len(failed) == 1:
            if not self.per_message:
                failed &= refused | _mask(pc.equal(outcome.statuses, UNCONFIRMED))
            return _SingleFailures(failed, failed & fault)
        by_itself = failed if self.per_message else refused
        if failed.all() or not by_itself.any():
            return _SingleFailures.none(len(failed))
        sent = np.flatnonzero(~failed)
        row = np.arange(len(failed))
        alone = by_itself & (row < sent[-1])
        return _SingleFailures(alone, alone & (self.worked | (row > sent[0])))

    def _count(self, batch: Batch, outcome: Outcome, delivered: npt.NDArray[np.bool_]) -> None:
        """Keep in mind what was recorded."""
        self.tried += int((~batch.tried).sum())
        batch.tried[:] = True
        batch.number[:] += 1
        batch.delivered[:] = delivered
        self.batches += 1
        self.delivered += int(delivered.sum())
        if not delivered.all():
            self.error = outcome.error or _NO_REASON
        failed = pc.sum(pc.equal(outcome.statuses, FAILED)).as_py()
        # a datagram that fails by itself says nothing about the receiver
        by_itself = self.per_message and len(batch) == 1
        self.absent = failed == len(batch) and not by_itself and not _refused(outcome).any()
        if not self.absent:
            # what was acknowledged before a connection broke does not speak for the receiver
            broke = not self.per_message and not (delivered | _refused(outcome)).all()
            self.worked_before, self.worked = self.worked, bool(delivered.any()) and not broke

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
                pa.array(single.fault), FAILED_BETWEEN + error, FAILED_ALONE + error
            )
            reason = pc.if_else(pa.array(single.alone), blamed, reason)
        delivered = pa.array(_delivered(outcome))
        columns = {
            "event_id": batch.facts["event_id"],
            "created_at": batch.facts["created_at"],
            "status": outcome.statuses,
            "attempt": pa.array(batch.number + 1),
            "attempted_at": pa.repeat(stamp, count),
            "transport": pa.repeat(self.destination.scheme, count),
            "bytes": batch.facts["bytes"],
            "truncated": batch.facts["truncated"],
            "line_sha256": batch.facts["line_sha256"],
            "error": pc.if_else(delivered, pa.scalar(None, pa.string()), reason),
            "run_id": pa.repeat(self.run_id, count),
        }
        return pa.table(columns).cast(DELIVERIES_SCHEMA)
