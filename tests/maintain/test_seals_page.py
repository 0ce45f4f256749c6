"""The page about seals: its Python lines verify a staging with none of our code."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tasks.staging.coverage import mark_beginning
from tasks.staging.seals.signatures import read_signing_key
from tasks.staging.store import open_store
from tests.documents import ROOT
from tests.maintain import tampering
from tests.maintain.sealed_days import DAYS, deliver_days, late_event, seal, seals, write_keys
from tests.staging.staged_data import at

if TYPE_CHECKING:
    from pathlib import Path

    from tests.maintain.tampering import Tampering

PAGE = ROOT / "docs" / "seals.md"
MOST_LINES = 45


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The lines of the page, a sealed staging and keys; a day has two seals."""
    [lines] = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(lines.splitlines()) <= MOST_LINES
    (tmp_path / "verify.py").write_text(lines)
    store = open_store(str(tmp_path / "staging"))
    key = write_keys(tmp_path)
    mark_beginning(store, "alpha", at(0), synced=True)
    deliver_days(store)
    seal(store, key)
    late_event(store, 0)
    seal(store, key)
    return tmp_path


def verify(folder: Path, *key: str) -> tuple[int, str]:
    """The exit code of the lines, and what they say; none of our modules can be imported there."""
    command = [sys.executable, "-I", "verify.py", "staging", "alpha", *key]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_a_good_staging(folder: Path) -> None:
    """They agree with a good staging, name dropped days, and refuse a key that did not sign it."""
    last = seals(open_store(str(folder / "staging")))[-1]
    agree = f"seals 1 to {DAYS + 1} agree; the SHA-256 of the last one is {last.sha256}\n"
    assert verify(folder) == (0, agree)
    assert verify(folder, "public.pem") == (0, agree)
    for day in ("2026-03-01", "2026-03-02"):  # as retention does, which leaves where it begins
        for path in (folder / "staging").glob(f"*/account=alpha/date={day}/*"):
            if not path.match("*-begin.parquet"):
                path.unlink()
    gone = "".join(f"{day} is not staged any more\n" for day in ("2026-03-01", "2026-03-02"))
    assert verify(folder) == (0, gone + agree)
    other = folder / "other"
    other.mkdir()
    write_keys(other)
    code, said = verify(folder, "other/public.pem")
    assert (code, said) == (1, f"seals 1 to {DAYS + 1} are not signed by this key\n")


def test_seals_from_before_the_first_key(folder: Path) -> None:
    """The newest signature stands for them; an unsigned one after it is found."""
    store = open_store(str(folder / "staging"))
    late_event(store, 1)
    seal(store)
    unsigned = f"seals {DAYS + 2} to {DAYS + 2} are not signed by this key\n"
    assert verify(folder, "public.pem") == (1, unsigned)
    late_event(store, 2)
    seal(store, read_signing_key(folder / "key.pem"))
    assert verify(folder, "public.pem")[0] == 0


@pytest.mark.parametrize(
    ("tamper", "key", "said"),
    [
        (tampering.change_byte, (), "was changed"),
        (tampering.exchange, (), "was changed"),
        (tampering.remove_file, (), "was changed, or is gone"),
        (tampering.remove_seal, (), "seal 2 is missing"),
        (tampering.edit_seal, (), "the one before it was changed"),
        (tampering.edit_newest_seal, (), "the sums of 2026-03-01 are not those of its files"),
        (tampering.edit_newest_seal, ("public.pem",), "not signed by this key"),
    ],
)
def test_tampering(folder: Path, tamper: Tampering, key: tuple[str, ...], said: str) -> None:
    """Each kind is found."""
    tamper(folder / "staging")
    code, shown = verify(folder, *key)
    assert (code, said in shown) == (1, True), shown
