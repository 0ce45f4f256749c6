"""Which windows an extraction reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tasks.extract.plan import Plan, plan_range, plan_sync
from tasks.staging.coverage import Coverage
from tasks.time_window import Window, difference, union

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
LOOKBACK = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)

moments = st.integers(1, 5 * 24 * 60).map(lambda minutes: NOW - minutes * MINUTE)
windows = (
    st.tuples(moments, moments)
    .filter(lambda pair: pair[0] != pair[1])
    .map(lambda pair: Window(min(pair), max(pair)))
)
coverages = st.lists(windows, max_size=5).map(union)


def known(
    covered: list[Window],
    begin: datetime | None = None,
    *,
    synced: bool = True,
    dropped: list[Window] | None = None,
) -> Coverage:
    """What is known of an account's time."""
    return Coverage(covered, [], dropped or [], begin, synced)


def sync(covered: list[Window], start: datetime = NOW - timedelta(days=6)) -> Plan:
    """What a sync reads of an account that begins where its coverage does."""
    begin = covered[0].since if covered else None
    return plan_sync(known(covered, begin), start=start, now=NOW, lookback=LOOKBACK)


def windows_of(plan: Plan) -> list[Window]:
    """The windows of its ranges."""
    return [run.window for run in plan.ranges]


@given(coverages)
def test_a_sync_reads_what_is_not_covered_and_looks_before_it(covered: list[Window]) -> None:
    """Every uncovered moment is read, and 15 minutes of covered time before each, no more."""
    read = [run.window for run in sync(covered).ranges]
    begin = covered[0].since if covered else NOW - timedelta(days=6)
    missing = difference(Window(begin, NOW), covered)
    looks = [
        Window(max(piece.since, piece.until - LOOKBACK), piece.until)
        for piece in covered
        if piece.until <= NOW
    ]
    assert union(read) == union([*missing, *looks])


@given(coverages)
def test_no_moment_is_read_twice(covered: list[Window]) -> None:
    """Ranges do not overlap. Each has one boundary at most, where covered time ends."""
    runs = sync(covered).ranges
    for one, other in pairwise(runs):
        assert one.window.until <= other.window.since
    for run in runs:
        if run.boundary:
            before = Window(run.window.since, run.boundary)
            after = Window(run.boundary, run.window.until)
            assert difference(before, covered) == []
            assert difference(after, covered) == [after]


def test_a_sync_every_five_minutes_is_one_window() -> None:
    """What is new and the look before it are read together."""
    covered = [Window(NOW - timedelta(days=2), NOW - 5 * MINUTE)]
    assert windows_of(sync(covered)) == [Window(NOW - 20 * MINUTE, NOW)]


def test_a_sync_of_the_same_moment_looks_again() -> None:
    """Where nothing is missing, the last part of covered time is read all the same."""
    assert windows_of(sync([Window(NOW - MINUTE * 60, NOW)])) == [Window(NOW - LOOKBACK, NOW)]


def test_a_clock_that_was_set_back_does_no_harm() -> None:
    """Covered time beyond now is left alone."""
    ahead = sync([Window(NOW - MINUTE * 60, NOW + 5 * MINUTE)])
    assert windows_of(ahead) == [Window(NOW - 10 * MINUTE, NOW)]
    assert sync([Window(NOW + MINUTE, NOW + 5 * MINUTE)]).ranges == []


def test_a_beginning_is_to_be_remembered_once() -> None:
    """An account begins at the start; where it began already, nothing of that changes."""
    start = NOW - timedelta(days=6)
    assert sync([], start).begin == start
    assert sync([Window(start, NOW - MINUTE)], start).begin is None
    assert sync([], NOW).ranges == []
    begun = plan_sync(known([], start), start=NOW - MINUTE, now=NOW, lookback=LOOKBACK)
    assert windows_of(begun) == [Window(start, NOW)]


def test_a_beginning_that_is_no_coverage_is_a_gap() -> None:
    """What lies between where the account begins and its first coverage is read."""
    begin = NOW - timedelta(days=6)
    covered = [Window(NOW - timedelta(days=2), NOW - 5 * MINUTE)]
    plan = plan_sync(known(covered, begin), start=NOW, now=NOW, lookback=LOOKBACK)
    assert windows_of(plan) == [Window(begin, covered[0].since), Window(NOW - 20 * MINUTE, NOW)]


