"""One run of an account: its key, its lock, its clocks, and how it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import SecretStr

from sandbox import faults
from tasks.accounts import Account
from tasks.retry_policy import RetryPolicy
from tasks.staging.locks import hold
from tasks.time_window import Window, isoformat, union
from tests.extract.harness import COVERED, NOW, START, Harness, events

if TYPE_CHECKING:
    from sandbox.halo_api import HaloStandIn


def test_a_wrong_key_stops_its_own_account_only(halo: HaloStandIn, harness: Harness) -> None:
    """A key that is refused is said once, with what to do, and never tried again and again."""
    halo.populate(500, days=3, until=NOW)
    alpha = harness.account()
    wrong = Account(name="alpha", key_id=alpha.key_id, secret=SecretStr("not-the-secret"))
    result = harness.sync(account=wrong)
    (problem,) = result.problems
    assert "alpha" in problem
    assert "HALO_AUTH_FILE" in problem
    assert "not-the-secret" not in str(asdict(result))
    assert halo.counters.failed_logins == 1
    assert harness.sync("beta").problems == []
    harness.assert_exact("beta")


def test_a_rotated_key_fetches_nothing_anew(halo: HaloStandIn, harness: Harness) -> None:
    """Another key of the same account goes on where the old one was."""
    halo["alpha"].add(events(300, START, NOW))
    harness.sync()
    halo["alpha"].rotate_key()
    halo.reset_counters()
    assert harness.sync().new == 0
    assert halo.counters.requests == 2


def test_an_account_in_other_hands_is_left(halo: HaloStandIn, harness: Harness) -> None:
    """An account that another run holds is left to it: said, and no failure."""
    halo["alpha"].add(events(10, START, NOW))
    with hold(harness.store, "account", "alpha"):
        result = harness.sync()
    assert result.held
    assert result.problems == []
    assert "another run" in result.notes[0]
    assert harness.raw() == []


def test_nothing_to_do(halo: HaloStandIn, harness: Harness) -> None:
    """An extraction that stages nothing says why, where it is asked."""
    halo["alpha"].add(events(10, START, NOW))
    assert harness.sync(say_why=True).notes == []
    [note] = harness.sync(say_why=True).notes
    assert note.startswith("account alpha: nothing to do: ")
    [note] = harness.sync(say_why=True, window=Window(START, NOW)).notes
    assert "every event that Halo shows in the range is staged already" in note
    early = Window(START - timedelta(days=2), START - timedelta(days=1))
    [note] = harness.sync(say_why=True, window=early).notes
    assert "Halo shows no event in the range" in note
    late = Window(NOW + timedelta(days=1), NOW + timedelta(days=2))
    [note] = harness.sync(say_why=True, window=late).notes
    assert "the range is still to come" in note
    assert harness.sync().notes == []


def test_two_at_once_stage_everything_once(halo: HaloStandIn, harness: Harness) -> None:
    """Two syncs at the same time: one works, one leaves the account, nothing is staged twice."""
    halo["alpha"].add(events(2000, START, NOW))
    halo.switches.latency_ms = 20
    account = harness.account()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: harness.sync(account=account), range(2)))
    assert sorted(result.new for result in results) == [0, 2000]
    assert all(not result.problems for result in results)
    harness.assert_exact()


def test_it_stops_when_told_and_goes_on(halo: HaloStandIn, harness: Harness) -> None:
    """A stop ends the run within moments; what was staged stays, the next run does the rest."""
    halo["alpha"].add(events(3000, START, NOW))
    halo.switches.latency_ms = 50
    stop = threading.Event()

    def progress(done: int, total: int) -> None:
        if done:
            stop.set()

    harness.settings = harness.settings.model_copy(update={"halo_concurrency": 1})
    result = harness.sync(stop=stop, progress=progress)
    assert result.interrupted
    assert result.problems == []
    assert len(harness.raw()) < 3000
    halo.switches.latency_ms = 0
    assert not harness.sync().interrupted
    harness.assert_exact()


def test_it_stops_at_once_while_the_api_says_nothing(halo: HaloStandIn, harness: Harness) -> None:
    """Nobody waits for an answer that does not come, and nothing is left running."""
    halo.fail(faults.timeout(), times=None)
    stop = threading.Event()
    before = set(threading.enumerate())
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    started = time.monotonic()
    result = harness.sync(stop=stop, retry_policy=RetryPolicy())
    assert result.interrupted
    assert time.monotonic() - started < 3
    timer.join()
    assert set(threading.enumerate()) == before
    halo.heal()
    assert harness.sync().problems == []
    assert harness.coverage() == COVERED


def test_a_range_of_any_length_opens_few_windows_and_stops_at_once(
    halo: HaloStandIn, harness: Harness
) -> None:
    """Two thousand years are 740,000 windows, made as they are read; what was not is one gap."""
    always = Window(datetime(2, 1, 1, tzinfo=UTC), NOW)
    stop = threading.Event()
    open_windows = []

    def progress(done: int, total: int) -> None:
        assert total == always.count_days()
        open_windows.append(len(asyncio.all_tasks()))
        if done > 50:
            stop.set()

    result = harness.sync(window=always, stop=stop, progress=progress)
    assert result.interrupted
    assert 50 <= result.windows < 100
    assert max(open_windows) < 50
    assert len(result.gaps) < 50
    assert result.gaps[-1].until == isoformat(NOW)
    assert union(harness.coverage())[0].since == always.since
