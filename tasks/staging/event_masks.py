"""Which of some events lie in a range, and which a destination takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.time_window import Window

if TYPE_CHECKING:
    from datetime import datetime

    import numpy.typing as npt

    from tasks.event_filter import EventFilter

IDS = ["event_id", "created_at"]
FILTERED = [*IDS, "event_type", "event_severity"]
"""The columns that `taken` needs of a filter that asks for types or for critical events."""


def columns_of(takes: EventFilter) -> list[str]:
    """The columns of normalized events that tell which of them a destination takes."""
    return FILTERED if takes.by_content else IDS


def taken(
    events: pa.Table, takes: EventFilter, window: Window | None = None
) -> npt.NDArray[np.bool_]:
    """Which events of a window a destination takes; `events` has the columns of `columns_of`."""
    chosen = inside(events, window, takes.since)
    if takes.types:
        types = pa.array(sorted(takes.types), pa.string())
        chosen &= pc.is_in(events["event_type"], value_set=types).to_numpy()
    if takes.critical:
        from tasks.plugin.fields import CRITICAL_SEVERITY

        critical = pc.equal(events["event_severity"], CRITICAL_SEVERITY)
        chosen &= critical.fill_null(fill_value=False).to_numpy()
    return chosen


def inside(
    events: pa.Table, window: Window | None, since: datetime | None = None
) -> npt.NDArray[np.bool_]:
    """Which events were created in `window` and at `since` or later; none without a time."""
    created = created_at(events)
    chosen = np.ones(len(created), np.bool_)
    if since is not None:
        chosen &= created >= _instant(since)
    if window is not None:
        chosen &= (created >= _instant(window.since)) & (created < _instant(window.until))
    return chosen


def created_in(window: Window, events: pa.Table) -> pa.Table:
    """The events that were created in a window."""
    chosen = inside(events, window)
    # mostly all are, and texts are large to copy
    return events if chosen.all() else events.filter(chosen)


def span_of(created_at: pa.ChunkedArray) -> Window:
    """The smallest window that holds some times, of which one at least is not null."""
    bounds = pc.min_max(created_at).as_py()
    return Window.around(bounds["min"], bounds["max"])


def whole(bounds: Window, since: datetime | None, window: Window | None) -> bool:
    """Whether all that lies within `bounds` lies at `since` or later and in `window`."""
    if since is not None and bounds.since < since:
        return False
    return window is None or (window.since <= bounds.since and bounds.until <= window.until)


def created_at(events: pa.Table) -> npt.NDArray[np.datetime64]:
    """When the events were created (datetime64[us], in UTC)."""
    times: npt.NDArray[np.datetime64] = events["created_at"].cast("timestamp[us]").to_numpy()
    return times


def _instant(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "us")
