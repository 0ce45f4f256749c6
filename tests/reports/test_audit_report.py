"""The page of an audit: its figures against SQL over the same files, and the page in a browser."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections import Counter
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from tasks.reports.audit_report import charts
from tasks.reports.audit_report.coverage import AccountCoverage, account_coverage
from tasks.reports.audit_report.delays import Delays
from tasks.reports.audit_report.facts import gather
from tasks.staging.coverage import mark_lost
from tasks.staging.ledger import DELIVERIES_SCHEMA, Ledger
from tasks.staging.raw import stage_window
from tasks.time_window import Window
from tests.flows.command import ROOT, Command
from tests.staging.staged_data import (
    MALFORMED,
    at,
    broken,
    malformed,
    normalized,
    raw,
    stage,
    transform,
    window,
)
from tests.syslog_daemon import find_program, require_there

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tasks.staging.store import Store

RANGE = Window(at(0), at(12, day=1))
EVIL = '<script>document.title = "owned"</script><img src="http://a.invalid/"> {{ 7 * 7 }} \x1b[31m'


def attempt(
    ledger: Ledger,
    events: Sequence[tuple[str, datetime]],
    attempted_at: datetime,
    status: str = "confirmed",
    number: int = 1,
) -> None:
    """Record an attempt of some events of a day, all with the same outcome."""
    rows = [
        {
            "event_id": event_id,
            "created_at": created,
            "status": status,
            "attempt": number,
            "attempted_at": attempted_at,
        }
        for event_id, created in events
    ]
    delivered = len(rows) if status in {"confirmed", "sent"} and number == 1 else 0
    with ledger.attempt(pa.chunked_array([[event_id for event_id, _ in events]])) as record:
        record.record(delivered, pa.Table.from_pylist(rows, DELIVERIES_SCHEMA))


@pytest.fixture
def staged(store: Store) -> Store:
    """Two days: live events and backfill, failures, repeats, and a day outside the range."""
    for day in (0, 1):
        usm, siem = (Ledger(store, name, "alpha", at(0, day).date()) for name in ("usm", "siem"))
        events = [(f"{day}-{n:03}", at(1 + n / 60, day)) for n in range(120)]
        # the first hour's events were extracted two hours later, the second's in three minutes
        for number, late in ((0, 2.0), (1, 0.05)):
            part = events[60 * number : 60 * number + 60]
            where = window(1 + number, 2 + number, day)
            extracted = where.until + timedelta(hours=late)
            stage_window(
                store, "alpha", where, raw(part), MALFORMED.empty_table(), "run", extracted
            )
            attempt(usm, part[:40], extracted + timedelta(seconds=5 + 60 * number))
            attempt(usm, part[40:], extracted + timedelta(seconds=9), "failed")
            attempt(siem, part, extracted + timedelta(seconds=1), "sent")
        attempt(usm, events[30:40], at(23.99, day), "confirmed", 2)
        attempt(usm, events[30:32], at(12, day + 1), "confirmed", 3)
    stage(store, window(13, 14, day=1), [("outside", at(13, day=1))])
    transform(store)
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


class Elements(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the element's name and attributes."""
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        """Keep a piece of text."""
        self.words.append(data)

    def of(self, *names: str) -> list[str]:
        """The values of some attributes."""
        return [value for name, value in self.attributes if name in names]


