from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import StagingError
from tasks.staging.names import file_names, ledger_file_names, rejected_file_names
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = date(2026, 3, 1)
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
MICROSECONDS = 24 * 3600 * 10**6

bounds = st.tuples(st.integers(0, MICROSECONDS), st.integers(0, MICROSECONDS)).filter(
    lambda pair: pair[0] < pair[1]
)
windows = bounds.map(
    lambda pair: Window(
        MIDNIGHT + timedelta(microseconds=pair[0]), MIDNIGHT + timedelta(microseconds=pair[1])
    )
)
counts = st.integers(0, 10**9)


@given(windows, counts)
def test_raw_name(window: Window, rows: int) -> None:
    """A raw file's name gives back its window, to the microsecond and midnight, and its rows."""
    name = file_names.raw_name(window, rows)
    [file] = file_names.raw_files([name])
    assert (file.window(DAY), file.rows, file.name) == (window, rows, name)


@given(
    window=windows,
    numbers=st.tuples(counts, counts, counts),
    generation=st.integers(1, 99),
    unknown=st.booleans(),
)
def test_normalized_name(
    window: Window, numbers: tuple[int, int, int], generation: int, *, unknown: bool
) -> None:
    """A normalized file's name gives back its raw file, generation and counts."""
    raw_rows, rows, lost = numbers
    [source] = file_names.raw_files([file_names.raw_name(window, raw_rows)])
    name = file_names.normalized_name(source.key, generation, rows, lost=lost, unknown=unknown)
    [file] = file_names.normalized_files([name])
    assert file.key == source.key
    assert file.window(DAY) == window
    assert file.generation == generation
    assert (file.rows, file.lost, file.unknown) == (rows, lost, unknown)


@given(windows, counts, counts, st.integers(1, 99))
def test_rejected_names(window: Window, raw_rows: int, rows: int, generation: int) -> None:
    """A rejected file's name tells its stage, and of transform its raw file and generation."""
    [source] = file_names.raw_files([file_names.raw_name(window, raw_rows)])
    names = [
        rejected_file_names.extract_name(rows),
        rejected_file_names.rejected_name(source.key, generation, rows),
    ]
    of_transform, of_extract = rejected_file_names.rejected_files(names)
    assert (of_extract.key, of_extract.rows) == (None, rows)
    assert (of_transform.key, of_transform.generation, of_transform.rows) == (
        source.key,
        generation,
        rows,
    )


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    windows,
    counts,
    st.integers(-(10**9), 10**9),
)
def test_ledger_names(attempted_at: datetime, window: Window, rows: int, delta: int) -> None:
    """A ledger file's name gives back its window, rows and how many more are delivered."""
    name = ledger_file_names.attempts_name(attempted_at, window, rows, delta)
    [file], notes = ledger_file_names.deliveries_files([name])
    assert (file.window(DAY), file.rows, file.delta, notes) == (window, rows, delta, [])


@given(
    windows,
    st.tuples(counts, counts, counts),
    st.sampled_from(["all", "123000000000"]),
    counts,
    st.sampled_from(["", "0123456789abcdef"]),
)
def test_note_names(
    window: Window, sums: tuple[int, int, int], after: str, delivered: int, fingerprint: str
) -> None:
    """A note's name gives back what it was written for, and no attempt is read out of it."""
    since, until = file_names.span(window).split("-")
    name = ledger_file_names.settled_name(since, until, *sums, after, delivered, fingerprint)
    attempts, [note] = ledger_file_names.deliveries_files([name])
    assert attempts == []
    assert (note.since, note.until) == (since, until)
    assert (note.events, note.total, note.rows) == sums
    assert (note.takes_from, note.delivered, note.fingerprint) == (after, delivered, fingerprint)


@pytest.mark.parametrize(
    "parse",
    [
        file_names.raw_files,
        file_names.normalized_files,
        rejected_file_names.rejected_files,
        ledger_file_names.deliveries_files,
    ],
)
def test_foreign_name(parse: object) -> None:
    """A Parquet file that is not ours stops the stage: its rows would be counted as ours."""
    with pytest.raises(StagingError, match=r"/account=alpha/date=1/mine\.parquet' is no name of a"):
        parse(["mine.parquet"], "account=alpha/date=1")  # type: ignore[operator]
    with pytest.raises(StagingError, match=r"^'mine\.parquet' is no name of a"):
        parse(["mine.parquet"])  # type: ignore[operator]


@pytest.mark.parametrize(
    "span",
    [
        "256199000000-256200000000",
        "236000000000-240000000000",
        "230060000000-240000000000",
        "230000000000-240000000001",
        "130000000000-120000000000",
        "120000000000-120000000000",
        "12000000000\u0660-130000000000",
        "120000000000-130000000000\n",
    ],
)
@pytest.mark.parametrize(
    ("parse", "name"),
    [
        (file_names.raw_files, "{}-0123abcd-5.parquet"),
        (file_names.normalized_files, "{}-0123abcd-5-g1-5.parquet"),
        (rejected_file_names.rejected_files, "{}-0123abcd-5-g1-5.parquet"),
        (ledger_file_names.deliveries_files, "20260301T120000000000-0123abcd-{}-5-+5.parquet"),
        (ledger_file_names.deliveries_files, "settled-{}-5-5-5-all-5-0123abcd.parquet"),
    ],
)
def test_window_that_is_none(parse: Callable[[list[str]], object], name: str, span: str) -> None:
    """A name whose clocks no day has, or whose window is empty or backward, is not ours."""
    assert parse([name.format("230000000000-240000000000")])
    with pytest.raises(StagingError, match="is no name of a"):
        parse([name.format(span)])


def test_window_over_midnight() -> None:
    """A window that reaches over midnight has no name."""
    with pytest.raises(ValueError, match="not within one UTC day"):
        file_names.span(Window(MIDNIGHT + timedelta(hours=23), MIDNIGHT + timedelta(hours=25)))


@pytest.mark.parametrize(
    ("since", "text"),
    [
        (None, "000000000000"),
        (datetime(2026, 2, 28, 23, tzinfo=UTC), "000000000000"),
        (datetime(2026, 3, 1, 12, 30, tzinfo=UTC), "123000000000"),
        (datetime(2026, 3, 2, tzinfo=UTC), "240000000000"),
    ],
)
def test_after(since: datetime | None, text: str) -> None:
    """A destination's `since` admits all of a later day, part of its own, none of an earlier."""
    assert file_names.clock_from(since, DAY) == text
