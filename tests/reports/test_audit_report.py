"""The figures of an audit's page, against SQL over the same files."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pytest

from tasks.reports.audit_report import charts
from tasks.reports.audit_report.coverage import AccountCoverage, account_coverage
from tasks.reports.audit_report.delays import Delays
from tasks.reports.audit_report.facts import gather
from tasks.reports.audit_report.page import page
from tasks.staging.coverage import mark_lost
from tests.reports.two_days import RANGE, stage_two_days
from tests.staging.staged_data import stage, window

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store


@pytest.fixture
def staged(store: Store) -> Store:
    """Two days."""
    stage_two_days(store)
    return store


def test_figures_are_those_of_sql_over_the_same_files(staged: Store) -> None:
    """Attempts a day by outcome, delays of live events and of backfill, repeats."""
    facts = gather(staged, RANGE)
    assert facts.audit.problems == []
    database = duckdb.connect()
    database.execute("SET timezone = 'UTC'")
    for tree in ("raw", "deliveries"):
        files = f"read_parquet('{staged}/{tree}/**/*.parquet', hive_partitioning = true)"
        database.execute(f"CREATE VIEW {tree} AS SELECT * FROM {files}")
    database.execute(
        """
        CREATE VIEW first AS
        SELECT destination, event_id, count(*) AS times,
            epoch(min(attempted_at) - any_value(raw.created_at)) AS delay,
            any_value(extracted_at - raw.created_at) <= INTERVAL 1 HOUR AS live
        FROM deliveries JOIN raw USING (event_id)
        WHERE status IN ('confirmed', 'sent') AND raw.created_at < '2026-03-02 12:00'
        GROUP BY ALL
        """
    )
    for name, destination in facts.destinations.items():
        found = destination.deliveries
        rows = database.execute(
            """SELECT status, attempted_at::DATE, count(*) FROM deliveries
            WHERE destination = ? AND created_at < '2026-03-02 12:00' GROUP BY ALL""",
            [name],
        ).fetchall()
        assert {
            (status, day): count
            for status, days in found.attempts.items()
            for day, count in days.items()
        } == {(status, day): count for status, day, count in rows}
        for delays, live in ((found.live, True), (found.backfill, False)):
            expected = database.execute(
                """SELECT count(*), quantile_disc(delay, [0.5, 0.95, 0.99]), max(delay) FROM first
                WHERE destination = ? AND live = ?""",
                [name, live],
            ).fetchone()
            assert expected
            assert delays.events == expected[0] > 0
            percentiles = [delays.percentile(percent) for percent in (50, 95, 99)]
            assert percentiles == pytest.approx(expected[1], rel=0.0101)
            assert delays.longest == pytest.approx(expected[2])
        times = database.execute("SELECT times FROM first WHERE destination = ?", [name]).fetchall()
        assert found.times == Counter(time for (time,) in times)
    usm = facts.destinations["usm"].deliveries
    assert (usm.repeated, usm.repeats) == (20, 24)


def test_percentiles_are_right_to_one_percent() -> None:
    """From milliseconds to years; none is longer than the longest, none of nothing."""
    seconds = np.random.default_rng(1).lognormal(5, 4, 10_000)
    delays = Delays()
    assert delays.percentile(50) is None
    for part in np.array_split(seconds, 7):
        delays.add((part * 1e6).astype("timedelta64[us]"))
    for percent in (1, 50, 95, 99, 100):
        exact = np.percentile(seconds, percent, method="inverted_cdf")
        assert delays.percentile(percent) == pytest.approx(exact, rel=0.0101)
    delays.add(np.array([-5_000_000], "timedelta64[us]"))
    assert (delays.events, delays.negative) == (10_001, 1)


def test_coverage_is_the_whole_range_in_parts(store: Store) -> None:
    """Covered, gap, lost and not read; what is set up and was never read is a gap."""
    for part in (window(2, 4), window(6, 8), window(10, 12)):
        stage(store, part)
    mark_lost(store, "alpha", window(4, 5))
    found = account_coverage(store, "alpha", window(3, 20), None)
    assert found == AccountCoverage(
        "alpha",
        covered=[window(3, 4), window(6, 8), window(10, 12)],
        gaps=[window(5, 6), window(8, 10)],
        lost=[window(4, 5)],
        outside=[window(12, 20)],
    )
    new = account_coverage(store, "new", window(3, 20), window(2, 18))
    assert (new.gaps, new.outside) == ([window(3, 18)], [window(18, 20)])


def test_the_picture_of_many_gaps_stays_small() -> None:
    """A gap every ten minutes of a year."""
    gaps = [window(n / 6, n / 6 + 0.05) for n in range(50_000)]
    account = AccountCoverage("alpha", gaps, [], [], [])
    assert len(charts.coverage([account], window(0, 9000))) < 500_000


def test_hashes_are_those_of_sha256sum(staged: Store) -> None:
    """The command that the page names prints the hash of a folder."""
    for destination in gather(staged, RANGE).destinations.values():
        assert sum(day.rows for day in destination.ledger) >= 240
        for day in destination.ledger:
            said = subprocess.run(
                ["sh", "-c", "LC_ALL=C sha256sum *.parquet | sha256sum"],
                cwd=f"{staged}/{day.folder}",
                capture_output=True,
                text=True,
                check=True,
            )
            assert said.stdout.split()[0] == day.sha256


def test_a_ledger_that_outlived_its_events(staged: Store, tmp_path: Path) -> None:
    """Its attempts are counted and hashed; what cannot be read is said, and fails no audit."""
    for tree in ("raw", "normalized"):
        shutil.rmtree(tmp_path / tree)
    facts = gather(staged, RANGE)
    usm = facts.destinations["usm"].deliveries
    assert sum(usm.attempts["confirmed"].values()) == usm.not_staged - 80 == 184
    assert not usm.times
    path = next((tmp_path / "deliveries").rglob("*.parquet"))
    path.write_bytes(b"PAR1")
    facts = gather(staged, RANGE)
    assert facts.audit.consistent
    [note] = facts.audit.notes
    assert path.name in note
    assert path.name in page(facts, "", "")


def test_of_very_many_files_the_folders_stand_for_them(
    staged: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page lists every file, or where they are too many every folder."""
    facts = gather(staged, RANGE)
    [folder, *_] = facts.destinations["usm"].ledger
    listed = page(facts, "", "")
    monkeypatch.setattr("tasks.reports.audit_report.page.MOST_FILES", 3)
    short = page(facts, "", "")
    for text in (listed, short):
        assert folder.sha256 in text
        assert (folder.files[0].sha256 in text) == (text is listed)


def test_an_address_is_shown_without_its_secrets(store: Store) -> None:
    """The staging on object storage, by its bucket alone."""
    text = page(gather(store, RANGE), "", "s3://ID:SECRET@bucket/prefix?region=eu")
    assert "s3://***@bucket/prefix" in text
    assert "SECRET" not in text
