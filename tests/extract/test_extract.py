"""Extraction of one account, from the API to raw."""

from __future__ import annotations

import json
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from sandbox import faults, odd_events
from tasks.errors import HaloRefused, HaloUnavailable
from tasks.extract import check_account
from tasks.settings import Account
from tasks.staging.locks import hold
from tasks.windows import Window
from tests.extract.site import BRIEF, NOW, QUICK, START, Site, event, events

if TYPE_CHECKING:
    from sandbox.halo_api import HaloStandIn

MINUTE = timedelta(minutes=1)
COVERED = [Window(START, NOW)]


def test_a_first_sync_stages_everything_and_a_second_nothing(halo: HaloStandIn, site: Site) -> None:
    """All events from the start on are staged once; a second sync asks once and writes nothing."""
    halo.populate(1000, days=3, until=NOW)
    first = site.sync()
    assert (first.new, first.problems, first.notes) == (500, [], [])
    site.assert_exact()
    assert site.coverage() == COVERED
    files = site.files()
    halo.reset_counters()
    second = site.sync()
    assert (second.new, second.problems) == (0, [])
    assert halo.counters.requests == 2, "one login, one listing"
    assert site.files() == files


def test_files_are_small_in_number(halo: HaloStandIn, site: Site) -> None:
    """A file a day, perhaps one for the beginning; syncs without events add one between them."""
    halo["alpha"].add(events(400, START, NOW - timedelta(hours=2)))
    site.sync()
    many = len(site.files())
    assert many <= 5
    for _ in range(5):
        halo.clock.advance(5 * MINUTE)
        site.sync()
    assert len(site.files()) == many + 1
    assert site.coverage() == [Window(START, NOW + 25 * MINUTE)]


def test_raw_rows_hold_the_event_in_typed_columns(halo: HaloStandIn, site: Site) -> None:
    """Each raw column is what the event says; text stays as it was, to the byte."""
    halo["alpha"].add([event(1, START, critical=True), event(2, START, critical="False")])
    halo["alpha"].add([{"id": "x", "created_at": "2026-03-02T00:00:00Z"}])
    site.sync()
    rows = {row["event_id"]: row for row in site.raw()}
    assert {row["critical"] for row in rows.values()} == {True, False, None}
    assert rows[f"{1:032x}"]["created_at"] == START
    assert rows[f"{1:032x}"]["type"] == "type_1"
    assert rows["x"]["type"] is None
    assert rows["x"]["name"] is None
    site.assert_exact()


def test_odd_events_keep_every_value(halo: HaloStandIn, site: Site) -> None:
    """What a fast decoder refuses or changes is staged as it was sent, beside ordinary events."""
    halo["alpha"].add(events(150, START, NOW))
    halo["alpha"].add(odd_events.odd(START + MINUTE).values(), created_at=START + MINUTE)
    assert site.sync().problems == []
    site.assert_exact()


def test_malformed_events_are_put_apart_once(halo: HaloStandIn, site: Site) -> None:
    """What has no id or no date is rejected with its reason, once, and costs no other event."""
    fine = events(250, START, NOW)
    bad = odd_events.malformed(NOW - MINUTE)
    halo["alpha"].add(fine)
    halo["alpha"].add(bad.values(), created_at=NOW - MINUTE)
    result = site.sync()
    assert (result.new, result.malformed, result.problems) == (250, len(bad), [])
    rejected = site.rejected()
    assert sorted(row["event"] for row in rejected) == sorted(b.decode() for b in bad.values())
    assert all(row["reason"] and row["stage"] == "extract" for row in rejected)
    again = site.sync()
    assert (again.new, again.malformed) == (0, 0)
    assert len(site.rejected()) == len(bad)


@pytest.mark.parametrize("minutes", [0, 1, 5, 14, 15])
def test_late_events_are_found(halo: HaloStandIn, site: Site, minutes: int) -> None:
    """An event that appears up to 15 minutes late is found by the syncs after it appeared."""
    created = NOW - 2 * MINUTE
    halo["alpha"].add([event(1, created)], visible_from=created + minutes * MINUTE)
    for step in (1, 3, 4, 9, 30):
        site.sync()
        halo.clock.set(NOW + step * MINUTE)
    site.sync()
    site.assert_exact()


