"""Raw events as Halo sent them, each staged once.

Coverage is the union of the windows in the names of raw files. A window without events is a
file without rows; next to another such, one file for both replaces them, so that idle hours
don't pile up. A second look at covered time writes what it finds new, and nothing otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.staging import layout
from tasks.staging.rejected import malformed_rows, reject
from tasks.windows import Window, difference, union

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from tasks.staging.layout import RawFile
    from tasks.staging.store import Store

_TIME = pa.timestamp("us", tz="UTC")

RAW_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("created_at", _TIME),
        ("type", pa.string()),
        ("name", pa.string()),
        ("critical", pa.bool_()),
        ("event", pa.string()),
        ("extracted_at", _TIME),
    ]
)
"""One row an event; `event` is its JSON, no value changed."""


@dataclass(frozen=True, slots=True)
class Staged:
    """What one look at a window added.

    Attributes:
        new: Events staged now.
        known: Events of the window that were staged before.
        malformed: Events without id or date that were put into rejected now.
    """

    new: int
    known: int
    malformed: int


def stage_window(  # noqa: PLR0917 - what a look found, in the order it is known
    store: Store,
    account: str,
    window: Window,
    events: pa.Table,
    malformed: pa.Table,
    run_id: str,
    now: datetime | None = None,
    *,
    mark: str = "",
) -> Staged:
    """Stage what Halo returned for a window, each event once, and mark the window as covered.

    Windows may overlap, be staged at the same time, and again after a crash.

    Args:
        store: The staging.
        account: Whose events they are.
        window: Within one UTC day; of `events` only what was created in it is staged.
        events: The columns of `RAW_SCHEMA`, `extracted_at` not needed; ids and dates not null.
        malformed: `event_id` (null where there is none), `created_at` (null where there is
            none), `reason`, `event`.
        run_id: The run that read them; kept with what is rejected.
        now: The time of extraction; this machine's by default.
        mark: Why this does not cover the window, where it doesn't; see `layout.RawFile`.

    Raises:
        ValueError: The window is not within one UTC day, or an event lacks its id or date.
        StagingError: The staging cannot be read or written.
    """
    layout.span(window)
    now = now or datetime.now(UTC)
    with store.backend.lock(f"staging={account}", wait=True):
        rejected = _reject(store, account, window, malformed_rows(malformed, run_id, now))
        names = store.files("raw", account, window.day)
        files = layout.raw_files(names, layout.partition(account, window.day))
        inside = _once(_inside(_conform(events, now), window))
        fresh = _unknown(store, account, window.day, files, inside)
        covered = covered_by(files, window.day)
        missing = difference(window, covered)
        for piece in difference(window, missing):
            late = _inside(fresh, piece)
            if late.num_rows:
                publish(store, account, _bounds(late), late, "beside")
        idle = []
        for piece in missing:
            rows = _inside(fresh, piece)
            if rows.num_rows:
                publish(store, account, piece, rows, mark)
            elif not mark:
                idle.append(piece)
        _publish_idle(store, account, idle, files)
    return Staged(fresh.num_rows, inside.num_rows - fresh.num_rows, rejected)


def stage_beside(  # noqa: PLR0917 - as `stage_window`
    store: Store,
    account: str,
    listed: Window,
    events: pa.Table,
    malformed: pa.Table,
    run_id: str,
) -> Staged:
    """Stage what a listing holds that was created before or after the window it lists.

    Where an API compares finer dates than it shows (23:59:59.9996, shown as midnight), no other
    window's listing has it. Covers nothing; takes and raises what `stage_window` does.

    Returns:
        What was added. Nothing counts as known: it may be of a window that counts it, too.
    """
    new = wrong = 0
    times = pa.chunked_array([*events["created_at"].chunks, *malformed["created_at"].chunks], _TIME)
    bounds = pc.min_max(times).as_py()
    found = [layout.around(bounds["min"], bounds["max"])] if bounds["min"] else []
    for beside in (piece for window in found for piece in difference(window, [listed])):
        rows, bad = _inside(events, beside), _inside(malformed, beside)
        if rows.num_rows or bad.num_rows:
            for day in beside.days():
                staged = stage_window(store, account, day, rows, bad, run_id, mark="beside")
                new, wrong = new + staged.new, wrong + staged.malformed
    return Staged(new, 0, wrong)


def covered_by(files: Iterable[RawFile], day: date, mark: str = "") -> list[Window]:
    """The windows of a day's files of a mark, merged as text: a thousand names cost 1 ms."""
    merged: list[list[str]] = []
    for file in files:
        if file.mark != mark:
            continue
        if merged and file.since <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], file.until)
        else:
            merged.append([file.since, file.until])
    return [Window(layout.moment(since, day), layout.moment(until, day)) for since, until in merged]


