from __future__ import annotations

import hashlib
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tasks.staging.coverage import read_coverage
from tasks.staging.names import file_names
from tasks.staging.raw import Staged, stage_window
from tasks.staging.schemas import REJECTED_SCHEMA
from tasks.time_window import Window
from tests.staging.staged_data import DAY, at, ids, malformed, raw, read, stage, window

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store


def names(store: Store, day: int = 0) -> list[str]:
    """The raw files of a day, in short: hours and rows."""
    files = file_names.raw_files(store.files("raw", "alpha", (DAY + timedelta(days=day)).date()))
    return [f"{file.since[:4]}-{file.until[:4]}: {file.rows}" for file in files]


def test_window_is_covered_and_staged(store: Store) -> None:
    """A window stages its half-open range, sorted, and what lies outside is its neighbours'."""
    events = [("c", at(3)), ("b", at(2.5)), ("a", at(2)), ("x", at(1.99)), ("b", at(2.5))]
    assert stage(store, window(2, 3), events) == Staged(new=2, known=0, malformed=0)
    assert read(store, "raw")["event_id"].to_pylist() == ["a", "b"]
    assert read_coverage(store, "alpha").covered == [window(2, 3)]


def test_end_of_day(store: Store) -> None:
    """The last window of a day and the first of the next are one stretch of coverage."""
    stage(store, window(23, 24), [("a", at(23.9))])
    stage(store, window(0, 1, day=1), [("b", at(0, day=1))])
    assert read_coverage(store, "alpha").covered == [Window(at(23), at(25))]
    assert [str(day) for day in store.dates("raw", "alpha")] == ["2026-03-01", "2026-03-02"]


def test_second_look_that_finds_nothing_writes_nothing(store: Store) -> None:
    """A look at covered time that brings nothing new leaves every file as it was."""
    stage(store, window(2, 4), [("a", at(3))])
    stage(store, window(4, 5))
    before = store.files("raw", "alpha")
    assert stage(store, window(2.5, 4.5), [("a", at(3))]) == Staged(new=0, known=1, malformed=0)
    assert store.files("raw", "alpha") == before


def test_late_events(store: Store) -> None:
    """Late events of covered time get a file of their own that spans no more than they do."""
    stage(store, window(2, 4), [("a", at(3))])
    staged = stage(store, window(2, 4), [("a", at(3)), ("late", at(2.5)), ("later", at(3.5))])
    assert staged == Staged(new=2, known=1, malformed=0)
    assert names(store) == ["0200-0400: 1", "0230-0330: 2"]
    assert read_coverage(store, "alpha").covered == [window(2, 4)]


def test_new_time_beside_covered_time(store: Store) -> None:
    """A window that is covered in part makes a file of the new part, and one of what is late."""
    stage(store, window(2, 4), [("a", at(3))])
    stage(store, window(3, 5), [("a", at(3)), ("late", at(3.5)), ("new", at(4.5))])
    assert names(store) == ["0200-0400: 1", "0330-0330: 1", "0400-0500: 1"]


def test_idle_hours_do_not_pile_up(store: Store) -> None:
    """Windows without events that touch or overlap are one file, whatever order they come in."""
    stage(store, window(10, 11), [("a", at(10.5))])
    for hour in (3, 1, 2, 5, 4):
        stage(store, window(hour, hour + 1))
    stage(store, window(5.5, 7))
    assert names(store) == ["0100-0700: 0", "1000-1100: 1"]
    stage(store, window(0, 24))
    assert read_coverage(store, "alpha").covered == [window(0, 24)]
    assert names(store) == ["0000-1000: 0", "1000-1100: 1", "1100-2400: 0"]


def test_idle_neighbour_on_both_sides_of_a_covered_hole(store: Store) -> None:
    """Idle time around idle time becomes one file even where one look brings both sides."""
    stage(store, window(4, 5))
    stage(store, window(3, 6))
    assert names(store) == ["0300-0600: 0"]


def test_days_stay_apart(store: Store) -> None:
    """Idle hours of two days are two files: each lies in its own folder."""
    stage(store, window(23, 24))
    stage(store, window(0, 1, day=1))
    assert (names(store), names(store, 1)) == (["2300-2400: 0"], ["0000-0100: 0"])


def test_only_files_that_may_hold_an_id_are_opened(store: Store, tmp_path: Path) -> None:
    """Known ids are looked for only in files about the time of the events at hand."""
    stage(store, window(2, 3), [("a", at(2))])
    stage(store, window(3, 4), [("b", at(3))])
    [path] = tmp_path.glob("raw/*/*/020000*.parquet")
    path.write_bytes(b"cannot be opened")
    assert stage(store, window(2, 4), [("b", at(3)), ("c", at(3.5))]).new == 1


def test_window_over_midnight(store: Store) -> None:
    """A window must lie within one UTC day."""
    with pytest.raises(ValueError, match="not within one UTC day"):
        stage(store, Window(at(23), at(25)))


def test_events_without_id(store: Store) -> None:
    """An event without id or date is no raw event: whoever stages it so is told."""
    events = raw([("a", at(2))]).set_column(0, "event_id", pa.array([None], pa.string()))
    with pytest.raises(ValueError, match="without id or date"):
        stage(store, window(2, 3), events)


def test_malformed_events(store: Store) -> None:
    """Malformed events are in rejected once, whichever look and whichever day brings them again."""
    rows = malformed(
        (None, None, '{"no": "id"}'), ("dated", at(2), "{}"), (None, None, '{"no": "id"}')
    )
    evening, morning = at(23, day=4), at(1, day=5)
    first = stage_window(store, "alpha", window(2, 3), raw([]), rows, "one", evening)
    again = stage_window(store, "alpha", window(2, 3), raw([]), rows, "two", morning)
    assert (first.malformed, again.malformed) == (2, 0)
    assert read(store, "rejected").drop(["file"]).to_pylist() == [
        {
            "event_id": event_id,
            "created_at": created,
            "stage": "extract",
            "reason": "no id or date",
            "event": text,
            "rejected_at": evening,
            "run_id": "one",
        }
        for event_id, created, text in [
            ("dated", at(2), "{}"),
            (hashlib.sha256(b'{"no": "id"}').hexdigest(), None, '{"no": "id"}'),
        ]
    ]
    assert read(store, "rejected").drop(["file"]).schema.equals(REJECTED_SCHEMA)
    days = [str(day) for day in store.dates("rejected", "alpha")]
    assert days == ["2026-03-01", "2026-03-05"], "the event's day, and the day of extraction"


def test_malformed_events_of_a_neighbour(store: Store) -> None:
    """A malformed event with a date is the affair of the window that holds it."""
    rows = malformed((None, at(5), "{}"))
    assert stage_window(store, "alpha", window(2, 3), raw([]), rows, "run").malformed == 0
    assert stage_window(store, "alpha", window(5, 6), raw([]), rows, "run").malformed == 1


def test_overlapping_windows_at_once(store: Store) -> None:
    """Windows staged at the same time by several threads stage a common event once."""
    events = [(f"e{n}", at(n / 60)) for n in range(600)]
    threads = [
        threading.Thread(target=stage, args=(store, window(hour, hour + 4), events))
        for hour in range(7)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids(store, "raw") == sorted(event_id for event_id, _ in events)
    assert read_coverage(store, "alpha").covered == [window(0, 10)]