def test_events_late_by_any_offset_are_found_at_once(halo: HaloStandIn, site: Site) -> None:
    """Events created at any moment of the last 15 minutes of covered time are found."""
    site.sync()
    late = [event(at, NOW - timedelta(seconds=at)) for at in range(1, 901)]
    late += [event(1000 + at, NOW - timedelta(microseconds=at)) for at in range(1, 50)]
    halo["alpha"].add(late)
    halo.clock.advance(5 * MINUTE)
    assert site.sync().new == len(late)
    site.assert_exact()


def test_a_deep_look_finds_what_is_later(halo: HaloStandIn, site: Site) -> None:
    """Events that appear a day late are found by a look as deep as that, and not before."""
    site.sync()
    halo["alpha"].add([event(1, NOW - timedelta(hours=20))])
    assert site.sync().new == 0
    assert site.sync(lookback=24 * 60).new == 1


def test_the_last_look_reaches_over_midnight(halo: HaloStandIn, site: Site) -> None:
    """Covered time that ends just after midnight is read again on both its days."""
    midnight = NOW.replace(hour=0)
    halo.clock.set(midnight + 5 * MINUTE)
    site.sync()
    halo["alpha"].add([event(1, midnight - 5 * MINUTE), event(2, midnight + MINUTE)])
    halo.clock.advance(5 * MINUTE)
    assert site.sync().new == 2
    assert site.coverage() == [Window(START, midnight + 10 * MINUTE)]


def test_a_range_is_read_again_and_staged_once(halo: HaloStandIn, site: Site) -> None:
    """`extract --since --until` reads covered time too; only unknown ids are staged."""
    halo["alpha"].add(events(300, START, NOW))
    site.sync()
    halo["alpha"].add(events(50, START, NOW, first=1000))
    window = Window(START, NOW - timedelta(days=1))
    result = site.sync(window=window)
    assert 0 < result.new < 50
    assert site.sync(window=Window(START, NOW)).new == 50 - result.new
    site.assert_exact()


@pytest.mark.parametrize("others", [0, 300])
def test_ties_in_no_order_without_a_count_are_a_gap(
    halo: HaloStandIn, site: Site, others: int
) -> None:
    """Pages that swap what shares a time hide events: that is said, and never called complete."""
    halo.switches.set(shuffle_ties=True, count=False, pagination=False, max_per_page=7)
    halo["alpha"].add([event(number, START) for number in range(60)])
    halo["alpha"].add(events(others, START + MINUTE, START + 300 * MINUTE, first=60))
    result = site.sync()
    assert result.gaps
    assert "another order every time" in result.problems[0]


def test_the_first_day_of_the_calendar_is_a_range_as_any(site: Site) -> None:
    """No time before it is reckoned with."""
    day = datetime(1, 1, 1, tzinfo=UTC)
    result = site.sync(window=Window(day, day + timedelta(days=1)))
    assert not result.problems
    assert result.windows == 1


def test_a_range_before_the_covered_time_joins_it(halo: HaloStandIn, site: Site) -> None:
    """A backfill before the first covered time leaves a gap that the next sync fills."""
    halo["alpha"].add(events(300, START - timedelta(days=4), NOW))
    site.sync()
    site.sync(window=Window(START - timedelta(days=4), START - timedelta(days=3)))
    assert len(site.coverage()) == 2
    site.sync()
    assert site.coverage() == [Window(START - timedelta(days=4), NOW)]
    site.assert_exact()


def test_a_window_that_fails_is_named_and_filled_by_the_next_sync(
    halo: HaloStandIn, site: Site
) -> None:
    """One window's fault is a gap with account, range and reason; the others are staged."""
    halo["alpha"].add(events(300, START, NOW))
    day = Window(NOW.replace(day=3, hour=0), NOW.replace(day=4, hour=0))
    halo.fail(faults.status(500), since=day.since, until=day.until, times=None)
    result = site.sync(patience=BRIEF)
    assert [(gap.since, gap.until) for gap in result.gaps] == [
        ("2026-03-03T00:00:00Z", "2026-03-04T00:00:00Z")
    ]
    (problem,) = result.problems
    assert "alpha" in problem
    assert str(day) in problem
    assert "500" in problem
    assert site.coverage() == [Window(START, day.since), Window(day.until, NOW)]
    halo.heal()
    assert site.sync().problems == []
    site.assert_exact()
    assert site.coverage() == COVERED


