"""What the Halo API stand-in knows: its clock, its accounts, and each account's events."""

from __future__ import annotations

import hashlib
import heapq
import json
import threading
import time
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from math import gcd
from typing import Any

import orjson

from sandbox.halo_query import EPOCH, Query, microseconds

EventLike = Mapping[str, Any] | bytes
Filters = tuple[tuple[str, frozenset[str]], ...]

_FEW = 1000
_CACHED_SELECTIONS = 64
_FILTER_FIELDS = {"group_id": "server_group_id"}


class Clock:
    """The API's own time: the machine's, until it is set.

    Args:
        at: stand still at this time; None: run with the machine's clock.
        per_request: move on by this much with every request.
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
        """Stand still at this time."""
        self._frozen = microseconds(at)

    def advance(self, by: timedelta) -> None:
        """Move on by this much (a running clock keeps running from there)."""
        step = by // timedelta(microseconds=1)
        if self._frozen is not None:
            self._frozen += step
        else:
            self._offset += step


@dataclass
class Counters:
    """What was asked of the stand-in, in total or by one account.

    Attributes:
        requests: all requests, of any path and outcome.
        logins, failed_logins: answers to `POST /oauth/access_token`.
        pages: answers to `GET /v1/events` with status 200.
        events: events in those answers.
        in_flight, max_in_flight: requests not answered yet, now and at most.
        paths, statuses: requests by path, answers by status (0: the connection was broken).
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

    def peak(self, seconds: float = 1.0) -> int:
        """The most requests that came within any stretch of this many seconds."""
        most = start = 0
        for end, moment in enumerate(self.arrivals):
            while moment - self.arrivals[start] >= seconds:
                start += 1
            most = max(most, end - start + 1)
        return most

    def summary(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
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


def encode(event: EventLike) -> bytes:
    """An event as the JSON that is served; bytes are served as they are."""
    if isinstance(event, bytes):
        return event
    try:
        return orjson.dumps(event)
    except (TypeError, orjson.JSONEncodeError):
        return json.dumps(event, separators=(",", ":")).encode("ascii")


def decode(body: bytes) -> Any:
    """What a served event says, or None where it is no JSON."""
    try:
        return json.loads(body)
    except ValueError:
        return None


class Account:
    """One Halo account: its keys, its events in order of `created_at`, its counters.

    Args:
        name: letters, digits, `_` and `-`.
        clock: the API's clock; decides what is visible.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.keys: dict[str, str] = {}
        self.counters = Counters()
        self._clock = clock
        self._lock = threading.Lock()
        self._times: array[int] = array("q")
        self._bodies: list[bytes] = []
        self._version = 0
        self._serial = count()
        self._waiting: list[tuple[int, int, int, bytes]] = []
        self._inserts: list[tuple[int, int, list[tuple[int, bytes]]]] = []
        self._selections: OrderedDict[tuple[int, int, int, Filters], list[int]] = OrderedDict()
        self.rotate_key()

    def rotate_key(self) -> tuple[str, str]:
        """Add one more key to the account; the older ones stay valid. Returns (key id, secret)."""
        digest = hashlib.sha256(f"{self.name}/{len(self.keys)}".encode()).hexdigest()
        key = (digest[:8], digest[8:40])
        self.keys[key[0]] = key[1]
        return key

    @property
    def key(self) -> tuple[str, str]:
        """The newest key: (key id, secret)."""
        return next(reversed(self.keys.items()))

    def auth_line(self) -> str:
        """The newest key as a line of the auth file: `key_id|secret|account`."""
        return "|".join((*self.key, self.name))

    def add(
        self,
        events: Iterable[EventLike],
        *,
        created_at: datetime | None = None,
        visible_from: datetime | None = None,
        late: timedelta = timedelta(),
        after_requests: int | None = None,
    ) -> int:
        """Give the account events; returns how many.

        An event is listed from its `created_at` on: one in the future appears when its time comes.

        Args:
            events: dicts, or the JSON to serve as bytes, whatever is in them.
            created_at: where in time the API sorts them; by default what they say themselves
                (needed for events without a usable `created_at`).
            visible_from: the API lists them only from this time on.
            late: the API lists them this long after their `created_at`.
            after_requests: list them once the account has asked for this many further pages,
                whatever the time.

        Raises:
            ValueError: an event without a `created_at`, and none given.
        """
        placed = [(_position(event, created_at), encode(event)) for event in events]
        shift = late // timedelta(microseconds=1)
        appears = None if visible_from is None else microseconds(visible_from)
        return self._add(placed, appears=appears, shift=shift, after_requests=after_requests)

    def add_encoded(self, placed: Iterable[tuple[int, bytes]]) -> int:
        """Give the account many events at once: (`created_at` in microseconds, JSON) each."""
        return self._add(list(placed), appears=None, shift=0, after_requests=None)

    def _add(
        self,
        placed: list[tuple[int, bytes]],
        *,
        appears: int | None,
        shift: int,
        after_requests: int | None,
    ) -> int:
        now = self._clock.micros()
        with self._lock:
            if after_requests is not None:
                due = self.counters.paths["/v1/events"] + after_requests
                heapq.heappush(self._inserts, (due, next(self._serial), placed))
                return len(placed)
            visible = []
            for item in placed:
                start = item[0] + shift if appears is None else appears
                if start <= now:
                    visible.append(item)
                else:
                    heapq.heappush(self._waiting, (start, next(self._serial), *item))
            self._insert(visible)
        return len(placed)

    def _insert(self, placed: list[tuple[int, bytes]]) -> None:
        if not placed:
            return
        placed.sort(key=lambda item: item[0])
        self._version += 1
        if self._times and placed[0][0] < self._times[-1]:
            if len(placed) > _FEW:
                placed = sorted(
                    [*zip(self._times, self._bodies, strict=True), *placed],
                    key=lambda item: item[0],
                )
                self._times, self._bodies = array("q"), []
            else:
                for moment, body in placed:
                    at = bisect_right(self._times, moment)
                    self._times.insert(at, moment)
                    self._bodies.insert(at, body)
                return
        self._times.extend(moment for moment, _ in placed)
        self._bodies.extend(body for _, body in placed)

    def _reveal(self, now: int) -> None:
        if self._waiting and self._waiting[0][0] <= now:
            due = []
            while self._waiting and self._waiting[0][0] <= now:
                due.append(heapq.heappop(self._waiting)[2:])
            self._insert(due)
        asked = self.counters.paths["/v1/events"]
        while self._inserts and self._inserts[0][0] < asked:
            self._insert(heapq.heappop(self._inserts)[2])

    def visible(self) -> list[bytes]:
        """Every event that the API would list now, oldest first, as JSON."""
        with self._lock:
            self._reveal(self._clock.micros())
            return list(self._bodies)

    def select(
        self,
        query: Query,
        *,
        size: int,
        until_inclusive: bool,
        retention: int | None,
        unsorted: str,
    ) -> tuple[int, list[bytes]]:
        """One page: (how many events match in all, the page's events as JSON).

        Args:
            query: what was asked for.
            size: events a page.
            until_inclusive: whether `until` itself belongs to the range.
            retention: microseconds that an event is kept, None for ever.
            unsorted: the order where none was asked for: "desc", "scrambled" (the same for every
                page of a query) or "shuffled" (another one with every request).
        """
        now = self._clock.micros()
        with self._lock:
            self._reveal(now)
            times = self._times
            low = 0 if query.since is None else bisect_left(times, query.since)
            if retention is not None:
                low = max(low, bisect_left(times, now - retention))
            high = len(times)
            if query.until is not None:
                high = (bisect_right if until_inclusive else bisect_left)(times, query.until)
            if low >= high:
                return 0, []
            start = (query.page - 1) * size
            if not query.filters and query.sort == "asc":
                stop = min(low + start + size, high)
                return high - low, self._bodies[low + start : stop]
            chosen: Sequence[int] = range(low, high)
            if query.filters:
                chosen = self._matching(low, high, query.filters)
            total = len(chosen)
            salt = self.counters.requests if unsorted == "shuffled" else 0
            ranks = range(start, min(start + size, total))
            if query.sort == "desc" or (not query.sort and unsorted == "desc"):
                ranks = range(total - 1 - ranks.start, total - 1 - ranks.stop, -1)
            elif not query.sort:
                return total, [self._bodies[chosen[scatter(rank, total, salt)]] for rank in ranks]
            return total, [self._bodies[chosen[rank]] for rank in ranks]

    def _matching(self, low: int, high: int, filters: Filters) -> list[int]:
        wanted = (self._version, low, high, filters)
        found = self._selections.get(wanted)
        if found is None:
            bodies = self._bodies
            found = [at for at in range(low, high) if _matches(decode(bodies[at]), filters)]
            self._selections[wanted] = found
            if len(self._selections) > _CACHED_SELECTIONS:
                self._selections.popitem(last=False)
        return found


def scatter(rank: int, total: int, salt: int) -> int:
    """Where a rank lands in a reordering of `range(total)`; one and the same for equal salts."""
    step = 7919 + 2 * salt
    while gcd(step, total) != 1:
        step += 1
    return (rank * step + salt * 31 + total // 3) % total


def _matches(event: Any, filters: Filters) -> bool:
    return isinstance(event, dict) and all(
        str(event.get(_FILTER_FIELDS.get(name, name))).lower() in values for name, values in filters
    )


def _position(event: EventLike, created_at: datetime | None) -> int:
    if created_at is not None:
        return microseconds(created_at)
    said = decode(event) if isinstance(event, bytes) else event
    text = said.get("created_at") if isinstance(said, Mapping) else None
    try:
        return microseconds(datetime.fromisoformat(text or ""))
    except (TypeError, ValueError):
        raise ValueError(
            f"created_at {text!r} of the event is no time; say created_at= to place it"
        ) from None