@given(coverages.filter(bool), moments)
def test_a_first_sync_reads_what_no_extract_covered(covered: list[Window], start: datetime) -> None:
    """From the start or the first extracted range, what is not covered, and the usual looks."""
    begin = min(start, covered[0].since)
    before = known(covered, covered[0].since, synced=False)
    plan = plan_sync(before, start=start, now=NOW, lookback=LOOKBACK)
    assert plan.begin == begin
    assert plan.synced
    later = plan_sync(known(covered, begin), start=NOW, now=NOW, lookback=LOOKBACK)
    assert windows_of(plan) == windows_of(later)
    assert later.begin is None


def test_what_no_sync_wanted_is_not_expired() -> None:
    """However old: what lies before all that was extracted is read as any beginning is."""
    covered = [Window(NOW - timedelta(days=1), NOW)]
    start = NOW - timedelta(days=100)
    before = known(covered, covered[0].since, synced=False)
    plan = plan_sync(before, start=start, now=NOW, lookback=LOOKBACK)
    assert plan.ranges[0].window == Window(start, covered[0].since)
    assert not plan.ranges[0].expired


def test_a_later_start_or_an_earlier_one_changes_nothing() -> None:
    """HALO_START is where the very first sync begins, and of no account after that."""
    covered = [Window(NOW - timedelta(days=2), NOW - 5 * MINUTE)]
    for days in (1, 3):
        plan = sync(covered, NOW - timedelta(days=days))
        assert windows_of(plan) == [Window(NOW - 20 * MINUTE, NOW)]


def test_gaps_beyond_what_halo_keeps_are_overdue() -> None:
    """A gap is cut where Halo's 90 days end; what is older is expired."""
    old = NOW - timedelta(days=90)
    covered = [Window(old - timedelta(days=9), old - timedelta(days=1))]
    covered.append(Window(old + timedelta(days=1), NOW))
    runs = sync(covered).ranges
    assert [(run.window, run.expired) for run in runs] == [
        (Window(old - timedelta(days=1), old), True),
        (Window(old, old + timedelta(days=1)), False),
        (Window(NOW - LOOKBACK, NOW), False),
    ]


@given(coverages, windows)
def test_a_range_is_read_whole(covered: list[Window], window: Window) -> None:
    """A range is read whether it is covered or not, and nothing else but the looks before it."""
    plan = plan_range(known(covered), window, now=NOW, lookback=LOOKBACK)
    read = union([run.window for run in plan.ranges])
    assert difference(window, read) == []
    beyond = [piece for part in read for piece in difference(part, [window])]
    assert all(difference(piece, covered) == [] for piece in beyond)
    assert all(piece.duration <= LOOKBACK for piece in beyond)


def test_a_range_ends_now() -> None:
    """No window reaches into the future."""
    window = Window(NOW - MINUTE, NOW + MINUTE)
    assert plan_range(known([]), window, now=NOW, lookback=LOOKBACK).ranges[0].window.until == NOW
    future = Window(NOW, NOW + MINUTE)
    assert plan_range(known([]), future, now=NOW, lookback=LOOKBACK).ranges == []


@given(coverages, coverages, windows)
def test_dropped_time_is_never_read_again(
    covered: list[Window], dropped: list[Window], wanted: Window
) -> None:
    """All else that is not covered is; of covered time only what is looked at or asked for."""
    covered = [piece for window in covered for piece in difference(window, dropped)]
    start = NOW - timedelta(days=6)
    begin = min((window.since for window in (*covered, *dropped)), default=start)
    before = known(covered, begin, dropped=dropped)
    for bounds, plan in (
        (Window(begin, NOW), plan_sync(before, start=start, now=NOW, lookback=LOOKBACK)),
        (wanted, plan_range(before, wanted, now=NOW, lookback=LOOKBACK)),
    ):
        read = windows_of(plan)
        assert not [window for window in read for gone in dropped if window.overlaps(gone)]
        missing = difference(bounds, [*covered, *dropped])
        assert not [piece for window in missing for piece in difference(window, read)]
