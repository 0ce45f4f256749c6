"""An id that is listed again with another date is staged, transformed and sent once."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from tasks.reports.audit import audit_range
from tasks.staging.known_ids import FOLDER
from tasks.time_window import Window
from tasks.transform.account import transform_account
from tests.extract.harness import MINUTE, NOW, START, Harness, event, events

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox.halo_api import HaloStandIn
    from tasks.extract.result import ExtractResult

MIDNIGHT = NOW.replace(hour=0)
DAY = timedelta(days=1)
MONTHS_AGO = NOW - 80 * DAY
MOVES = {
    "within a minute": (NOW - 5 * MINUTE, NOW - 5 * MINUTE + timedelta(milliseconds=1)),
    "within a day": (NOW - 600 * MINUTE, NOW - 5 * MINUTE),
    "back within a day": (NOW - 5 * MINUTE, NOW - 600 * MINUTE),
    "over midnight": (MIDNIGHT - MINUTE, MIDNIGHT + MINUTE),
    "back over midnight": (MIDNIGHT + MINUTE, MIDNIGHT - MINUTE),
    "by days": (START + MINUTE, NOW - 5 * MINUTE),
    "by months": (MONTHS_AGO, NOW - 5 * MINUTE),
    "back by months": (NOW - 5 * MINUTE, MONTHS_AGO),
}


def assert_consistent(harness: Harness, count: int, *dates: datetime) -> None:
    """So many events are staged and normalized, each once; event 1 with one of the dates."""
    rows = harness.raw()
    assert len({row["event_id"] for row in rows}) == len(rows) == count
    (row,) = [row for row in rows if row["event_id"] == event(1, NOW)["id"]]
    assert row["created_at"] in dates
    transform_account(harness.store, "alpha", device_address="192.0.2.1", run_id="run")
    found = audit_range(harness.store, Window(NOW - 365 * DAY, NOW + DAY))
    assert found.problems == []
    assert found.consistent
    assert found.staged == found.normalized + found.rejected == count


def assert_noted(result: ExtractResult, count: int) -> None:
    """The result says how many were listed with another date, and that this is no failure."""
    assert result.problems == []
    assert result.redated == count
    found = [note for note in result.warnings if "another created_at" in note]
    assert len(found) == (count > 0)
    assert all(re.search(rf"account alpha: {count} event", note) for note in found)


@pytest.fixture
def long_ago(harness: Harness) -> Harness:
    """An account whose first sync begins months ago."""
    begin_before(harness, MONTHS_AGO)
    return harness


def begin_before(harness: Harness, moment: datetime) -> datetime:
    """Let the first sync begin ten days before a moment; returns when."""
    start = moment - 10 * DAY
    harness.settings = harness.settings.model_copy(update={"halo_start": start})
    return start


@pytest.mark.parametrize("move", MOVES)
def test_a_later_run_stages_it_once(halo: HaloStandIn, harness: Harness, move: str) -> None:
    """However far its date moved, and whatever was staged since; the first one counts."""
    first, second = MOVES[move]
    start = begin_before(harness, min(first, second))
    halo["alpha"].add(events(200, start + DAY, NOW - DAY / 2, first=1000))
    halo["alpha"].add([event(1, first)])
    halo.clock.set(first + MINUTE)
    harness.sync()
    assert any(row["created_at"] == first for row in harness.raw())
    halo.clock.set(max(first, second) + 2 * MINUTE)
    harness.sync()
    halo["alpha"].add([event(1, second), event(2, second)])
    # a look at the whole time, as whoever mends something takes it
    result = harness.sync(window=Window(start, halo.clock.now()))
    assert_noted(result, 1)
    assert result.new == 1
    assert_consistent(harness, 202, first)


def test_a_sync_stages_it_once(halo: HaloStandIn, long_ago: Harness) -> None:
    """The usual case: an old id among what is new since the last sync."""
    halo["alpha"].add([event(1, MONTHS_AGO), *events(99, MONTHS_AGO, NOW - DAY, first=1000)])
    long_ago.sync()
    halo["alpha"].add([event(1, NOW + MINUTE), event(2, NOW + MINUTE)])
    halo.clock.set(NOW + 2 * MINUTE)
    assert_noted(result := long_ago.sync(), 1)
    assert (result.new, result.known) == (1, 1)
    assert_consistent(long_ago, 101, MONTHS_AGO)


@pytest.mark.parametrize("move", MOVES)
def test_windows_of_one_run_stage_it_once(halo: HaloStandIn, harness: Harness, move: str) -> None:
    """Whichever of two windows that are read at the same time is staged first, or one window."""
    start = begin_before(harness, min(MOVES[move]))
    halo["alpha"].add(events(200, start + DAY, NOW, first=1000))
    halo["alpha"].add([event(1, moment) for moment in MOVES[move]])
    assert_noted(harness.sync(), 1)
    assert_consistent(harness, 201, *MOVES[move])


def test_many_are_counted(halo: HaloStandIn, harness: Harness) -> None:
    """A whole day that is listed anew a day later is staged once, and counted."""
    halo["alpha"].add(events(3000, START, START + DAY / 4))
    harness.sync()
    halo["alpha"].add(events(3000, START + DAY, START + DAY + DAY / 4))
    halo["alpha"].add(events(10, START + DAY, START + DAY + DAY / 4, first=5000))
    result = harness.sync(window=Window(START, NOW))
    assert result.redated == 3000
    assert (result.new, len(harness.raw())) == (10, 3010)


def test_what_keeps_its_date_is_no_matter(halo: HaloStandIn, harness: Harness) -> None:
    """Events that a look sees again are known, and nothing is said."""
    halo["alpha"].add(events(300, START, NOW))
    harness.sync()
    for result in (harness.sync(), harness.sync(window=Window(START, NOW))):
        assert_noted(result, 0)
        assert result.known > 0


def test_a_sync_of_nothing_new_looks_up_no_id(halo: HaloStandIn, harness: Harness) -> None:
    """Known ids are found about their time; no other file is opened, however many there are."""
    halo["alpha"].add(events(300, START, NOW))
    harness.sync()
    for day, names in list(harness.store.names_by_day("raw", "alpha").items())[:-1]:
        for name in names:
            path = harness.folder / "data" / harness.store.folder("raw", "alpha", day) / name
            path.write_bytes(b"cannot be opened")
    result = harness.sync()
    assert (result.problems, result.notes, result.new) == ([], [], 0)


def test_a_file_that_cannot_be_read_does_not_keep_new_events_away(
    halo: HaloStandIn, harness: Harness
) -> None:
    """Its ids are unknown: that is said, with its path, by every sync that has new events."""
    halo["alpha"].add(events(300, START, NOW))
    harness.sync()
    files = sorted((harness.folder / "data" / "raw").rglob("*.parquet"))
    path = next(path for path in files if pq.read_metadata(path).num_rows)
    path.write_bytes(b"cannot be opened")
    for later in (1, 2):
        halo["alpha"].add([event(5000 + later, NOW + later * MINUTE)])
        halo.clock.set(NOW + (later + 1) * MINUTE)
        result = harness.sync()
        assert (result.new, result.problems) == (1, [])
        (note,) = result.warnings
        assert "1 raw file cannot be read" in note
        assert str(path) in note


@pytest.mark.parametrize("damage", [b"", b"PAR1 no more", None])
def test_what_is_kept_of_ids_may_be_lost(
    halo: HaloStandIn, harness: Harness, damage: bytes | None
) -> None:
    """It is made anew from raw, which alone counts."""
    halo["alpha"].add(events(300, NOW - 9 * DAY, NOW - DAY, first=1000))
    harness.settings = harness.settings.model_copy(update={"halo_start": NOW - 10 * DAY})
    halo["alpha"].add([event(1, NOW - 9 * DAY)])
    harness.sync()
    kept = harness.folder / "data" / FOLDER / "account=alpha.parquet"
    assert kept.exists()
    kept.unlink() if damage is None else kept.write_bytes(damage)
    halo["alpha"].add([event(1, NOW + MINUTE), event(2, NOW + MINUTE)])
    halo.clock.set(NOW + 2 * MINUTE)
    assert_noted(harness.sync(), 1)
    assert_consistent(harness, 302, NOW - 9 * DAY)
    assert kept.exists()


def test_an_event_whose_file_is_gone_is_staged_again(halo: HaloStandIn, harness: Harness) -> None:
    """Whoever moves a damaged file out and extracts its range again gets all its events back."""
    harness.settings = harness.settings.model_copy(update={"halo_start": NOW - 10 * DAY})
    halo["alpha"].add(events(300, NOW - 9 * DAY, NOW))
    harness.sync()
    assert (harness.folder / "data" / FOLDER / "account=alpha.parquet").exists()
    day = harness.store.dates("raw", "alpha")[3]
    folder = harness.folder / "data" / harness.store.folder("raw", "alpha", day)
    for path in folder.glob("*.parquet"):
        path.unlink()
    assert len(harness.raw()) < 300
    harness.sync()
    harness.assert_exact()
