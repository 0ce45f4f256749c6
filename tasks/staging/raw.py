"""Raw events as Halo sent them, each staged once.

Coverage is the union of the windows in the names of raw files. A window without events is a
file without rows; next to another such, one file for both replaces them, so that idle hours
don't pile up. Reading covered time again writes only the events that are new.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.staging.event_masks import created_in, span_of
from tasks.staging.known_ids import KnownIds
from tasks.staging.names import file_names
from tasks.staging.names.clock_spans import merge_spans
from tasks.staging.names.compacted_names import highest
from tasks.staging.rejected import malformed_rows, reject
from tasks.staging.schemas import RAW_SCHEMA, TIME, schema_of
from tasks.time_window import Window, difference, union

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from tasks.staging.names.file_names import RawFile
    from tasks.staging.store import Store


_STAGED = schema_of("raw", ["event_id", "created_at"])


@dataclass(frozen=True, slots=True)
class Staged:
    """What one reading of a window added.

    Attributes:
        new: Events staged now.
        known: Events of the window that were staged before.
        malformed: Events without id or date that were put into rejected now.
        redated: Events among those known that were staged with another `created_at`.
    """

    new: int
    known: int
    malformed: int
    redated: int = 0


def stage_window(  # noqa: PLR0917 - what a reading found, in the order it is known
    store: Store,
    account: str,
    window: Window,
    events: pa.Table,
    malformed: pa.Table,
    run_id: str,
    now: datetime | None = None,
    *,
    mark: str = "",
    ids: KnownIds | None = None,
) -> Staged:
    """Stage what Halo returned for a window, each event once, and mark the window as covered.

    Windows may overlap, be staged at the same time, and again after a crash. An event that is
    staged with another `created_at`, in whatever file, is not staged again.

    Args:
        store: The staging.
        account: Whose events they are.
        window: Within one UTC day; of `events` only what was created in it is staged.
        events: The columns of `RAW_SCHEMA`, `extracted_at` not needed; ids and dates not null.
        malformed: `event_id` (null where there is none), `created_at` (null where there is
            none), `reason`, `event`.
        run_id: The run that read them; kept with what is rejected.
        now: The time of extraction; this machine's by default.
        mark: Why the window is not covered, where it is not; see `file_names.RawFile`.
        ids: What is known of the account's ids, kept up to date; read anew by default.

    Raises:
        ValueError: The window is not within one UTC day, or an event lacks its id or date.
        StagingError: The staging cannot be read or written.
    """
    file_names.span(window)
    now = now or datetime.now(UTC)
    ids = ids or KnownIds(store, account)
    with store.backend.lock(f"staging={account}", wait=True):
        rejected = _reject(store, account, window, malformed, run_id, now)
        names = store.files("raw", account, window.day)
        files = file_names.raw_files(names, file_names.partition(account, window.day))
        number = highest(files)
        listed = created_in(window, _conform(events, now))
        inside = _once(listed)
        near = _near(store, account, window.day, files, inside)
        fresh, moved = _unknown(inside, near, ids)
        redated = len(pc.unique(pa.concat_arrays([moved, _of_several_dates(listed, inside)])))
        missing = difference(window, covered_by(files, window.day))
        for piece in difference(window, missing):
            late = created_in(piece, fresh)
            if late.num_rows:
                _publish_events(
                    store, account, span_of(late["created_at"]), late, ids, "beside", number
                )
        idle = []
        for piece in missing:
            rows = created_in(piece, fresh)
            if rows.num_rows:
                _publish_events(store, account, piece, rows, ids, mark, number)
            elif not mark:
                idle.append(piece)
        _publish_idle(store, account, idle, files, number)
    return Staged(fresh.num_rows, inside.num_rows - fresh.num_rows, rejected, redated)


def stage_beside(  # noqa: PLR0917 - as `stage_window`
    store: Store,
    account: str,
    listed: Window,
    events: pa.Table,
    malformed: pa.Table,
    run_id: str,
    *,
    ids: KnownIds | None = None,
) -> Staged:
    """Stage what a listing holds that was created before or after the window it lists.

    Where an API compares finer dates than it shows (23:59:59.9996, shown as midnight), no other
    window's listing has it. Covers nothing; takes and raises what `stage_window` does.

    Returns:
        What was added. Nothing counts as known: it may be of a window that counts it, too.
    """
    new = wrong = redated = 0
    times = pa.chunked_array([*events["created_at"].chunks, *malformed["created_at"].chunks], TIME)
    found = [span_of(times)] if times.null_count < len(times) else []
    for outside in (piece for window in found for piece in difference(window, [listed])):
        rows, bad = created_in(outside, events), created_in(outside, malformed)
        if rows.num_rows or bad.num_rows:
            for day in outside.days():
                staged = stage_window(
                    store, account, day, rows, bad, run_id, mark="beside", ids=ids
                )
                new, wrong = new + staged.new, wrong + staged.malformed
                redated += staged.redated
    return Staged(new, 0, wrong, redated)


def covered_by(files: Iterable[RawFile], day: date, mark: str = "") -> list[Window]:
    """The windows of a day's files of a mark, merged."""
    spans = ((file.since, file.until) for file in files if file.mark == mark)
    return merge_spans(spans, day)