def test_a_beginning_that_fails_is_not_forgotten(halo: HaloStandIn, site: Site) -> None:
    """The first window of an account is a gap too when it fails, and is filled."""
    halo["alpha"].add(events(300, START, NOW))
    halo.fail(faults.status(500), since=START, until=START + 2 * MINUTE, times=None)
    assert len(site.sync(patience=BRIEF).problems) == 1
    assert site.coverage()[0].since > START
    halo.heal()
    site.sync()
    site.assert_exact()
    assert site.coverage() == COVERED


def test_a_second_look_that_fails_is_taken_later(halo: HaloStandIn, site: Site) -> None:
    """Where the last part of covered time can't be read again, a later sync still does."""
    midnight = NOW.replace(hour=0)
    halo.clock.set(midnight)
    site.sync(patience=BRIEF)
    late = event(1, midnight - 5 * MINUTE)
    halo["alpha"].add([late, event(2, midnight + MINUTE)])
    halo.fail(faults.status(500), since=midnight - 15 * MINUTE, until=midnight, times=None)
    halo.clock.set(midnight + timedelta(hours=3))
    assert len(site.sync(patience=BRIEF).problems) == 1
    assert [row["event_id"] for row in site.raw()] == [f"{2:032x}"]
    halo.heal()
    halo.clock.set(midnight + timedelta(hours=6))
    assert site.sync().new == 1
    site.assert_exact()
    assert site.coverage() == [Window(START, midnight + timedelta(hours=6))]


def test_a_wrong_key_stops_its_own_account_only(halo: HaloStandIn, site: Site) -> None:
    """A key that is refused is said once, with what to do, and never tried again and again."""
    halo.populate(500, days=3, until=NOW)
    alpha = site.account()
    wrong = Account(name="alpha", key_id=alpha.key_id, secret=SecretStr("not-the-secret"))
    result = site.sync(account=wrong)
    (problem,) = result.problems
    assert "alpha" in problem
    assert "HALO_AUTH_FILE" in problem
    assert "not-the-secret" not in str(asdict(result))
    assert halo.counters.failed_logins == 1
    assert site.sync("beta").problems == []
    site.assert_exact("beta")


def test_a_silent_api_costs_one_patience(site: Site) -> None:
    """An address where nobody listens is given up as a whole, with the setting to look at."""
    site.settings = site.settings.model_copy(update={"halo_api_url": "http://127.0.0.1:9"})
    started = time.monotonic()
    result = site.sync(clock=lambda: NOW + timedelta(days=80), patience=BRIEF)
    assert time.monotonic() - started < 5 * BRIEF.total
    (problem,) = result.problems
    assert "HALO_API_URL" in problem
    assert "http://127.0.0.1:9" in problem
    assert result.gaps[0].since == "2026-03-01T12:00:00Z"
    assert result.gaps[-1].until == "2026-05-23T12:00:00Z"


def test_a_rotated_key_fetches_nothing_anew(halo: HaloStandIn, site: Site) -> None:
    """Another key of the same account goes on where the old one was."""
    halo["alpha"].add(events(300, START, NOW))
    site.sync()
    halo["alpha"].rotate_key()
    halo.reset_counters()
    assert site.sync().new == 0
    assert halo.counters.requests == 2


def test_an_account_in_other_hands_is_left(halo: HaloStandIn, site: Site) -> None:
    """An account that another run holds is left to it: said, and no failure."""
    halo["alpha"].add(events(10, START, NOW))
    with hold(site.store, "account", "alpha"):
        result = site.sync()
    assert result.problems == []
    assert "another run" in result.notes[0]
    assert site.raw() == []


def test_two_at_once_stage_everything_once(halo: HaloStandIn, site: Site) -> None:
    """Two syncs at the same time: one works, one leaves the account, nothing is staged twice."""
    halo["alpha"].add(events(2000, START, NOW))
    halo.switches.latency_ms = 20
    account = site.account()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: site.sync(account=account), range(2)))
    assert sorted(result.new for result in results) == [0, 2000]
    assert all(not result.problems for result in results)
    site.assert_exact()


