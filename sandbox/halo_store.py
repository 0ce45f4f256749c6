"""What an account of the Halo API stand-in owns: its keys, and its events in order."""

from __future__ import annotations

import hashlib
import heapq
import json
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count, groupby, islice
from math import gcd
from operator import itemgetter
from random import Random
from typing import TYPE_CHECKING, Any

import orjson

from sandbox.halo_query import Query, microseconds
from sandbox.halo_state import Clock, Counters

if TYPE_CHECKING:
    from sandbox.halo_switches import Switches

EventLike = Mapping[str, Any] | bytes
Placed = tuple[int, bytes]
Filters = tuple[tuple[str, frozenset[str]], ...]

_NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa")
_FEW = 1000
_PART = 50_000
_CACHED_SELECTIONS = 64
_DAY = 86_400_000_000
# the parameter's name is not the field's
_FILTER_FIELDS = {"group_id": "server_group_id"}


def account_names(count: int) -> list[str]:
    """So many account names: alpha, beta, …, and numbered ones after kappa."""
    return [_NAMES[at] if at < len(_NAMES) else f"account-{at + 1}" for at in range(count)]


def encode(event: EventLike) -> bytes:
    """An event as the JSON that is served; bytes are served as they are."""
    if isinstance(event, bytes):
        return event
    try:
        return orjson.dumps(event)
    except orjson.JSONEncodeError:
        # lone surrogates and integers beyond 64 bits
        return json.dumps(event, separators=(",", ":")).encode("ascii")


def decode(body: bytes) -> Any:
    """What a served event says, or None where it is no JSON that Python reads."""
    try:
        return json.loads(body, strict=False)
    except (ValueError, RecursionError):
        return None


class Account:
    """One Halo account; all of it may be used while the stand-in serves.

    Args:
        name: letters, digits, `_` and `-`.
        clock: the API's clock; decides what is visible.

    Attributes:
        keys: secret by key id, the newest last.
        counters: what was asked with these keys.
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
        self._listings = 0
        self._serial = count()
        self._waiting: list[tuple[int, int, Placed]] = []
        self._inserts: list[tuple[int, int, list[Placed]]] = []
        self._selections: OrderedDict[tuple[int, int, int, Filters], list[int]] = OrderedDict()
        self.rotate_key()

    def rotate_key(self) -> tuple[str, str]:
        """Add one more key to the account; the older ones stay valid. Returns (key id, secret)."""
        digest = hashlib.sha256(f"{self.name}/{len(self.keys)}".encode()).hexdigest()
        self.keys[digest[:8]] = digest[8:40]
        return self.key

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
            after_requests: the API lists them once the account has been given this many further
                pages, whatever the time.

        Raises:
            ValueError: an event without a `created_at`, and none given.
        """
        placed = [(_position(event, created_at), encode(event)) for event in events]
        if after_requests is not None:
            with self._lock:
                due = self._listings + after_requests
                heapq.heappush(self._inserts, (due, next(self._serial), placed))
            return len(placed)
        shift = late // timedelta(microseconds=1)
        appears = None if visible_from is None else microseconds(visible_from)
        return self._add(placed, appears, shift)

    def add_encoded(self, placed: Iterable[Placed]) -> int:
        """Give the account many events at once: (`created_at` in microseconds, JSON) each."""
        source = iter(placed)
        total = 0
        while part := list(islice(source, _PART)):
            total += self._add(part, None, 0)
        return total

    def visible(self) -> list[bytes]:
        """Every event that the API would list now, oldest first, as JSON; not cut by retention."""
        with self._lock:
            self._reveal(self._clock.micros())
            return list(self._bodies)

    def select(self, query: Query, size: int, switches: Switches) -> tuple[int, list[bytes]]:
        """One page: (how many events match in all, the page's events as JSON).

        Args:
            query: what was asked for.
            size: events a page.
            switches: how `until`, retention, ties and a missing order are taken.
        """
        now = self._clock.micros()
        with self._lock:
            self._listings += 1
            self._reveal(now)
            low, high = self._range(query, switches, now)
            if low >= high:
                return 0, []
            chosen: Sequence[int] = range(low, high)
            if query.filters:
                chosen = self._matching(low, high, query.filters)
            elif query.sort == "asc" and not switches.shuffle_ties:
                start = low + (query.page - 1) * size
                return high - low, self._bodies[start : min(start + size, high)]
            if switches.shuffle_ties:
                chosen = self._shuffled_ties(chosen)
            total = len(chosen)
            start = (query.page - 1) * size
            ranks: Iterable[int] = range(start, min(start + size, total))
            if query.sort == "desc" or (not query.sort and switches.unsorted == "desc"):
                ranks = (total - 1 - rank for rank in ranks)
            elif not query.sort:
                salt = self._listings if switches.unsorted == "shuffled" else 0
                ranks = (scatter(rank, total, salt) for rank in ranks)
            return total, [self._bodies[chosen[rank]] for rank in ranks]

    def _range(self, query: Query, switches: Switches, now: int) -> tuple[int, int]:
        times = self._times
        low = 0 if query.since is None else bisect_left(times, query.since)
        if switches.retention_days is not None:
            low = max(low, bisect_left(times, now - int(switches.retention_days * _DAY)))
        if query.until is None:
            return low, len(times)
        side = bisect_right if switches.until_inclusive else bisect_left
        return low, side(times, query.until)

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

    def _shuffled_ties(self, chosen: Sequence[int]) -> list[int]:
        random = Random(self._listings)
        found: list[int] = []
        for _, same in groupby(chosen, key=self._times.__getitem__):
            ties = list(same)
            random.shuffle(ties)
            found += ties
        return found

    def _add(self, placed: list[Placed], appears: int | None, shift: int) -> int:
        now = self._clock.micros()
        visible = []
        with self._lock:
            for item in placed:
                start = item[0] + shift if appears is None else appears
                if start <= now:
                    visible.append(item)
                else:
                    heapq.heappush(self._waiting, (start, next(self._serial), item))
            self._insert(visible)
        return len(placed)

    def _reveal(self, now: int) -> None:
        due: list[Placed] = []
        while self._waiting and self._waiting[0][0] <= now:
            due.append(heapq.heappop(self._waiting)[2])
        while self._inserts and self._inserts[0][0] < self._listings:
            due += heapq.heappop(self._inserts)[2]
        self._insert(due)

    def _insert(self, placed: list[Placed]) -> None:
        if not placed:
            return
        self._version += 1
        placed.sort(key=itemgetter(0))
        if self._times and placed[0][0] < self._times[-1]:
            if len(placed) <= _FEW:
                for moment, body in placed:
                    at = bisect_right(self._times, moment)
                    self._times.insert(at, moment)
                    self._bodies.insert(at, body)
                return
            known = zip(self._times, self._bodies, strict=True)
            placed = sorted([*known, *placed], key=itemgetter(0))
            self._times, self._bodies = array("q"), []
        self._times.extend(moment for moment, _ in placed)
        self._bodies.extend(body for _, body in placed)


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
