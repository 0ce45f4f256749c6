"""Delivering batches to one destination, and what is done about those that fail.

A batch that fails is tried three times, with pauses. What then?

- Where nothing could be handed over, the receiver is not there: the run gives the destination
  up. An outage never shrinks batches and never puts the blame on an event.
- Else the receiver took (part of) the batch and did not confirm it. It may be faulty, or fail on
  one event. So two events of the batch are sent alone, other ones in every run. Where neither
  is confirmed the cause is unknown: the batch is put aside until another one is delivered, and
  after three such batches in a row the destination is given up for this run.
- Where something is confirmed the receiver works, and something in the batch is at fault. It is
  sent in halves, halves of halves, until single events are left that fail alone.
- A single event that fails says little: the receiver may be faulty just then, or a load balancer
  send one connection in seven to a receiver that works. It is a fault of the event only where
  others were delivered right before and right after it, and the event fails once more then. The
  ledger row of that last attempt says so. `tasks.staging.deliveries.pending` counts the runs.
  What could not be handed over is no sign of anything: the event may have killed the receiver,
  which is started again. In a run in which the same batch first failed and then was delivered,
  failures come and go by themselves, and from then on no event is found at fault.
- An event that failed alone in an earlier run is held back until others were delivered, so that
  it holds nobody up. As long as such events wait, batches are sent in parts: others have to be
  delivered before and after them.

All this takes one attempt at a time, as their order is the evidence. While nothing fails there is
nothing to find out, and several batches may be under way: see `tasks.load.parallel_sender`.

Over UDP each message has its own outcome, so one batch shows what else takes several attempts.
Over RELP a receiver may refuse single messages, which is as good; where the connection breaks, what
was acknowledged by then is delivered, and the rest is treated as over TCP.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tasks.load.early_end import GivenUp, Stopped
from tasks.retry_policy import FAILED_BATCHES, FAILED_HELD_BACK_BATCHES, SINGLE_EVENT_ATTEMPTS

if TYPE_CHECKING:
    from tasks.load.batch import Batch
    from tasks.load.recorded_transport import RecordedTransport
    from tasks.staging.deliveries.ledger import Ledger

_FEW = 8
"""Up to this many events of a batch that failed alone before are sent alone again."""
_HELD_BACK = 16_384
"""At most this many events are held back: they take memory."""
_WAITING = 4
"""At most this many waiting events count when a batch is split into parts."""
_PRIME = 7919
"""Times the number of the attempt, it picks another event of a failed batch in each run."""


@dataclass
class _Single:
    """An event that failed alone in this run.

    Attributes:
        event: A batch of one.
        tries: How often it was sent alone.
        between: Whether it failed with others delivered right before and right after it.
    """

    event: Batch
    tries: int = 0
    between: bool = False


@dataclass
class BatchSender:
    """Delivers batches to one destination for one run.

    Attributes:
        transport: Makes the attempts.
        pauses: Seconds before a failed batch is tried a second and a third time.
        held_back: Events that failed alone in earlier runs, and that this run did not send yet.
    """

    transport: RecordedTransport
    pauses: tuple[float, ...]
    held_back: list[Batch] = field(default_factory=list)
    _failed_in_a_row: int = 0
    _singles: deque[_Single] = field(default_factory=deque)
    _last_single: _Single | None = None
    _aside: list[Batch] = field(default_factory=list)
    _unsteady: bool = False

    @property
    def nothing_fails(self) -> bool:
        """Whether the receiver works, and no event waits for others to be delivered."""
        waiting = self._singles or self._last_single or self._aside or self.held_back
        return self.transport.last_delivered and not waiting

    def deliver(self, batch: Batch) -> None:
        """Deliver a batch as well as possible, except events that failed alone in earlier runs.

        Those are delivered after others were; the last of them by `finish`.

        Raises:
            GivenUp: The receiver is not there, or seems faulty.
            Stopped: The run was asked to end.
            LedgerError: The ledger cannot be written.
        """
        suspect = batch.failed_alone
        if suspect.any():
            if self.transport.per_message:
                batch = batch.with_in_the_middle(suspect)
            else:
                self._hold_back(batch.take(suspect))
                batch = batch.take(~suspect)
        works = True
        while len(batch):
            size = self._part(len(batch)) if works else len(batch)
            works = self._deliver(batch.slice(0, size), self.pauses)
            self._try_again()
            if size == len(batch):
                self._judge(FAILED_BATCHES, works=works)
            batch = batch.slice(size, len(batch))

    def deliver_again(self, batch: Batch, left: Batch) -> None:
        """Go on with a batch of which something is left after a first attempt; see `deliver`."""
        works = self._deliver(batch, self.pauses, left)
        self._try_again()
        self._judge(FAILED_BATCHES, works=works)

    def finish(self) -> None:
        """Deliver the events that are held back until others are delivered; raises as `deliver`."""
        # not every run may come to the last one
        self.held_back.sort(key=lambda batch: int(batch.attempts.min()))
        while self.held_back:
            self._deliver_held_back()

    def forget(self, ledger: Ledger) -> None:
        """Forget what is held back of an account and day, whose files are read again."""
        others = (batch.without(ledger) for batch in self.held_back)
        self.held_back = [batch for batch in others if len(batch)]

    def _hold_back(self, batch: Batch) -> None:
        """Keep events that failed alone in an earlier run until others are delivered."""
        few = len(batch) <= _FEW
        alone = (batch.rows(np.array([row])) for row in range(len(batch)))
        self.held_back += alone if few else [batch.copy()]
        while sum(map(len, self.held_back)) > _HELD_BACK:
            self._deliver_held_back()

    def _deliver_held_back(self) -> None:
        works = self._deliver(self.held_back[0], ())
        del self.held_back[0]
        self._try_again()
        self._judge(FAILED_HELD_BACK_BATCHES, works=works)

    def _part(self, count: int) -> int:
        """How many events of so many are sent at once: fewer where others wait for them."""
        waiting = len(self._singles) + len(self.held_back) + (self._last_single is not None)
        return max(1, count // (2 * min(waiting, _WAITING) + 1))

    def _judge(self, in_a_row: int, *, works: bool) -> None:
        """Give the destination up once nothing was delivered so many times in a row."""
        self._failed_in_a_row = 0 if works else self._failed_in_a_row + 1
        if self._failed_in_a_row >= in_a_row:
            raise GivenUp(self.transport.error)

    def _deliver(self, batch: Batch, pauses: tuple[float, ...], left: Batch | None = None) -> bool:
        """Send a batch, again after pauses, in halves where need be; whether anything arrived.

        `left` is what is left of it after a first attempt, if that was made.
        """
        if self.transport.stop.is_set():
            raise Stopped
        left = self._send(batch, left)
        for pause in pauses:
            if not len(left):
                break
            self._pause(pause)
            some = len(left) < len(batch)
            left = self._send(left, there=some and self.transport.per_message)
            self._unsteady |= not len(left)
        if not len(left):
            return True
        if self._receiver_works(left):
            self._search(left.take(~left.delivered))
            return True
        self._put_aside(left)
        return len(left) < len(batch)

    def _receiver_works(self, batch: Batch) -> bool:
        """Whether one of two events of a failed batch is delivered alone."""
        if len(batch) == 1:
            return False
        # new events are least likely to be those at fault
        attempts = batch.attempts[1:]
        new = 1 + np.flatnonzero(attempts == attempts.min())
        second = int(new[int(attempts[-1]) * _PRIME % len(new)])
        return any(not len(self._send(batch.slice(at, at + 1))) for at in (0, second))

    def _search(self, batch: Batch, *, whole: bool = False) -> None:
        """Send a batch in ever smaller halves, the larger before the smaller ones.

        After many failures in a row the receiver has to show that it still works. With `whole`
        the batch was not sent as it is yet, and is at first.
        """
        parts = deque([batch] if whole or len(batch) == 1 else batch.halves())
        most_failures = len(batch).bit_length() + 2
        failures = 0
        while parts:
            part = parts.popleft()
            if failures >= most_failures:
                if not self._receiver_works(part):
                    return
                part, failures = part.take(~part.delivered), 0
            left = self._send(part)
            failures = failures + 1 if len(left) else 0
            parts.extend(left.halves())
            if len(left) == 1:
                self._failed_alone(_Single(left.copy(), tries=1))
            self._try_singles()

    def _put_aside(self, batch: Batch) -> None:
        """Keep what failed until something else is delivered."""
        if len(batch) == 1:
            self._failed_alone(_Single(batch.copy()))
        else:
            self._aside.append(batch.copy())

    def _try_again(self) -> None:
        """Send what waits for others to be delivered, as long as they are."""
        while self.transport.last_delivered or (self.transport.previous_delivered and self._aside):
            self._try_singles()
            if self.transport.last_delivered and self.held_back:
                self._search(self.held_back[0], whole=True)
                del self.held_back[0]
            elif self._aside:
                self._search(self._aside.pop(0))
            else:
                break

    def _try_singles(self) -> None:
        """Send events alone that failed so, each right after something else was delivered."""
        while self.transport.last_delivered and self._singles:
            single = self._singles.popleft()
            single.tries += 1
            blame = single.between and not self._unsteady
            # nothing is left of an event that was delivered, nor of one that was found at fault
            if len(self._send(single.event, blame=blame)):
                self._failed_alone(single)
            self._unsteady |= self.transport.last_delivered

    def _failed_alone(self, single: _Single) -> None:
        """Keep an event that failed alone, for another try in this run."""
        if single.tries >= SINGLE_EVENT_ATTEMPTS:
            return
        if self.transport.previous_delivered:
            self._last_single = single
        else:
            self._singles.append(single)

    def _send(
        self, batch: Batch, left: Batch | None = None, *, blame: bool = False, there: bool = False
    ) -> Batch:
        """Attempt a batch, again after pauses while nothing can be handed over; what is left.

        Args:
            batch: The events.
            left: What is left after a first attempt, if that was made.
            blame: Whether a failure is to be called the event's own.
            there: Whether the receiver is known to be there: UDP, and some were sent just now.

        Raises:
            GivenUp: Nothing could be handed over at any attempt.
        """
        if left is None:
            left = self._attempt(batch, blame=blame)
        for pause in self.pauses:
            if not self.transport.unreachable or there:
                break
            self._pause(pause)
            left = self._attempt(left, blame=blame)
        if self.transport.unreachable and not there:
            raise GivenUp(self.transport.error)
        return left

    def _attempt(self, batch: Batch, *, blame: bool = False) -> Batch:
        """Make an attempt; it tells more of the single event sent right before it."""
        left = self.transport.attempt(batch, blame=blame)
        if self._last_single is not None and not self.transport.unreachable:
            self._last_single.between = self.transport.last_delivered
            if self.transport.last_delivered:
                self._singles.appendleft(self._last_single)
            else:
                self._singles.append(self._last_single)
            self._last_single = None
        return left

    def _pause(self, seconds: float) -> None:
        if self.transport.stop.wait(seconds):
            raise Stopped
