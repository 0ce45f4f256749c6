"""How many requests a window may take, by what its own answers say.

Where the API's `count` is false, or its pages never end, a window would be parted and asked for
without end. So a window and all its parts have one budget. What parts claim to hold must fit into
what the whole does: where it does not, only what is found counts.
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

MOST_PAGES = 1_000_000
"""A window that claims more pages, 100 million events, is not believed."""
REQUESTS_BESIDE = 2_000
"""Requests for looking where events lie: through the times of a day, and through all types."""
REQUESTS_IN_DOUBT = 1_000
"""The same where counts do not add up: they may be cut at some number, which costs few."""
REQUESTS_WITHOUT_COUNT = 5_000
"""Requests where there is no count; the next sync goes on behind what they covered."""
_OVERLAP = 2.5
"""What parts may claim: where `until` is inclusive, two of them list what is between them."""
_GROWTH = 10, 0.5
"""Pages that may be inserted while a window is read: in all, and with every request."""


class RequestBudgetSpent(HaloInvalid):
    """Nothing more is asked for of a window; the message says why, with figures."""


@dataclass
class _Spent:
    """What all parts of a window took.

    Attributes:
        requests: Pages asked for.
        listed: Events on them, each as often as it was listed.
        answered: Whether any was answered.
        counted: What the first answer counts; None where it does not.
        size: Events on the first page.
        claimed: What parts count that are too deep themselves; by how often they were parted.
        doubted: Whether that was more than the whole can hold.
        found: Events of parts that were read to their end, since there is doubt.
        refusal: Why nothing more is asked for; empty as long as there is no reason.
    """

    requests: int = 0
    listed: int = 0
    answered: bool = False
    counted: int | None = None
    size: int = 1
    claimed: Counter[int] = field(default_factory=Counter)
    doubted: bool = False
    found: int = 0
    refusal: str = ""

    @property
    def limit(self) -> float:
        """How many requests there may be."""
        if not self.answered:
            return math.inf
        if self.counted is None:
            return REQUESTS_WITHOUT_COUNT
        beside, events = REQUESTS_BESIDE, self.counted
        if self.doubted:
            beside, events = REQUESTS_IN_DOUBT, self.found
        return beside + REQUESTS_PER_PAGE * min(math.ceil(events / self.size), MOST_PAGES)


class RequestBudget:
    """Of one window, or of a part of it.

    Args:
        spent: That of the whole, for a part.
        level: How often the whole was parted.
    """

    def __init__(self, spent: _Spent | None = None, level: int = 0) -> None:
        self._spent = spent or _Spent()
        self._level = level

    @property
    def doubted(self) -> bool:
        """Whether counts are not to be believed, for they do not add up."""
        return self._spent.doubted

    def spend(self) -> None:
        """Count a request that is about to be made.

        Raises:
            RequestBudgetSpent: There was one too many, or the window was refused before.
        """
        spent = self._spent
        if spent.refusal:
            raise RequestBudgetSpent(spent.refusal)
        if spent.requests >= spent.limit:
            self.refuse(
                f"parts of it claim {max(spent.claimed.values()):,}"
                if spent.doubted
                else "its pages do not end"
            )
        spent.requests += 1

    def answered(self, page: Page) -> None:
        """Count what a page lists; the first one says how many events there are."""
        spent = self._spent
        spent.listed += len(page.keys)
        if not spent.answered:
            spent.answered, spent.counted = True, page.count
            spent.size = max(1, len(page.keys))

    def found(self, events: int) -> None:
        """Count the events of a part that was read to its end."""
        self._spent.found += events

    def part(self, count: int, size: int) -> RequestBudget:
        """That of the parts of this, which has so many events, in pages of `size`."""
        spent = self._spent
        spent.claimed[self._level] += count
        if spent.counted is not None:
            inserted = _GROWTH[0] + _GROWTH[1] * spent.requests
            believable = _OVERLAP * spent.counted + inserted * size
            spent.doubted |= spent.claimed[self._level] > believable
        return RequestBudget(spent, self._level + 1)

    def refuse(self, reason: str) -> None:
        """Ask for nothing more of the window and its parts.

        Raises:
            RequestBudgetSpent: Always, with the first reason there was: all parts have the same.
        """
        spent = self._spent
        counts = "gives no count" if spent.counted is None else f"counts {spent.counted:,} events"
        spent.refusal = spent.refusal or (
            f"the API {counts}, and {reason}: given up after {spent.requests:,} requests, which "
            f"listed {spent.listed:,} events"
        )
        raise RequestBudgetSpent(spent.refusal)
