"""The page of an audit: written by the command, opened in a browser."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tasks.staging.raw import stage_window
from tests.flows.command import ROOT, Command
from tests.reports.two_days import stage_two_days
from tests.staging.staged_data import (
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
    from pathlib import Path

    from tasks.staging.store import Store

EVIL = '<script>document.title = "owned"</script><img src="http://a.invalid/"> {{ 7 * 7 }} \x1b[31m'


@pytest.fixture
def staged(store: Store) -> Store:
    """Two days."""
    stage_two_days(store)
    return store


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
    file = tmp_path / "page.html"
    file.write_text("an older one")
    file.chmod(0o640)
    answered = halo_usm(*asked, "--report", "page.html")
    assert answered.stdout == halo_usm(*asked).stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert not list(tmp_path.glob(".page*"))

    seen = in_chromium(file, tmp_path / "chromium")
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
    seen = Elements((tmp_path / "page.html").read_text())
    assert "Nothing is staged. There is no destination." in seen.text
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
    seen = Elements((tmp_path / "page.html").read_text())
    assert "It does not add up." in seen.text
    assert first.name in seen.text
    assert "siem 245 240 5 0 agrees 0" in seen.text


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
