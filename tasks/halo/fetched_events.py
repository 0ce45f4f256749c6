"""The events of a window's pages, each once, as a table."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.halo.decode import Malformed
from tasks.time_window import as_utc

if TYPE_CHECKING:
    from collections.abc import Collection

    from typing_extensions import Buffer

    from tasks.halo.decode import Event, Page
    from tasks.time_window import Window

_TIME = pa.timestamp("us", tz="UTC")
_DATE_TOLERANCE = timedelta(days=1)
"""An event that was created further from the window that lists it has a wrong date."""
_PRECISION_TOLERANCE = timedelta(seconds=1)
"""Not every API that shows microseconds compares them: two adjacent windows may list an event."""


class FetchedEvents:
    """Events of any number of pages, each once, however often it is listed; its first text counts.

    Attributes:
        size: Bytes of the answers that are held.
    """

    def __init__(self) -> None:
        self.size = 0
        self._pages: list[Page] = []
        # an event's id and one of its dates → how many times `take` was called before it was added
        self._known: dict[tuple[str, str], int] = {}
        self._takes = 0
        self._oldest: list[datetime] = []
        self._types: set[str] = set()

    def add(self, page: Page) -> None:
        """Add the events of a page; a page without new events is released."""
        dated = [(event.id, event.created_at) for event in page.events]
        new = [event for event in dated if event not in self._known]
        self._known.update(dict.fromkeys(new, self._takes))
        if not page.malformed and not new:
            page.release()
            return
        self._pages.append(page)
        self.size += page.size

    def take(self) -> FetchedEvents:
        """Move the held events to a new object; this one only remembers that they were listed."""
        taken = FetchedEvents()
        taken._pages, self._pages = self._pages, []
        taken._known, taken._takes = self._known, self._takes
        self._takes += 1
        self.size = 0
        self._oldest += filter(None, [taken.oldest()])
        self._types |= taken.types()
        return taken

    def release(self) -> None:
        """Free the memory of the held events."""
        for page in self._pages:
            page.release()
        self._pages = []

    def count(self, window: Window) -> int:
        """How many of all events that were added were created in a window."""
        found = {event_id: parse_created(date) for event_id, date in self._known}
        return sum(moment is not None and moment in window for moment in found.values())

    def oldest(self) -> datetime | None:
        """When the oldest event was created, None without any."""
        events = (event for page in self._pages for event in page.events)
        moments = (parse_created(event.created_at) for event in events)
        return min((*self._oldest, *(moment for moment in moments if moment)), default=None)

    def types(self) -> set[str]:
        """The types of the events."""
        return self._types.union(
            event.type for page in self._pages for event in page.events if event.type
        )

    def tables(self, window: Window) -> tuple[pa.Table, pa.Table]:
        """The events, and what is malformed.

        Args:
            window: The window that lists them. An event that was created more than a day before or
                after it is malformed. A malformed item that was created outside the window gets
                no date, because no other window would stage it.

        Returns:
            One row an event: `event_id`, `created_at`, `type`, `name`, `critical`, and `event`, its
            JSON, no value changed. One row an item without id or date: `event_id` (without id the
            SHA-256 of its text), `created_at`, `reason`, `event`.
        """
        events, texts = self._unique()
        moments = _creation_times(events)
        # not made when the module loads: pyarrow imports pandas to make a scalar
        day = pa.scalar(_DATE_TOLERANCE, pa.duration("us"))
        misplaced = pc.or_(
            pc.less(moments, pc.subtract(pa.scalar(window.since, _TIME), day)),
            pc.greater(moments, pc.add(pa.scalar(window.until, _TIME), day)),
        )
        wrong = pc.fill_null(misplaced, True)  # noqa: FBT003 - no date is a wrong one
        listed = (item for page in self._pages for item in page.malformed)
        malformed = {item.event_id: item for item in listed}
        if pc.any(wrong).as_py():
            for row in np.flatnonzero(wrong.to_numpy(zero_copy_only=False)):
                reason = f"its created_at {events[row].created_at[:40]!r} is "
                reason += (
                    "of another time than was asked for" if moments[row].is_valid else "no date"
                )
                item = Malformed(events[row].id, None, reason, bytes(texts[row]))
                malformed.setdefault(item.event_id, item)
            right = np.flatnonzero(~wrong.to_numpy(zero_copy_only=False))
            events, texts = [events[row] for row in right], [texts[row] for row in right]
            moments = moments.take(pa.array(right))
        return _events_table(events, moments, texts), _malformed_table(malformed.values(), window)

    def _unique(self) -> tuple[list[Event], list[Buffer]]:
        """Each event as it was first listed, with each of its dates, and its text."""
        events = [event for page in self._pages for event in page.events]
        texts = [text for page in self._pages for text in page.texts]
        if self._takes or len({event.id for event in events}) < len(events):
            rows = {
                (event.id, parse_created(event.created_at)): row
                for row, event in reversed(list(enumerate(events)))
            }
            kept = [
                row
                for row in sorted(rows.values())
                if self._known[events[row].id, events[row].created_at] == self._takes
            ]
            events, texts = [events[row] for row in kept], [texts[row] for row in kept]
        return events, texts


def _creation_times(events: list[Event]) -> Any:
    """When events were created; null where the text is no date."""
    texts = [event.created_at for event in events]
    try:
        return pa.array(texts, pa.string()).cast(_TIME)
    except pa.ArrowInvalid:
        return pa.array([parse_created(text) for text in texts], _TIME)


def parse_created(text: str) -> datetime | None:
    """An event's date as aware UTC, which it is without an offset; None where it is no date."""
    try:
        return as_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _events_table(events: list[Event], moments: Any, texts: list[Buffer]) -> pa.Table:
    columns = {
        "event_id": pa.array([event.id for event in events], pa.string()),
        "created_at": moments,
        "type": pa.array([event.type for event in events], pa.string()),
        "name": pa.array([event.name for event in events], pa.string()),
        "critical": pa.array([event.critical for event in events], pa.bool_()),
        "event": _strings(texts),
    }
    return pa.table(columns)


def _malformed_table(malformed: Collection[Malformed], window: Window) -> pa.Table:
    moments = [parse_created(item.created_at or "") for item in malformed]
    texts = [item.text.decode("utf-8", "replace") for item in malformed]
    columns = {
        "event_id": pa.array([item.event_id for item in malformed], pa.string()),
        "created_at": pa.array(
            [moment and _date_of_malformed(moment, window) for moment in moments], _TIME
        ),
        "reason": pa.array([item.reason for item in malformed], pa.string()),
        "event": pa.array(texts, pa.string()),
    }
    return pa.table(columns)


def _date_of_malformed(moment: datetime, window: Window) -> datetime | None:
    """The time a malformed item was created; None where that is outside the window."""
    away = max(window.since - moment, moment - window.until)
    return moment if away <= _PRECISION_TOLERANCE else None


def _strings(texts: list[Buffer]) -> Any:
    """Texts as an Arrow array without a Python object for each; invalid UTF-8 becomes U+FFFD."""
    ends = pa.array(accumulate((len(memoryview(text)) for text in texts), initial=0), pa.int64())
    data = pa.py_buffer(b"".join(texts))
    strings = pa.LargeStringArray.from_buffers(len(texts), ends.buffers()[1], data)
    try:
        strings.validate(full=True)
    except pa.ArrowInvalid:
        valid = [bytes(text).decode("utf-8", "replace") for text in texts]
        strings = pa.array(valid, pa.large_string())
    return strings.cast(pa.string())