def test_it_stops_when_told_and_goes_on(halo: HaloStandIn, site: Site) -> None:
    """A stop ends the run within moments; what was staged stays, the next run does the rest."""
    halo["alpha"].add(events(3000, START, NOW))
    halo.switches.latency_ms = 50
    stop = threading.Event()

    def progress(done: int, total: int) -> None:
        if done:
            stop.set()

    site.settings = site.settings.model_copy(update={"halo_concurrency": 1})
    result = site.sync(stop=stop, progress=progress)
    assert result.interrupted
    assert result.problems == []
    assert len(site.raw()) < 3000
    halo.switches.latency_ms = 0
    assert not site.sync().interrupted
    site.assert_exact()


def test_the_future_is_never_covered(halo: HaloStandIn, site: Site) -> None:
    """Where this machine's clock is fast, covered time ends at the API's time; it is said."""
    halo["alpha"].add(events(100, START, NOW))
    result = site.sync(clock=lambda: NOW + timedelta(days=2))
    assert site.coverage() == COVERED
    assert "ahead" in result.notes[0]
    assert result.problems == []
    halo["alpha"].add(events(100, NOW, NOW + MINUTE, first=1000))
    halo.clock.advance(2 * MINUTE)
    site.sync()
    site.assert_exact()


def test_a_slow_clock_is_said_and_harmless(halo: HaloStandIn, site: Site) -> None:
    """Where this machine's clock is slow, covered time ends at its own time; it is said."""
    result = site.sync(clock=lambda: NOW - 5 * MINUTE)
    assert site.coverage() == [Window(START, NOW - 5 * MINUTE)]
    assert "behind" in result.notes[0]
    assert site.sync(clock=lambda: NOW).notes == []


def test_a_gap_that_halo_has_dropped_is_lost_once(halo: HaloStandIn, site: Site) -> None:
    """A gap older than Halo keeps events fails once, is remembered as lost, and asked no more."""
    halo.switches.retention_days = 90
    halo["alpha"].add(events(300, START, NOW))
    day = Window(NOW.replace(day=3, hour=0), NOW.replace(day=4, hour=0))
    halo.fail(faults.status(500), since=day.since, until=day.until, times=None)
    site.sync(patience=BRIEF)
    halo.heal()
    halo.clock.advance(timedelta(days=100))
    result = site.sync()
    assert any("lost" in problem for problem in result.problems)
    assert all(gap.lost for gap in result.gaps)
    halo.clock.advance(5 * MINUTE)
    assert site.sync().problems == []


def test_an_old_gap_is_filled_where_the_api_still_has_it(halo: HaloStandIn, site: Site) -> None:
    """An API that keeps events for longer fills gaps of any age, and empty ones are not lost."""
    halo["alpha"].add([event(1, START), event(2, NOW)])
    day = Window(NOW.replace(day=3, hour=0), NOW.replace(day=4, hour=0))
    halo.fail(faults.status(500), since=day.since, until=day.until, times=None)
    site.sync(patience=BRIEF)
    halo.heal()
    halo.clock.advance(timedelta(days=95))
    assert site.sync().problems == []
    site.assert_exact()


def test_results_can_be_pickled_and_written_as_json(halo: HaloStandIn, site: Site) -> None:
    """What a step returns can go through Prefect: plain values, no secrets."""
    halo.fail(faults.status(400), times=None)
    result = site.sync()
    assert pickle.loads(pickle.dumps(result)) == result
    text = json.dumps(asdict(result))
    assert site.account().secret.get_secret_value() not in text


def test_check_says_how_much_there_is(halo: HaloStandIn, site: Site) -> None:
    """A check logs in, lists one event, and says what it found."""
    assert "may read" in check_account(site.account(), site.settings, QUICK)
    halo.fail(faults.status(403), times=None)
    with pytest.raises(HaloRefused, match="read access"):
        check_account(site.account(), site.settings, BRIEF)
    halo.fail(faults.status(503), times=None, path="/oauth/access_token")
    with pytest.raises(HaloUnavailable, match="HALO_API_URL"):
        check_account(site.account(), site.settings, BRIEF)
