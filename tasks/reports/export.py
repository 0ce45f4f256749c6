"""Export: the events of a range as lines of text, from staging."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.reports.output_file import output_file
from tasks.retry_policy import REREADS_OF_REPLACED_FILES
from tasks.staging import day_files, normalized_rows
from tasks.staging.event_masks import created_in
from tasks.staging.storage.files import FileGone
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

    from tasks.cef.export_formats import Format
    from tasks.staging.store import Store

_ROWS = 16_384


def export_to(store: Store, window: Window, format: Format, output: Path | None = None) -> int:  # noqa: A002
    """Write the normalized events of a range, one line each, the oldest day first.

    Args:
        store: The staging.
        window: Events created in it.
        format: `cef`, `leef`, `kv` or `json`.
        output: A file, which appears complete or not at all; standard output by default.

    Returns:
        How many events were written.

    Raises:
        StagingError: The staging cannot be read, or the file cannot be written.
    """
    from tasks.cef.export_formats import export_chunks

    count = 0
    place = output_file(output, "--output") if output else nullcontext(sys.stdout.buffer)
    with place as sink:
        for events in _events(store, window):
            for lines in export_chunks(events, format):
                if len(lines):
                    sink.write(("\n".join(lines.to_pylist()) + "\n").encode())
            count += events.num_rows
        sink.flush()
    return count


def _events(store: Store, window: Window) -> Iterator[pa.Table]:
    """Normalized events of a range: by day, account and window."""
    found = [
        (day, account)
        for account in store.accounts("normalized")
        for day in store.dates("normalized", account)
        if window.overlaps(Window.of_day(day))
    ]
    for day, account in sorted(found):
        done: list[pa.ChunkedArray] = []
        for again in range(REREADS_OF_REPLACED_FILES + 1):
            try:
                for table in _day(store, account, day, window):
                    left = table
                    if again:  # the day's files were replaced in the middle of it
                        ids = pa.chunked_array(
                            [part for ids in done for part in ids.chunks], pa.string()
                        )
                        known = pc.is_in(table["event_id"], value_set=ids)
                        left = table.filter(pc.invert(known))
                    yield left
                    done.append(left["event_id"])
                break
            except FileGone:
                if again == REREADS_OF_REPLACED_FILES:
                    raise


def _day(store: Store, account: str, day: date, window: Window) -> Iterator[pa.Table]:
    folder = store.folder("normalized", account, day)
    for file in day_files.current_files(store, account, day):
        if file.rows and file.window(day).overlaps(window):
            for table in normalized_rows.batches(store, f"{folder}/{file.name}", rows=_ROWS):
                yield created_in(window, table)
