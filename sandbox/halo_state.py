"""The Halo API stand-in's clock, and its counters of what was asked."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sandbox.halo_query import EPOCH, microseconds


class Clock:
    """The API's own time: the machine's, until it is set.

    Args:
        at: stand still at this time; None: run with the machine's clock.
        per_request: move on by this much with every request, so that events become visible, or
            leave, while pages are read.
    """

    def __init__(self, at: datetime | None = None, per_request: timedelta = timedelta()) -> None:
        self.per_request = per_request
        self._frozen = None if at is None else microseconds(at)
        self._offset = 0

    def micros(self) -> int:
        """Now, in microseconds since 1970."""
        if self._frozen is not None:
            return self._frozen
        return time.time_ns() // 1000 + self._offset

    def now(self) -> datetime:
        """Now, as an aware UTC time."""
        return EPOCH + timedelta(microseconds=self.micros())

    def set(self, at: datetime) -> None:
        """Stand still at this time (what was already visible stays so)."""
        self._frozen = microseconds(at)

    def run(self) -> None:
        """Run with the machine's clock, and stand where it stands."""
        self.per_request = timedelta()
        self._frozen = None
        self._offset = 0

    def advance(self, by: timedelta) -> None:
        """Move on by this much (a running clock keeps running from there)."""
        step = by // timedelta(microseconds=1)
        if self._frozen is not None:
            self._frozen += step
        else:
            self._offset += step


class Request(NamedTuple):
    """One line of the stand-in's log; `status` 0 means that no status was ever sent."""

    account: str | None
    method: str
    path: str
    query: str
    status: int


@dataclass
class Counters:
    """What was asked of the stand-in, in total or by one account.

    Attributes:
        requests: all requests, of any path and outcome; 401 on a token nobody knows counts only in
            total.
        logins, failed_logins: answers to `POST /oauth/access_token`; failed ones only in total.
        pages: pages made for `GET /v1/events`.
        events: events on those pages.
        in_flight, max_in_flight: requests not answered yet, now and at most.
        paths, statuses: requests by path, answers by status (0: none was sent).
        arrivals: when each request came, in seconds of the monotonic clock.
    """

    requests: int = 0
    logins: int = 0
    failed_logins: int = 0
    pages: int = 0
    events: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    paths: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    arrivals: array[float] = field(default_factory=lambda: array("d"))

    def arrived(self, path: str) -> None:
        """Count a request that begins."""
        self.requests += 1
        self.paths[path] += 1
        self.arrivals.append(time.monotonic())
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def answered(self, status: int) -> None:
        """Count the end of a request."""
        self.in_flight -= 1
        self.statuses[status] += 1

    def reset(self) -> None:
        """Count from zero again; what is in flight stays so."""
        fresh = Counters(in_flight=self.in_flight, max_in_flight=self.in_flight)
        vars(self).update(vars(fresh))

    def peak(self, seconds: float = 1.0) -> int:
        """The most requests that came within any stretch of this many seconds."""
        most = start = 0
        for end, moment in enumerate(self.arrivals):
            while moment - self.arrivals[start] >= seconds:
                start += 1
            most = max(most, end - start + 1)
        return most

    def summary(self) -> dict[str, Any]:
        """All of it as plain JSON values; `peak_per_second` is `peak()`."""
        return {
            "requests": self.requests,
            "logins": self.logins,
            "failed_logins": self.failed_logins,
            "pages": self.pages,
            "events": self.events,
            "max_in_flight": self.max_in_flight,
            "peak_per_second": self.peak(),
            "paths": dict(self.paths),
            "statuses": {str(status): n for status, n in self.statuses.items()},
        }
