"""Delivering batches over several connections while nothing fails.

The first batch of a run is sent alone; on one connection, others are made ready meanwhile. Once it
is delivered, others follow on all connections. When one of them fails no more are begun, and those
that are under way come to their end. Then the one that failed is left to
`tasks.load.batch_sender`, which judges with nothing else under way; when something is delivered
again, so are others beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tasks.load.connections import Connections
from tasks.load.early_end import Stopped
from tasks.syslog.destination import StreamDestination

if TYPE_CHECKING:
    from tasks.load.batch import Batch
    from tasks.load.batch_sender import BatchSender
    from tasks.staging.deliveries.ledger import Ledger
    from tasks.syslog.transport import StreamTransport


class ParallelSender:
    """Delivers batches for one run; over UDP, one by one.

    Args:
        sender: Delivers a batch alone.
    """

    def __init__(self, sender: BatchSender) -> None:
        self._sender = sender
        self._recorded = recorded = sender.transport
        self._connections = None
        if isinstance(recorded.destination, StreamDestination):
            transport = cast("StreamTransport[Any]", recorded.transport)
            self._connections = Connections(recorded, transport, recorded.destination.connections)

    def deliver(self, batch: Batch) -> None:
        """Deliver a batch, or begin to: `drain` and `finish` wait for the end.

        Raises:
            GivenUp: The receiver is not there, or seems faulty.
            Stopped: The run was asked to end.
            LedgerError: The ledger cannot be written.
        """
        if not self._connections or not self._may_begin(batch, self._connections):
            self.drain()
            self._sender.deliver(batch)
            return
        if self._recorded.stop.is_set():
            raise Stopped
        self._connections.begin(batch)
        while self._connections.full:
            self._take(self._connections)

    def _may_begin(self, batch: Batch, connections: Connections) -> bool:
        """Whether a batch needs no waiting for the outcomes of others."""
        first = connections.one_by_one and not self._recorded.batches
        return (first or self._sender.nothing_fails) and not batch.failed_alone.any()

    def drain(self) -> None:
        """Wait until nothing is under way, and deliver what failed; raises as `deliver` does."""
        if self._connections:
            while self._connections.begun:
                self._take(self._connections)
            self._connections.close_ahead()

    def forget(self, ledger: Ledger) -> None:
        """Drain, and forget what is held back of an account and day, to be read again."""
        self.drain()
        self._sender.forget(ledger)

    def finish(self) -> None:
        """Deliver all that is left; raises as `deliver` does."""
        self.drain()
        self._sender.finish()

    def close(self) -> None:
        """Wait for what is being sent, and count it; nothing more is sent.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        if self._connections:
            self._connections.close()

    def _take(self, connections: Connections) -> None:
        """Wait for the batch that was begun first; where it failed, for all others, too."""
        found = [connections.take()]
        _, left = found[0]
        if left is not None and not len(left):
            return
        while connections.begun:
            found.append(connections.take())
        connections.close_ahead()
        # they were under way at the same time: none was sent right before or after another one
        self._recorded.last_delivered = self._recorded.previous_delivered = False
        for batch, left in found:
            if left is None:
                self._sender.deliver(batch)
            elif len(left):
                self._sender.deliver_again(batch, left)
