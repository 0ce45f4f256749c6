"""Extraction of one account, from the API to raw."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from sandbox import faults, odd_events
from tasks.errors import HaloRefused, HaloUnavailable
from tasks.extract.account import check_account
from tasks.reports.status import status
from tasks.staging.schemas import RAW_SCHEMA
from tasks.time_window import Window, isoformat
from tests.extract.harness import BRIEF, COVERED, MINUTE, NOW, QUICK, START, Harness, event, events

if TYPE_CHECKING:
    from sandbox.halo_api import HaloStandIn


def test_a_first_sync_stages_everything_and_a_second_nothing(
    halo: HaloStandIn, harness: Harness
) -> None:
    """All events from the start on are staged once; a second sync asks once and writes nothing."""
    halo.populate(1000, days=3, until=NOW)
    first = harness.sync()
    assert (first.new, first.problems, first.notes) == (500, [], [])
    harness.assert_exact()
    assert harness.coverage() == COVERED
    files = harness.files()
    halo.reset_counters()
    second = harness.sync()
    assert (second.new, second.problems) == (0, [])
    assert halo.counters.requests == 2, "one login, one listing"
    assert harness.files() == files


def test_files_are_small_in_number(halo: HaloStandIn, harness: Harness) -> None:
    """A file a day, perhaps one for the beginning; syncs without events add one between them."""
    halo["alpha"].add(events(400, START, NOW - timedelta(hours=2)))
    harness.sync()
    many = len(harness.files())
    assert many <= 5
    for _ in range(5):
        halo.clock.advance(5 * MINUTE)
        harness.sync()
    assert len(harness.files()) == many + 1
    assert harness.coverage() == [Window(START, NOW + 25 * MINUTE)]


def test_raw_rows_hold_the_event_in_typed_columns(halo: HaloStandIn, harness: Harness) -> None:
    """Each raw column is what the event says; text stays as it was, to the byte."""
    halo["alpha"].add([event(1, START, critical=True), event(2, START, critical="False")])
    halo["alpha"].add([{"id": "x", "created_at": "2026-03-02T00:00:00Z"}])
    harness.sync()
    rows = {row["event_id"]: row for row in harness.raw()}
    assert {row["critical"] for row in rows.values()} == {True, False, None}
    files = list((harness.folder / "data" / "raw").rglob("*.parquet"))
    assert len(files) == len(harness.files())
    assert all(pq.read_schema(file).equals(RAW_SCHEMA) for file in files)
    (full, *_) = (meta for file in files if (meta := pq.read_metadata(file)).num_rows)
    columns = [full.row_group(0).column(at) for at in range(full.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert rows[f"{1:032x}"]["created_at"] == START
    assert rows[f"{1:032x}"]["type"] == "type_1"
    assert rows["x"]["type"] is None
    assert rows["x"]["name"] is None
    harness.assert_exact()


def test_odd_events_keep_every_value(halo: HaloStandIn, harness: Harness) -> None:
    """What a fast decoder refuses or changes is staged as it was sent, beside ordinary events."""
    halo["alpha"].add(events(150, START, NOW))
    halo["alpha"].add(odd_events.odd(START + MINUTE).values(), created_at=START + MINUTE)
    assert harness.sync().problems == []
    harness.assert_exact()


def test_malformed_events_are_rejected_once(halo: HaloStandIn, harness: Harness) -> None:
    """What has no id or no date is rejected with its reason, once, and costs no other event."""
    fine = events(250, START, NOW)
    bad = odd_events.malformed(NOW - MINUTE)
    halo["alpha"].add(fine)
    halo["alpha"].add(bad.values(), created_at=NOW - MINUTE)
    result = harness.sync()
    assert (result.new, result.malformed, result.problems) == (250, len(bad), [])
    rejected = harness.rejected()
    assert sorted(row["event"] for row in rejected) == sorted(b.decode() for b in bad.values())
    assert all(row["reason"] and row["stage"] == "extract" for row in rejected)
    again = harness.sync()
    assert (again.new, again.malformed) == (0, 0)
    assert len(harness.rejected()) == len(bad)


def test_what_has_no_id_and_a_date_of_another_time_is_rejected(
    halo: HaloStandIn, harness: Harness
) -> None:
    """No window but the one that lists it would ever stage it, whatever date it has."""
    bad = [{"created_at": date, "message": date} for date in ("2009-01-01T00:00:00Z", "9999-12-31")]
    halo["alpha"].add(bad, created_at=NOW - MINUTE)
    assert harness.sync().malformed == len(bad)
    assert [row["created_at"] for row in harness.rejected()] == [None] * len(bad)
    assert harness.sync().malformed == 0


@pytest.mark.parametrize("count", [True, False])
def test_what_has_no_id_and_a_date_shortly_before_or_after_is_rejected(
    halo: HaloStandIn, harness: Harness, *, count: bool
) -> None:
    """However near its date is to the window that lists it, and however that is read; once."""
    halo.switches.set(count=count, pagination=count, max_per_page=7)
    halo["alpha"].add(events(600, NOW - timedelta(hours=3), NOW))
    moments = [NOW - timedelta(hours=13), NOW - MINUTE * 725, NOW + MINUTE, NOW + 5 * MINUTE * 60]
    bad = [{"created_at": isoformat(moment), "at": at} for at, moment in enumerate(moments)]
    inside = [{"created_at": isoformat(NOW - at * MINUTE), "at": at} for at in range(1, 170)]
    halo["alpha"].add(bad, created_at=NOW - 10 * MINUTE)
    for item in inside:
        halo["alpha"].add([item], created_at=datetime.fromisoformat(str(item["created_at"])))
    assert harness.sync().problems == []
    rejected = harness.rejected()
    listed = [json.dumps(item) for item in [*bad, *inside]]
    assert sorted(row["event"].replace(" ", "") for row in rejected) == sorted(
        text.replace(" ", "") for text in listed
    )
    assert [row["created_at"] for row in rejected].count(None) == len(bad)
    assert harness.sync().malformed == 0
    assert harness.sync(window=Window(START, NOW)).malformed == 0
    halo.clock.advance(timedelta(hours=6))
    assert harness.sync().malformed == 0


@pytest.mark.parametrize(
    ("listed", "shown"),
    [
        (NOW.replace(hour=0) - timedelta(microseconds=400), NOW.replace(hour=0)),
        (NOW - timedelta(microseconds=400), NOW),
        (START, START - timedelta(microseconds=400)),
        (START, START - timedelta(hours=1)),
    ],
)
def test_an_event_shown_outside_the_window_that_lists_it_is_staged_once(
    halo: HaloStandIn, harness: Harness, listed: datetime, shown: datetime
) -> None:
    """An API that rounds the dates it shows lists it nowhere else; it is counted, and no gap."""
    halo["alpha"].add([event(1, shown), {"created_at": isoformat(shown)}], created_at=listed)
    halo["alpha"].add([event(2, NOW - MINUTE)])
    first = harness.sync()
    assert (first.new, first.malformed, first.problems) == (2, 1, [])
    for _ in range(3):
        assert sorted(row["event_id"] for row in harness.raw()) == [
            event(n, NOW)["id"] for n in (1, 2)
        ]
        assert len(harness.rejected()) == 1
        assert status(harness.store).accounts["alpha"].gaps == []
        halo.clock.advance(MINUTE)
        again = harness.sync()
        assert (again.new, again.malformed, again.problems) == (0, 0, [])


def test_a_range_is_read_again_and_staged_once(halo: HaloStandIn, harness: Harness) -> None:
    """`extract --since --until` reads covered time too; only unknown ids are staged."""
    halo["alpha"].add(events(300, START, NOW))
    harness.sync()
    halo["alpha"].add(events(50, START, NOW, first=1000))
    window = Window(START, NOW - timedelta(days=1))
    result = harness.sync(window=window)
    assert 0 < result.new < 50
    assert harness.sync(window=Window(START, NOW)).new == 50 - result.new
    harness.assert_exact()


def test_the_first_day_of_the_calendar_is_a_range_as_any(harness: Harness) -> None:
    """No time before it is reckoned with."""
    day = datetime(1, 1, 1, tzinfo=UTC)
    result = harness.sync(window=Window(day, day + timedelta(days=1)))
    assert not result.problems
    assert result.windows == 1


def test_a_range_before_the_covered_time_joins_it(halo: HaloStandIn, harness: Harness) -> None:
    """A backfill before the first covered time leaves a gap that the next sync fills."""
    halo["alpha"].add(events(300, START - timedelta(days=4), NOW))
    harness.sync()
    harness.sync(window=Window(START - timedelta(days=4), START - timedelta(days=3)))
    assert len(harness.coverage()) == 2
    harness.sync()
    assert harness.coverage() == [Window(START - timedelta(days=4), NOW)]
    harness.assert_exact()


def test_results_can_be_pickled_and_written_as_json(halo: HaloStandIn, harness: Harness) -> None:
    """What a step returns can go through Prefect: plain values, no secrets."""
    halo.fail(faults.status(400), times=None)
    result = harness.sync()
    assert pickle.loads(pickle.dumps(result)) == result
    text = json.dumps(asdict(result))
    assert harness.account().secret.get_secret_value() not in text


def test_check_says_how_much_there_is(halo: HaloStandIn, harness: Harness) -> None:
    """A check logs in, lists one event, and says what it found."""
    halo.clock.run()
    assert "may read" in check_account(harness.account(), harness.settings, QUICK)
    halo.fail(faults.status(403), times=None)
    with pytest.raises(HaloRefused, match="read access"):
        check_account(harness.account(), harness.settings, BRIEF)
    halo.fail(faults.status(503), times=None, path="/oauth/access_token")
    with pytest.raises(HaloUnavailable, match="HALO_API_URL"):
        check_account(harness.account(), harness.settings, BRIEF)
