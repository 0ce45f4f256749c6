"""Delivering batches to one destination, and what is done about those that fail.

A batch that fails is tried three times, with pauses. What then?

- Where nothing could be handed over, the receiver is not there: the run gives the destination
  up. An outage never shrinks batches and never puts the blame on an event.
- Else the receiver took (part of) the batch and did not confirm it. It may be sick, or stumble
  over an event. So two events of the batch are sent alone, other ones in every run. Where neither
  is confirmed nothing can be told: the batch is put aside until another one is delivered, and
  after three such batches in a row the destination is given up for this run.
- Where something is confirmed the receiver works, and something in the batch is at fault. It is
  sent in halves, halves of halves, until single events are left that fail alone.
- An event is called at fault only where it fails alone just after something else was delivered:
  then its ledger row says so, and `load` leaves it for a day.

Over UDP each message has its own outcome: one that failed while a later one was sent is at fault.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.staging.ledger import ALONE, DELIVERED, DELIVERIES_SCHEMA
from tasks.syslog.transport import CONFIRMED, FAILED, SENT, UNCONFIRMED, Outcome

if TYPE_CHECKING:
    import threading

    from tasks.parcels import Parcel
    from tasks.syslog.destination import Destination
    from tasks.syslog.transport import Transport

_IN_A_ROW = 3
_NO_REASON = "no reason given"


class GivenUp(Exception):  # noqa: N818 - reads as a sentence; never leaves `tasks.load`
    """The destination is given up for this run; the message says what happened."""


class Stopped(Exception):  # noqa: N818
    """The run was asked to end, between two attempts."""


def _mask(values: pa.BooleanArray) -> np.ndarray:
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _delivered(outcome: Outcome) -> np.ndarray:
    return _mask(pc.is_in(outcome.statuses, value_set=pa.array(DELIVERED)))


@dataclass
class Courier:
    """Delivers batches to one destination for one run.

    Attributes:
        pauses: Seconds before a failed batch is tried a second and a third time.
        batches: Attempts made.
        tried: Events that were sent at least once.
        delivered: Events of these whose last attempt is `confirmed` or `sent`.
        error: What happened to the last attempt that failed.
    """

    destination: Destination
    transport: Transport
    run_id: str
    stop: threading.Event
    pauses: tuple[float, ...]
    batches: int = 0
    tried: int = 0
    delivered: int = 0
    error: str = ""
    _worked: bool = False
    _absent: bool = False
    _failed_in_a_row: int = 0
    _singles: list[Parcel] = field(default_factory=list)
    _aside: list[Parcel] = field(default_factory=list)

    @property
    def _delivered_as(self) -> str:
        """What an event's status is once there is nothing more to be done."""
        return SENT if self.destination.scheme == "udp" else CONFIRMED

    def deliver(self, batch: Parcel) -> None:
        """Deliver a batch as well as can be.

        Raises:
            GivenUp: The receiver is not there, or seems sick.
            Stopped: The run was asked to end.
            LedgerError: The ledger cannot be written.
        """
        if self.stop.is_set():
            raise Stopped
        self.tried += len(batch)
        left = self._send(batch)
        for pause in self.pauses:
            if not len(left):
                break
            self._pause(pause)
            left = self._send(left, present=len(left) < len(batch))
        if not len(left):
            self._failed_in_a_row = 0
        elif self._receiver_works(left):
            self._failed_in_a_row = 0
            self._halve(left.take(~left.delivered))
        else:
            self._put_aside(left)
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= _IN_A_ROW:
                raise GivenUp(self.error)
        if self._worked:
            self._try_singles()
            while self._aside:
                self._halve(self._aside.pop(0))

    def _receiver_works(self, batch: Parcel) -> bool:
        """Whether one of two events of a failed batch is delivered alone."""
        if len(batch) == 1:
            return False
        # attempts are more in every run, and so the second event is another one
        second = 1 + int(batch.number[-1]) * 7919 % (len(batch) - 1)
        return any(not len(self._send(batch.slice(at, at + 1))) for at in (0, second))

    def _halve(self, batch: Parcel) -> None:
        """Send a batch in ever smaller halves, the larger before the smaller ones.

        After many failures in a row the receiver has to show that it still works.
        """
        parts = deque(batch.halves() or [batch])
        patience = len(batch).bit_length() + 2
        failures = 0
        while parts:
            part = parts.popleft()
            if failures >= patience:
                if not self._receiver_works(part):
                    return
                part, failures = part.take(~part.delivered), 0
            left = self._send(part, alone=len(part) == 1 and self._worked)
            failures = failures + 1 if len(left) else 0
            parts.extend(left.halves())
            if len(left) == 1:
                self._put_aside(left)
            if self._worked:
                self._try_singles()

    def _put_aside(self, batch: Parcel) -> None:
        """Keep what failed until something else is delivered."""
        (self._singles if len(batch) == 1 else self._aside).append(batch.alone())

    def _try_singles(self) -> None:
        """Now that something was delivered, send alone what failed alone before."""
        while self._singles:
            self._send(self._singles.pop(0), alone=True)

    def _send(self, batch: Parcel, *, alone: bool = False, present: bool = False) -> Parcel:
        """Attempt a batch, again after pauses while nothing can be handed over; what is left.

        Args:
            batch: The events.
            alone: Whether a failure is to be called the event's own fault.
            present: Whether the receiver is known to be there: UDP, and some were sent just now.

        Raises:
            GivenUp: Nothing could be handed over at any attempt.
        """
        left = self._attempt(batch, alone=alone)
        for pause in self.pauses:
            if not self._absent or present:
                break
            self._pause(pause)
            left = self._attempt(left)
        if self._absent and not present:
            raise GivenUp(self.error)
        return left

    def _attempt(self, batch: Parcel, *, alone: bool = False) -> Parcel:
        """Send a batch once and write its rows into the ledger; what is to be sent again."""
        if self.stop.is_set():
            raise Stopped
        with batch.ledger.attempt(batch.facts["event_id"]) as attempt:
            rows = partial(self._rows, batch, datetime.now(UTC))
            hoped = Outcome.of((self._delivered_as, len(batch)))
            attempt.expect(partial(rows, hoped))
            try:
                outcome, interruption = self.transport.deliver(batch.messages), None
            except BaseException as anything:  # noqa: BLE001 - raised when it is on record
                # any part of it may have gone out
                outcome = Outcome.of((UNCONFIRMED, len(batch)), error="the run was interrupted")
                interruption, alone = anything, False
            delivered = _delivered(outcome)
            mine = self._at_fault(outcome, alone=alone)
            delta = int(delivered.sum()) - int(batch.delivered.sum())
            as_hoped = outcome.statuses.equals(hoped.statuses)
            attempt.record(delta, None if as_hoped else rows(outcome, mine))
        self._count(batch, outcome, delivered)
        if interruption:
            raise interruption
        return batch.take(~batch.delivered & ~mine)

    def _at_fault(self, outcome: Outcome, *, alone: bool) -> np.ndarray:
        """Which events an attempt shows to be at fault themselves."""
        delivered = _delivered(outcome)
        if self.destination.scheme != "udp":
            return alone & _mask(pc.equal(outcome.statuses, UNCONFIRMED))
        if alone:
            return ~delivered
        before_another = np.zeros(len(delivered), np.bool_)
        if delivered.any():
            before_another[: np.flatnonzero(delivered)[-1]] = True
        return ~delivered & before_another

    def _count(self, batch: Parcel, outcome: Outcome, delivered: np.ndarray) -> None:
        """Keep in mind what was recorded."""
        batch.number[:] += 1
        batch.delivered[:] = delivered
        self.batches += 1
        self.delivered += int(delivered.sum())
        self._worked = bool(delivered.any())
        if not delivered.all():
            self.error = outcome.error or _NO_REASON
        failed = pc.sum(pc.equal(outcome.statuses, FAILED)).as_py()
        # a datagram that fails by itself says nothing about the receiver
        by_itself = self.destination.scheme == "udp" and len(batch) == 1
        self._absent = failed == len(batch) and not by_itself

    def _rows(
        self,
        batch: Parcel,
        attempted_at: datetime,
        outcome: Outcome,
        mine: np.ndarray | None = None,
    ) -> pa.Table:
        """The ledger's rows of an attempt; `mine` are events at fault themselves."""
        count = len(batch)
        stamp = pa.scalar(attempted_at, pa.timestamp("us", tz="UTC"))
        error = outcome.error or _NO_REASON
        reason = pa.repeat(error, count)
        if mine is not None and mine.any():
            reason = pc.if_else(pa.array(mine), ALONE + error, reason)
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

    def _pause(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Stopped
