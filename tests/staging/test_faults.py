"""What a store says of damage, a full disk, and what is foreign in it."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

import pytest

from tasks.errors import StagingError
from tasks.staging.store import open_store
from tests.staging.staged_data import (
    DAY,
    some,
)

if TYPE_CHECKING:
    from pathlib import Path

TODAY = DAY.date()


@pytest.mark.parametrize("damage", ["torn", "page"])
def test_damaged_file(tmp_path: Path, damage: str) -> None:
    """A file that is no Parquet, or has a damaged page, is named, with what to do."""
    store = open_store(str(tmp_path))
    store.publish(some(1000), "raw", "alpha", TODAY, "a.parquet")
    path = f"{store.folder('raw', 'alpha', TODAY)}/a.parquet"
    data = (tmp_path / path).read_bytes()
    damaged = b"PAR1 or so" if damage == "torn" else data[:100] + b"?" * 200 + data[300:]
    (tmp_path / path).write_bytes(damaged)
    wanted = rf"{path} is no Parquet file that can be read.*halo-usm extract --since {TODAY}T00"
    with pytest.raises(StagingError, match=wanted):
        store.read(path)


@pytest.mark.parametrize(
    ("stage", "name", "remedy"),
    [
        ("raw", "020000000000-030000000000-0123abcd-5.parquet", "extract --since {} --until {}`"),
        (
            "normalized",
            "020000000000-030000000000-0123abcd-5-g2-5-x7u.parquet",
            "restore it, or run `halo-usm transform --since {} --until {}`",
        ),
        (
            "rejected",
            "020000000000-030000000000-0123abcd-5-g1-5.parquet",
            "restore it, or run `halo-usm transform --since {} --until {}`",
        ),
        ("rejected", "extract-0123abcd-5.parquet", "`halo-usm sync --lookback 129600`"),
        ("deliveries", "a.parquet", "its events are then sent again"),
    ],
)
def test_what_brings_a_damaged_file_back(
    tmp_path: Path, stage: str, name: str, remedy: str
) -> None:
    """What is to be done about a damaged file is what is true of its tree, and of its window."""
    store = open_store(str(tmp_path))
    destination = "sensor" if stage == "deliveries" else ""
    path = f"{store.folder(stage, 'alpha', TODAY, destination)}/{name}"
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(b"PAR1 or so")
    remedy = remedy.format("2026-03-01T02:00:00Z", "2026-03-01T03:00:00Z")
    with pytest.raises(StagingError, match=re.escape(remedy)):
        store.read(path)


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full is said with what to do, and leaves nothing under a final name."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = open_store(str(tmp_path))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StagingError, match="No space left on device; make room"):
        store.publish(some(1), "raw", "alpha", TODAY, "a.parquet")
    assert store.files("raw", "alpha") == []


def test_unusable_folder(tmp_path: Path) -> None:
    """A staging that cannot be written is one message that names the place and the reason."""
    (tmp_path / "file").touch()
    store = open_store(str(tmp_path / "file" / "staging"))
    with pytest.raises(StagingError, match="Not a directory"):
        store.publish(some(1), "raw", "alpha", TODAY, "a.parquet")


def test_foreign_folder(tmp_path: Path) -> None:
    """A folder that is not ours among the partitions is named with its place, and no account."""
    ours = ("raw/account=alpha", "deliveries/destination=sensor/account=alpha")
    foreign = ("raw/backup", "raw/account=", "deliveries/old", "deliveries/destination=sensor/old")
    for folder in (*ours, *foreign):
        (tmp_path / folder).mkdir(parents=True)
    store = open_store(str(tmp_path))
    assert store.accounts("raw") == ["alpha"]
    assert store.destinations() == ["sensor"]
    said = store.unexpected_entries()
    assert len(said) == len(foreign)
    for folder in foreign:
        assert sum(f"'{folder}' is no " in text for text in said) == 1
    assert len(store.unexpected_entries("raw")) == 2
    assert len(store.unexpected_entries("deliveries", "sensor")) == 1
    assert store.unexpected_entries("normalized") == []
