"""Several batches under way at once, on a connection each, as long as all goes well.

A batch that is begun gets room for its record and its rows at once, connects, and waits for its
turn: so many batches have theirs at the same time as there are connections. A turn ends when the
batch is on record, and so a crash repeats at most one batch a connection. After the first failure
no turn is given any more; what still waits comes back unsent.

The receiver first has to show that it serves as many connections at once.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from tasks.errors import SensorError
from tasks.load.ahead_connections import AheadConnections
from tasks.load.early_end import Stopped
from tasks.load.turns import Turns
from tasks.staging.deliveries.ledger import LedgerError
from tasks.syslog.transport import FAILED, Outcome

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.load.batch import Batch
    from tasks.load.recorded_transport import Attempt, RecordedTransport
    from tasks.syslog.transport import StreamTransport

_AHEAD = 2
"""Connections that are made ahead of their batch's turn at most.

A connection may end no sooner than the close grace after it was made. Turns of small batches are
shorter than that.
"""
_WAITING = _AHEAD + 1
"""Batches that wait for their turn beside those that have it: one of them is prepared."""


class Connections:
    """The connections of one run to one destination.

    Args:
        recorded: Makes the attempts and counts them.
        transport: Its transport.
        count: How many batches may have their turn at the same time.
    """

    def __init__(
        self, recorded: RecordedTransport, transport: StreamTransport[Any], count: int
    ) -> None:
        self._recorded = recorded
        self._transport = transport
        self._count = count
        self._pool = ThreadPoolExecutor(count + _WAITING, "connection")
        self._begun: deque[tuple[Batch, Future[Attempt | None]]] = deque()
        self._number = 0
        self._turns = Turns(count, recorded.stop)
        self._ahead = AheadConnections(transport, _AHEAD)
        self._serves_all = count == 1
        if self.one_by_one:
            self._ahead.make(1)  # the first batch is still to be made

    @property
    def begun(self) -> bool:
        """Whether a batch is begun that was not taken back."""
        return bool(self._begun)

    @property
    def one_by_one(self) -> bool:
        """Whether no batch is sent before the one before it is on record."""
        return self._count == 1

    @property
    def full(self) -> bool:
        """Whether a batch has to be taken back before the next is begun."""
        # as many again, for one that is slow is not to hold up the others at once
        return len(self._begun) >= 2 * self._count - 1 + _WAITING

    def begin(self, batch: Batch) -> None:
        """Begin to deliver a batch."""
        if not self._serves_all:
            self._count = self._count if self._are_served() else 1
            self._serves_all = True
        if not self._begun:
            self._number, self._turns = 0, Turns(self._count, self._recorded.stop)
        deliver = partial(self._deliver, batch, self._turns, self._number)
        self._begun.append((batch, self._pool.submit(deliver)))
        self._number += 1
        self._connect_ahead(self._turns)

    def take(self) -> tuple[Batch, Batch | None]:
        """Wait for the batch that was begun first: it, and what of it is to be sent again.

        The second is None where the batch was not sent, for another one failed before.

        Raises:
            LedgerError: It cannot be recorded.
        """
        batch, future = self._begun[0]
        try:
            attempt = future.result()
        finally:
            if future.done():
                self._begun.popleft()
        return batch, None if attempt is None else self._recorded.count(attempt)

    def close_ahead(self) -> None:
        """Close what was connected for batches to come."""
        self._ahead.close()

    def close(self) -> None:
        """Wait for what is being sent, and count it; nothing more is sent.

        Raises:
            LedgerError: Something cannot be recorded.
        """
        fault: LedgerError | None = None
        self._turns.give_no_more()
        with self._pool:
            while self._begun:
                try:
                    self.take()
                except LedgerError as broken:
                    fault = fault or broken
        self._ahead.close()
        if fault is not None:
            raise fault

    def _are_served(self) -> bool:
        """Whether the receiver serves all connections at the same time; a note says if not."""
        try:
            self._transport.require_served(self._count)
        except SensorError as fault:
            self._recorded.notes.append(
                f"destination {self._recorded.destination.name}: batches are sent one after "
                f"another, as the receiver does not serve {self._count} connections at the "
                f"same time ({fault}); lower connections=, or allow more there"
            )
            return False
        return True

    def _deliver(self, batch: Batch, turns: Turns, number: int) -> Attempt | None:
        """Deliver a batch once it has its turn; None where none is given any more."""
        well = False
        try:
            if turns.over:
                return None
            attempt = self._recorded.send(batch, partial(self._send, turns, number))
            well = attempt.complete
        except Stopped:
            return None
        else:
            return attempt
        finally:
            turns.end(number, well=well)

    def _send(self, turns: Turns, number: int, messages: pa.ChunkedArray) -> Outcome:
        """Wait for the turn, and send, while others connect.

        A receiver that does not take as many connections ahead is not asked for as many again.
        """
        turns.take(number)
        try:
            connection, helps = self._ahead.take()
        except SensorError as error:
            return Outcome.of((FAILED, len(messages)), error=str(error))
        self._connect_ahead(turns)
        outcome = self._transport.deliver(messages, connection)
        if not helps and outcome.error is None:
            self._ahead.most = max(self._ahead.most - 1, 0)
        return outcome

    def _connect_ahead(self, turns: Turns) -> None:
        """Connect for batches that wait for their turn, once those that have it are connected.

        Where connections are kept, those batches get the ones of batches before them.
        """
        if turns.taken and not self._transport.keeps_connections:
            self._ahead.make(self._number - turns.taken)
