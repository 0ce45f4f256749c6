"""How the Halo API stand-in behaves, and which faults it is to have when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.halo_query import microseconds

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox.faults import Fault
    from sandbox.halo_query import Query


@dataclass
class Switches:
    """How the stand-in behaves where Halo's clients disagree, and what it is slow or odd in.

    Each may be changed at any time, and counts from the next request on.

    Attributes:
        latency_ms: wait before every answer; concurrent requests wait at the same time.
        token_life: seconds that a token is valid.
        says_expires_in: what the login answer claims instead of `token_life`.
        token_requests: a token also ends after this many requests.
        until_inclusive: whether an event at `until` exactly is listed.
        default_per_page: events a page where none were asked for.
        max_per_page: more than these are silently cut to it.
        max_page: deeper pages are not given; None for no limit.
        past_max_page: "empty" (an empty list) or "error" (422).
        unsorted: the order where none was asked for: "scrambled" (the same for every page of a
            query), "shuffled" (anew with every request) or "desc".
        shuffle_ties: events with the same `created_at` change places with every request.
        count: whether answers carry `count`.
        pagination: whether answers carry `pagination.next` and `.prev`.
        next_origin: the origin of `pagination.next`, by default the one that was asked.
        gzip: whether answers are packed for those who accept it.
        date: whether answers carry the `Date` header.
        date_skew: seconds that the `Date` header is ahead of the API's clock.
        retention_days: older events are gone; None keeps them for ever.
        login_events: every login is itself an event of the account.
        padding: every event is served with a log entry of so many characters.
    """

    latency_ms: float = 0.0
    token_life: float = 900.0
    says_expires_in: int | None = None
    token_requests: int | None = None
    until_inclusive: bool = False
    default_per_page: int = 10
    max_per_page: int = 500
    max_page: int | None = 300
    past_max_page: str = "empty"
    unsorted: str = "scrambled"
    shuffle_ties: bool = False
    count: bool = True
    pagination: bool = True
    next_origin: str | None = None
    gzip: bool = False
    date: bool = True
    date_skew: float = 0.0
    retention_days: float | None = None
    login_events: bool = False
    padding: int = 0

    def set(self, **values: object) -> None:
        """Change some of them.

        Raises:
            ValueError: a name that is none of them.
        """
        if unknown := set(values) - set(vars(self)):
            raise ValueError(
                f"no switch {', '.join(sorted(unknown))}; there are {list(vars(self))}"
            )
        vars(self).update(values)


@dataclass
class Planned:
    """A fault and when it is its turn.

    Attributes:
        fault: what happens.
        account, path, after, times, every, page, since, until: see `HaloStandIn.fail`.
        seen: how many requests were of those meant.
        hits: to how many of them it happened.
    """

    fault: Fault
    account: str | None
    path: str
    after: int = 0
    times: int | None = 1
    every: int = 1
    page: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    seen: int = 0
    hits: int = 0

    def takes(self, path: str, account: str | None, query: Query | None) -> bool:
        """Whether it happens to this request; counts the request if it is one of those meant."""
        if path != self.path or (self.account is not None and account != self.account):
            return False
        if not self._covers(query):
            return False
        self.seen += 1
        if self.seen <= self.after or (self.seen - self.after - 1) % self.every:
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True

    def _covers(self, query: Query | None) -> bool:
        if self.page is None and self.since is None and self.until is None:
            return True
        if query is None or self.page not in {None, query.page}:
            return False
        begins_before = (
            self.until is None or query.since is None or query.since < microseconds(self.until)
        )
        ends_after = (
            self.since is None or query.until is None or query.until > microseconds(self.since)
        )
        return begins_before and ends_after
