"""How many requests a window may take, judged by the API's own responses.

Where the API's `count` is false, or its pages never end, a window would be split and requested
without end. So a window and all windows that it is split into share one budget. The counts of
these must fit into the count of the whole: where they do not, only found events raise the limit.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.errors import HaloInvalid
from tasks.retry_policy import REQUESTS_PER_PAGE

if TYPE_CHECKING:
    from tasks.halo.decode import Page

MAX_PAGES = 1_000_000
"""A count of more pages, 100 million events, is implausible."""
EXTRA_REQUESTS = 2_000
"""Further requests to find out when events were created, and of which types they are."""
EXTRA_REQUESTS_INCONSISTENT = 1_000
"""The same where counts are inconsistent: the API may limit counts, which costs few requests."""
REQUESTS_WITHOUT_COUNT = 5_000
"""All requests where there is no count; the next sync continues after what they covered."""
_OVERLAP_FACTOR = 2.5
"""How much more the split windows may count: where `until` is inclusive, events count twice."""
_GROWTH = 10, 0.5
"""Pages that may be added while a window is read: in all, and with every request."""


class RequestBudgetExceeded(HaloInvalid):
    """A window may take no more requests; the message says why, with figures."""


@dataclass
class _Usage:
    """What a window and all windows that it was split into took.

    Attributes:
        requests: Pages asked for.
        listed: Events on these pages, with repetitions.
        answered: Whether any request was answered.
        counted: The first response's count; None where it has none.
        size: Events on the first page.
        claimed: The counts of windows that are too deep themselves, by how often they were split.
        inconsistent: Whether these counts are more than the whole can hold.
        found: Events of windows that were read to their end, since counts are inconsistent.
        reason: Why there are no more requests; empty as long as there may be some.
    """

    requests: int = 0
    listed: int = 0
    answered: bool = False
    counted: int | None = None
    size: int = 1
    claimed: Counter[int] = field(default_factory=Counter)
    inconsistent: bool = False
    found: int = 0
    reason: str = ""

    @property
    def limit(self) -> float:
        """How many requests there may be."""
        if not self.answered:
            return math.inf
        if self.counted is None:
            return REQUESTS_WITHOUT_COUNT
        extra, events = EXTRA_REQUESTS, self.counted
        if self.inconsistent:
            extra, events = EXTRA_REQUESTS_INCONSISTENT, self.found
        return extra + REQUESTS_PER_PAGE * min(math.ceil(events / self.size), MAX_PAGES)


class RequestBudget:
    """The budget of a window, shared with what it is split into.

    Args:
        usage: What was used so far, for a window that was split off another one.
        level: How often the first window was split to get this one.
    """

    def __init__(self, usage: _Usage | None = None, level: int = 0) -> None:
        self._usage = usage or _Usage()
        self._level = level

    @property
    def inconsistent(self) -> bool:
        """Whether the API's counts contradict each other."""
        return self._usage.inconsistent

    def spend(self) -> None:
        """Count a request that is about to be made.

        Raises:
            RequestBudgetExceeded: The limit is reached, or the window was given up before.
        """
        usage = self._usage
        if usage.reason:
            raise RequestBudgetExceeded(usage.reason)
        if usage.requests >= usage.limit:
            self.give_up(
                f"parts of it claim {max(usage.claimed.values()):,}"
                if usage.inconsistent
                else "its pages do not end"
            )
        usage.requests += 1

    def add_page(self, page: Page) -> None:
        """Count the events of a page; the first page says how many there are."""
        usage = self._usage
        usage.listed += len(page.keys)
        if not usage.answered:
            usage.answered, usage.counted = True, page.count
            usage.size = max(1, len(page.keys))

    def add_found(self, events: int) -> None:
        """Count the events of a window that was read to its end."""
        self._usage.found += events

    def split(self, count: int, size: int) -> RequestBudget:
        """The budget of what a window of `count` events, in pages of `size`, is split into."""
        usage = self._usage
        usage.claimed[self._level] += count
        if usage.counted is not None:
            inserted = _GROWTH[0] + _GROWTH[1] * usage.requests
            believable = _OVERLAP_FACTOR * usage.counted + inserted * size
            usage.inconsistent |= usage.claimed[self._level] > believable
        return RequestBudget(usage, self._level + 1)

    def give_up(self, reason: str) -> None:
        """Allow no more requests for the window.

        Raises:
            RequestBudgetExceeded: Always, with the first reason that was given.
        """
        usage = self._usage
        counts = "gives no count" if usage.counted is None else f"counts {usage.counted:,} events"
        usage.reason = usage.reason or (
            f"the API {counts}, and {reason}: given up after {usage.requests:,} requests, which "
            f"listed {usage.listed:,} events"
        )
        raise RequestBudgetExceeded(usage.reason)
