"""What is tried again with Halo and with destinations: how often, after which pauses, how long.

Locks and object storage have their own pauses: `tasks.staging.locks`,
`tasks.staging.storage.bucket`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

# Halo API

RETRYABLE_STATUSES = {408, 425, 429}
"""After these and any 5xx a request is sent again; after 401 and 403 once, with a new token."""
WINDOW_READS = 4
"""A window whose events change while it is read is read at most this many times."""
REQUESTS_PER_PAGE = 10
"""Requests that a window may take for each of its pages: it may be read `WINDOW_READS` times."""

# Delivery to a destination

DELIVERY_PAUSES = (1.0, 4.0)
"""Seconds before a batch that failed is sent a second and a third time."""
FAILED_BATCHES = 3
"""After this many failed batches in a row a destination is given up for this run; one that takes no
connection is given up at its first batch."""
FAILED_HELD_BACK_BATCHES = 8
"""The same for events that failed alone in earlier runs: these are expected to fail."""
SINGLE_EVENT_ATTEMPTS = 4
"""An event that failed is sent alone at most this many times in one run."""
RUNS_BEFORE_DEFERRAL = 3
"""After this many runs in which an event itself was at fault, its next attempt is put off."""
FIRST_DEFERRAL, LATER_DEFERRAL = timedelta(hours=1), timedelta(days=1)
"""How long it is put off: after exactly that many runs, and after more of them."""

# Staging

REREADS_OF_REPLACED_FILES = 5
"""A day's files are read again this many times where one of them is replaced meanwhile."""


class RetryableFault(Exception):  # noqa: N818 - it becomes an error only when retries end
    """A request to the Halo API failed in a way that may pass.

    Attributes:
        reason: What was wrong with the response, or why there was none.
        wait: Seconds that the API asked to wait (`Retry-After`); None where it did not ask.
        throttled: Whether the API asked the whole account to slow down (429).
    """

    def __init__(self, reason: str, wait: float | None = None, *, throttled: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.throttled = throttled


@dataclass(frozen=True)
class RetryPolicy:
    """How long the Halo API is waited for; all values are seconds.

    Attributes:
        total: From the first attempt of a request until it is given up.
        first_contact: The same, as long as no request of this run has succeeded: it is soon
            reported that there is no API at this address.
        attempt: One attempt, from connecting to the last byte of the response.
        connect: Connecting, with TLS.
        read: Waiting for the next bytes of a response.
        first_pause: Before the second attempt. Each further pause is twice as long.
        longest_pause: The limit of these pauses. A `Retry-After` is obeyed in full on top of them.
    """

    total: float = 120.0
    first_contact: float = 20.0
    attempt: float = 60.0
    connect: float = 10.0
    read: float = 30.0
    first_pause: float = 0.5
    longest_pause: float = 20.0

    def pause(self, attempts: int) -> float:
        """Seconds to wait after so many attempts, with random jitter of up to a half."""
        due = min(self.longest_pause, self.first_pause * 2.0 ** min(attempts - 1, 30))
        return due * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret


@dataclass
class Request:
    """A request and its attempts so far.

    Attributes:
        started: When its first attempt began, in seconds of the event loop's clock.
        limit: Seconds from then on in which further attempts may begin.
        attempts: How many attempts were made.
    """

    started: float
    limit: float
    attempts: int = 0


class RequestRetries:
    """Decides whether a request of one account is sent again.

    Attributes:
        consecutive_failures: How many requests were given up while no other one succeeded. After
            the first such failure, every request is sent only once.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self.consecutive_failures = 0
        self._policy = policy
        self._last_success = 0.0

    @property
    def exhausted(self) -> bool:
        """Whether further requests of the account are of no use."""
        return self.consecutive_failures > 1

    def begin(self, now: float) -> Request:
        """A request whose first attempt begins now."""
        return Request(now, 0.0 if self.consecutive_failures else self._policy.total)

    def succeeded(self, now: float) -> None:
        """Note that a request succeeded."""
        self._last_success = now
        self.consecutive_failures = 0

    def pause(self, request: Request, fault: RetryableFault, now: float) -> float | None:
        """Seconds until the next attempt of a request that failed; None to give it up."""
        pause = self._policy.pause(request.attempts) + (fault.wait or 0.0)
        if not (self._last_success or fault.throttled or fault.wait):
            request.limit = min(request.limit, self._policy.first_contact)
        if now + pause <= request.started + request.limit:
            return pause
        # one short failure says little of the other requests
        lasting = fault.throttled or now - request.started >= request.limit / 2
        self.consecutive_failures += lasting and self._last_success <= request.started
        return None