def in_chromium(page: Path, profile: Path) -> Elements:
    """A page as Chromium has it after it has opened it."""
    chromium = find_program("chromium")
    require_there(
        there=chromium is not None,
        reason="chromium is missing: sh tests/install_chromium.sh installs Debian's",
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    opened = subprocess.run(
        [chromium or "", *options, "--dump-dom", page.as_uri()],
        env=os.environ | {"HOME": str(profile)},
        capture_output=True,
        text=True,
        check=True,
    )
    return Elements(opened.stdout)


def test_the_page_in_a_browser(staged: Store, tmp_path: Path) -> None:
    """It says what the audit says, loads nothing, and text of events does nothing in it."""
    stage(staged, window(5, 6), broken(raw([("bad", at(5))]), "bad"))
    transform(staged)
    bad = malformed((None, at(6.5), "?"))
    bad = bad.set_column(2, "reason", pa.array([EVIL]))
    stage_window(staged, "alpha", window(6, 7), raw([]), bad, "run")
    halo_usm = Command(tmp_path, {"HALO_STAGING": str(staged)})
    asked = ("audit", "--since", "2026-03-01", "--until", "2026-03-02T12:00")
    page = tmp_path / "page.html"
    page.write_text("an older one")
    page.chmod(0o640)
    answered = halo_usm(*asked, "--report", "page.html")
    assert answered.stdout == halo_usm(*asked).stdout
    assert stat.S_IMODE(page.stat().st_mode) == 0o640
    assert not list(tmp_path.glob(".page*"))

    seen = in_chromium(page, tmp_path / "chromium")
    for said in (
        "Audit of 2026-03-01 00:00 to 2026-03-02 12:00 UTC",
        "It adds up.",
        "Staged 241 = normalized 240 + rejected 1: agrees",
        "siem 240 240 0 0 agrees 0",
        "usm 240 160 80 0 agrees 80",
        "There are 3 gaps in what was read from Halo. 80 deliveries are pending, 80 of them tried",
        "usm live 74",
        "backfill 86",
        "usm 160 20 24 3",
        'extract <script>document.title = "owned"</script><img src="http://a.invalid/">',
        r"{{ 7 * 7 }} \x1b[31m",
        "Version 1 of the mapping",
        "halo-usm audit --since 2026-03-01T00:00:00Z --until 2026-03-02T12:00:00Z",
    ):
        assert said in seen.text
    assert (seen.tags["script"], seen.tags["img"], seen.tags["svg"]) == (0, 0, 5)
    ids = seen.of("id")
    assert len(set(ids)) == len(ids)
    addresses = seen.of("src", "href", "xlink:href", "action", "data")
    assert addresses
    assert all(address.startswith("#") and address[1:] in ids for address in addresses)
    style = " ".join([*seen.of("style", "clip-path"), *seen.words])
    assert all(target[1:] in ids for target in re.findall(r"url\(([^)]*)\)", style))
    assert "@import" not in style


def test_an_empty_staging_has_a_page(store: Store, tmp_path: Path) -> None:
    """Nothing staged, no destination: the page says so."""
    halo_usm = Command(tmp_path, {"HALO_STAGING": str(store)})
    halo_usm("audit", "--since", "2026-03-01", "--report", "page.html")
    page = Elements((tmp_path / "page.html").read_text())
    assert "Nothing is staged. There is no destination." in page.text
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o600


def test_what_cannot_be_read_is_said_and_the_rest_is_there(staged: Store, tmp_path: Path) -> None:
    """A damaged file is a problem on the page, as on standard error; exit code 1."""
    normalized(staged, 5, account="beta")
    [first, *_] = sorted(tmp_path.glob("deliveries/destination=usm/*/*/*.parquet"))
    first.write_bytes(b"PAR1 or so")
    halo_usm = Command(tmp_path, {"HALO_STAGING": str(staged)})
    asked = ("audit", "--since", "2026-03-01", "--until", "2026-03-02T12:00")
    answered = halo_usm(*asked, "--report", "page.html", code=1)
    problems = [line for line in answered.stderr.splitlines() if line.startswith("error:")]
    assert problems == halo_usm(*asked, code=1).stderr.splitlines()
    page = Elements((tmp_path / "page.html").read_text())
    assert "It does not add up." in page.text
    assert first.name in page.text
    assert "siem 245 240 5 0 agrees 0" in page.text


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--since", "2026-03-01", "--report", "none/page.html"), 1, "none/page.html"),
        (("--event", "x", "--report", "page.html"), 2, "say --since T, not --event ID"),
    ],
)
def test_expected_faults(tmp_path: Path, options: tuple[str, ...], code: int, message: str) -> None:
    """One message; nothing is written."""
    said = Command(tmp_path, {"HALO_STAGING": "staging"})("audit", *options, code=code)
    [line] = said.stderr.splitlines()
    assert message in line
    assert said.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_the_remedy_is_said(tmp_path: Path) -> None:
    """A library that is not installed: exit code 2, and what to install."""
    missing = "raise ModuleNotFoundError('No module named matplotlib', name='matplotlib')"
    (tmp_path / "matplotlib.py").write_text(missing)
    halo_usm = Command(tmp_path, {"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    said = halo_usm("audit", "--since", "2026-03-01", "--report", "page.html", code=2)
    assert said.stderr == (
        "halo-usm: audit --report needs the library matplotlib: pip install 'halo-usm[report]'\n"
    )