def _conform(events: pa.Table, now: datetime) -> pa.Table:
    """The events in `RAW_SCHEMA`."""
    if "extracted_at" not in events.column_names:
        stamp = pa.repeat(pa.scalar(now, _TIME), events.num_rows)
        events = events.append_column("extracted_at", stamp)
    events = events.select(RAW_SCHEMA.names).cast(RAW_SCHEMA)
    if events["event_id"].null_count or events["created_at"].null_count:
        raise ValueError("an event without id or date is malformed and cannot be staged as raw")
    return events


def _inside(events: pa.Table, window: Window) -> pa.Table:
    created = events["created_at"]
    return events.filter(
        pc.and_(
            pc.greater_equal(created, pa.scalar(window.since, _TIME)),
            pc.less(created, pa.scalar(window.until, _TIME)),
        )
    )


def _once(events: pa.Table) -> pa.Table:
    """The first row of each id, in order of creation."""
    ids = events["event_id"].combine_chunks().dictionary_encode()
    if len(ids.dictionary) < len(ids):
        _, first = np.unique(ids.indices.to_numpy(), return_index=True)
        events = events.take(pa.array(first))
    return events.sort_by([("created_at", "ascending"), ("event_id", "ascending")])


def _unknown(
    store: Store, account: str, day: date, files: Iterable[RawFile], events: pa.Table
) -> pa.Table:
    """The events that no file has which may hold them; only those files are opened."""
    if not events.num_rows:
        return events
    bounds = _bounds(events)
    since, until = layout.clock(bounds.since, day), layout.clock(bounds.until, day)
    folder = store.folder("raw", account, day)
    known = [
        store.read(f"{folder}/{file.name}", ["event_id"])["event_id"]
        for file in files
        if file.rows and file.overlaps(since, until)
    ]
    if not known:
        return events
    ids = pa.chunked_array([chunk for column in known for chunk in column.chunks], pa.string())
    return events.filter(pc.invert(pc.is_in(events["event_id"], value_set=ids)))


def _bounds(events: pa.Table) -> Window:
    """The smallest window that holds events in order of creation."""
    created = events["created_at"]
    return layout.around(created[0].as_py(), created[-1].as_py())


def publish(store: Store, account: str, window: Window, rows: pa.Table, mark: str = "") -> None:
    """Write a file about a window within one UTC day."""
    name = layout.raw_name(window, rows.num_rows, mark)
    store.publish(rows, "raw", account, window.day, name)


def _publish_idle(store: Store, account: str, idle: list[Window], files: Iterable[RawFile]) -> None:
    """Mark windows as without events, each together with its neighbours that are so too."""
    if not idle:
        return
    day = idle[0].day
    empty = {file.name: file.window(day) for file in files if not (file.rows or file.mark)}
    for merged in union([*idle, *empty.values()]):
        if any(window.since in merged for window in idle):
            publish(store, account, merged, RAW_SCHEMA.empty_table())
            for name, part in empty.items():
                if part.overlaps(merged):
                    store.remove(f"{store.folder('raw', account, day)}/{name}")


def _reject(store: Store, account: str, window: Window, malformed: pa.Table) -> int:
    """Put malformed events into rejected, each once however often it is seen.

    What has a date belongs to the window that holds it, as any event does.
    """
    dateless = malformed.filter(pc.is_null(malformed["created_at"]))
    ours = pa.concat_tables([_inside(malformed, window), dateless])
    return reject(store, account, window.day, ours)