def _conform(events: pa.Table, now: datetime) -> pa.Table:
    """The events in `RAW_SCHEMA`."""
    if "extracted_at" not in events.column_names:
        stamp = pa.repeat(pa.scalar(now, TIME), events.num_rows)
        events = events.append_column("extracted_at", stamp)
    events = events.select(RAW_SCHEMA.names).cast(RAW_SCHEMA)
    if events["event_id"].null_count or events["created_at"].null_count:
        raise ValueError("an event without id or date is malformed and cannot be staged as raw")
    return events


def _once(events: pa.Table) -> pa.Table:
    """The first row of each id, in order of creation."""
    ids = events["event_id"].combine_chunks().dictionary_encode()
    if len(ids.dictionary) < len(ids):
        _, first = np.unique(ids.indices.to_numpy(), return_index=True)
        events = events.take(pa.array(first))
    return events.sort_by([("created_at", "ascending"), ("event_id", "ascending")])


def _near(
    store: Store, account: str, day: date, files: Iterable[RawFile], events: pa.Table
) -> pa.Table:
    """What is staged about the time of the events; only those files are opened."""
    found = [_STAGED.empty_table()]
    if not events.num_rows:
        return found[0]
    bounds = span_of(events["created_at"])
    since, until = file_names.clock(bounds.since, day), file_names.clock(bounds.until, day)
    folder = store.folder("raw", account, day)
    found += [
        store.read(f"{folder}/{file.name}", _STAGED.names, within=bounds)
        for file in files
        if file.rows and file.overlaps(since, until)
    ]
    return pa.concat_tables(found)


def _unknown(events: pa.Table, near: pa.Table, ids: KnownIds) -> tuple[pa.Table, pa.StringArray]:
    """The events that are staged nowhere, and the ids of those staged with another date.

    Args:
        events: What is to be staged.
        near: What is staged about their time.
        ids: What is staged at any time.
    """
    event_ids = events["event_id"]
    at = pc.index_in(event_ids, value_set=near["event_id"].combine_chunks())
    moved = pc.not_equal(events["created_at"], near["created_at"].take(at))
    fresh = pc.is_null(at)
    if len(elsewhere := ids.staged(event_ids.filter(fresh))):
        there = pc.and_(fresh, pc.is_in(event_ids, value_set=elsewhere))
        moved = pc.or_kleene(moved, there)
        fresh = pc.and_not(fresh, there)
    unknown = events if pc.all(fresh).as_py() else events.filter(fresh)
    return unknown, event_ids.filter(moved).combine_chunks()


def _of_several_dates(listed: pa.Table, once: pa.Table) -> pa.StringArray:
    """The ids of events that are listed with more than one date."""
    if listed.num_rows == once.num_rows:
        return pa.array([], pa.string())
    dates = listed.group_by("event_id").aggregate([("created_at", "count_distinct")])
    several = pc.greater(dates["created_at_count_distinct"], 1)
    return dates.filter(several)["event_id"].combine_chunks()


def publish(  # noqa: PLR0917 - whose, where and what, and the parts of its name
    store: Store, account: str, window: Window, rows: pa.Table, mark: str = "", number: int = 0
) -> str:
    """Write a raw file about a window, and return its name; see `file_names.raw_name`."""
    name = file_names.raw_name(window, rows.num_rows, mark, number)
    store.publish(rows, "raw", account, window.day, name)
    return name


def _publish_events(  # noqa: PLR0917 - as `publish`
    store: Store,
    account: str,
    window: Window,
    rows: pa.Table,
    ids: KnownIds,
    mark: str,
    number: int,
) -> None:
    name = publish(store, account, window, rows, mark, number)
    ids.add(window.day, name, rows["event_id"])


def _publish_idle(
    store: Store, account: str, idle: list[Window], files: Iterable[RawFile], number: int
) -> None:
    """Mark windows as without events, each merged with the empty windows next to it."""
    if not idle:
        return
    day = idle[0].day
    empty = {file.name: file.window(day) for file in files if not (file.rows or file.mark)}
    for merged in union([*idle, *empty.values()]):
        if any(window.since in merged for window in idle):
            publish(store, account, merged, RAW_SCHEMA.empty_table(), "", number)
            for name, part in empty.items():
                if part.overlaps(merged):
                    store.remove(f"{store.folder('raw', account, day)}/{name}")


def _reject(  # noqa: PLR0917 - as `stage_window`
    store: Store, account: str, window: Window, malformed: pa.Table, run_id: str, now: datetime
) -> int:
    """Put malformed events into rejected, each once however often it is seen.

    What has a date belongs to the window that holds it, as any event does.
    """
    if not malformed.num_rows:
        return 0
    rows = malformed_rows(malformed, run_id, now)
    dateless = rows.filter(pc.is_null(rows["created_at"]))
    ours = pa.concat_tables([created_in(window, rows), dateless])
    return reject(store, account, window.day, ours)
