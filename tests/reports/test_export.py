from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tasks.errors import StagingError
from tasks.reports.export import export_to
from tasks.staging.store import Store, open_store
from tests.staging.staged_data import normalized, window

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.cef.export_formats import Format


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty staging."""
    return open_store(str(tmp_path / "staging"))


@pytest.mark.parametrize("format", ["cef", "leef", "kv", "json"])
def test_one_line_an_event(store: Store, tmp_path: Path, format: Format) -> None:  # noqa: A002
    """Every event of the range is one line, oldest day first, in every format."""
    expected = [
        *normalized(store, 60)[30:],
        *normalized(store, 5, day=1),
        *normalized(store, 5, day=1, account="beta"),
    ]
    output = tmp_path / "out"
    output.write_text("an older export")
    assert export_to(store, window(0.5, 30), format, output) == 40
    lines = output.read_text("utf-8").splitlines()
    assert len(lines) == 40
    assert all(event_id in line for event_id, line in zip(expected, lines, strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "staging"]


def test_standard_output(store: Store, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Without a file the lines go to standard output."""
    [event_id] = normalized(store, 1)
    assert export_to(store, window(0, 24), "json") == 1
    assert json.loads(capfdbinary.readouterr().out)["event_id"] == event_id


def test_nothing_to_export(store: Store, tmp_path: Path) -> None:
    """A range without events is an empty file."""
    assert export_to(store, window(0, 24), "cef", tmp_path / "out") == 0
    assert (tmp_path / "out").read_bytes() == b""


def test_unwritable_file(store: Store, tmp_path: Path) -> None:
    """A file that cannot be written is named."""
    with pytest.raises(StagingError, match=r"nowhere/.*out.*: No such file.*; check the path"):
        export_to(store, window(0, 24), "cef", tmp_path / "nowhere" / "out")


def test_damaged_staging(store: Store, tmp_path: Path) -> None:
    """Where the staging cannot be read, an older export stays as it was."""
    normalized(store, 3)
    [path] = (tmp_path / "staging" / "normalized").rglob("*.parquet")
    path.write_bytes(b"cannot be opened")
    (tmp_path / "out").write_text("an older export")
    with pytest.raises(StagingError, match="no Parquet file"):
        export_to(store, window(0, 24), "cef", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "an older export"
