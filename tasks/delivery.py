"""Delivering batches to one destination, and what is done about those that fail.

A batch that fails is tried three times, with pauses. What then?

- Where nothing could be handed over, the receiver is not there: the run gives the destination
  up. An outage never shrinks batches and never puts the blame on an event.
- Else the receiver took (part of) the batch and did not confirm it. It may be sick, or stumble
  over one event. So its first and its last event are sent alone. Where neither is confirmed
  nothing can be told: the batch is left to the next run, and after three such batches in a row
  the destination is given up for this run.
- Where one is confirmed the receiver works, and something in the batch is at fault. It is sent
  in halves, halves of halves, until single events are left that fail alone.
- A single event is called at fault only where the attempt just before its own was delivered:
  then its ledger row says so, and `load` leaves it for a day. Others that failed alone are
  tried once more after the next success.

Over UDP each message has its own outcome: one that failed while a later one was sent is at fault.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.staging.ledger import ALONE, DELIVERED, DELIVERIES_SCHEMA

if TYPE_CHECKING:
    import threading

    from tasks.parcels import Parcel
    from tasks.syslog.destination import Destination
    from tasks.syslog.transport import Transport

_IN_A_ROW = 3


class GivenUp(Exception):  # noqa: N818 - reads as a sentence; never leaves `tasks.load`
    """The destination is given up for this run; the message says what happened."""


class Stopped(Exception):  # noqa: N818
    """The run was asked to end, between two attempts."""


def _mask(values: pa.BooleanArray) -> np.ndarray:
    return np.asarray(values.to_numpy(zero_copy_only=False))


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
    _suspects: list[Parcel] = field(default_factory=list)

    def deliver(self, batch: Parcel) -> None:
        """Deliver a batch as well as can be.

        Raises:
            GivenUp: The receiver is not there, or seems sick.
            Stopped: The run was asked to end.
            StagingError: The ledger cannot be written.
        """
        self.tried += len(batch)
        left = self._send(batch)
        for pause in self.pauses:
            if not len(left):
                break
            self._pause(pause)
            left = self._send(left, present=len(left) < len(batch))
        if not len(left) or self._delivered_in_parts(left):
            self._failed_in_a_row = 0
            return
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= _IN_A_ROW:
            raise GivenUp(self.error)

    def _delivered_in_parts(self, batch: Parcel) -> bool:
        """Halve a failed batch where the receiver works; whether all of it was tried alone."""
        if len(batch) == 1:
            self._suspects.append(batch.alone())
            return False
        ends = (batch.slice(0, 1), batch.slice(len(batch) - 1, len(batch)))
        if all(len(self._send(end)) for end in ends):
            return False
        parts = deque(batch.take(~batch.delivered).halves())
        patience = len(batch).bit_length() + 2
        failures = 0
        while parts and failures < patience:
            part = parts.popleft()
            left = self._send(part, alone=len(part) == 1 and self._worked)
            failures = failures + 1 if len(left) else 0
            if len(left) == 1:
                self._suspects.append(left.alone())
            else:
                parts.extend(left.halves())
        return not parts

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
        if self._worked and self._suspects:
            self._try_suspects()
        return left

    def _try_suspects(self) -> None:
        """Now that an attempt was delivered, send alone what failed alone before."""
        while self._worked and self._suspects:
            self._send(self._suspects.pop(0), alone=True)

    def _attempt(self, batch: Parcel, *, alone: bool = False) -> Parcel:
        """Send a batch once and write its rows into the ledger; what is to be sent again."""
        if self.stop.is_set():
            raise Stopped
        attempted_at = datetime.now(UTC)
        try:
            outcome = self.transport.deliver(batch.messages)
        except BaseException:
            # any part of it may have gone out
            statuses = pa.repeat("unconfirmed", len(batch))
            self._record(batch, attempted_at, statuses, "the run was interrupted", alone=False)
            raise
        mine = self._record(batch, attempted_at, outcome.statuses, outcome.error, alone=alone)
        failed = pc.sum(pc.equal(outcome.statuses, "failed")).as_py()
        # a datagram that fails by itself says nothing about the receiver
        by_itself = self.destination.scheme == "udp" and len(batch) == 1
        self._absent = failed == len(batch) and not by_itself
        return batch.take(~batch.delivered & ~mine)

    def _record(
        self,
        batch: Parcel,
        attempted_at: datetime,
        statuses: pa.StringArray,
        error: str | None,
        *,
        alone: bool,
    ) -> np.ndarray:
        """Write an attempt into the ledger; returns which events it shows to be at fault."""
        delivered = _mask(pc.is_in(statuses, value_set=pa.array(DELIVERED)))
        delta = int(delivered.sum()) - int(batch.delivered.sum())
        mine = np.zeros(len(batch), np.bool_)
        if self.destination.scheme != "udp":
            mine |= alone & _mask(pc.equal(statuses, "unconfirmed"))
        elif alone:
            mine |= ~delivered
        elif delivered.any():
            last_sent = np.flatnonzero(delivered)[-1]
            mine[:last_sent] = ~delivered[:last_sent]
        batch.number[:] += 1
        batch.delivered[:] = delivered
        batch.ledger.append(
            self._rows(batch, attempted_at, statuses, error or "no reason given", mine), delta
        )
        self.batches += 1
        self.delivered += int(delivered.sum())
        self._worked = bool(delivered.any())
        if not delivered.all():
            self.error = error or "no reason given"
        return mine

    def _rows(
        self,
        batch: Parcel,
        attempted_at: datetime,
        statuses: pa.StringArray,
        error: str,
        mine: np.ndarray,
    ) -> pa.Table:
        """The ledger's rows of an attempt."""
        count = len(batch)
        stamp = pa.scalar(attempted_at, pa.timestamp("us", tz="UTC"))
        reason = pa.repeat(error, count)
        if mine.any():
            reason = pc.if_else(pa.array(mine), ALONE + error, reason)
        columns = {
            "event_id": batch.facts["event_id"],
            "created_at": batch.facts["created_at"],
            "status": statuses,
            "attempt": pa.array(batch.number),
            "attempted_at": pa.repeat(stamp, count),
            "transport": pa.repeat(self.destination.scheme, count),
            "bytes": batch.facts["bytes"],
            "truncated": batch.facts["truncated"],
            "line_sha256": batch.facts["line_sha256"],
            "error": pc.if_else(pa.array(batch.delivered), pa.scalar(None, pa.string()), reason),
            "run_id": pa.repeat(self.run_id, count),
        }
        return pa.table(columns).cast(DELIVERIES_SCHEMA)

    def _pause(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Stopped
