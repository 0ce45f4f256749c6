"""Who may read what we write: its owner alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tasks.reports.export import export_to
from tasks.staging.locks import hold
from tasks.staging.raw import stage_window
from tasks.staging.store import open_store
from tests.load.helpers import closed_port, load
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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def generous() -> Iterator[None]:
    """A umask that takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    """The modes that differ from those of folders and files for their owner alone, by path."""
    found = {path: path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}
    return {
        str(path): oct(mode)
        for path, mode in found.items()
        if mode != (0o700 if path.is_dir() else 0o600)
    }


def test_staging_is_its_owners_alone(tmp_path: Path) -> None:
    """Every tree, locks and what is being written; the folders above the staging, too."""
    tmp_path.chmod(0o755)
    store = open_store(str(tmp_path / "above" / "staging"))
    stage(store, window(5, 6), broken(raw([("bad", at(5))]), "bad"))
    stage_window(store, "alpha", window(6, 7), raw([]), malformed((None, None, "?")), "run")
    normalized(store, 10)
    transform(store, anew=window(0, 24))
    load(store, f"tcp://127.0.0.1:{closed_port()}?name=away")
    with hold(store, "account", "beta"), store.new_file("raw", "beta", at(0).date()):
        assert len(list((tmp_path / "above" / "staging" / ".tmp").iterdir())) == 1
        assert modes(tmp_path / "above") == {}
    assert {path.name for path in (tmp_path / "above" / "staging").iterdir()} == {
        "raw", "normalized", "rejected", "deliveries", ".locks", ".tmp",
    }  # fmt: skip
    assert tmp_path.stat().st_mode & 0o777 == 0o755, "what was there is left as it is"


def test_looser_staging_is_left_as_it_is(tmp_path: Path) -> None:
    """A folder that a group shares on purpose stays so; what is new in it is not shared."""
    store = open_store(str(tmp_path / "staging"))
    normalized(store, 3)
    shared = [tmp_path / "staging", *(tmp_path / "staging").rglob("*")]
    for path in shared:
        path.chmod(0o775 if path.is_dir() else 0o664)
    stage(store, window(3, 4), [("new", at(3))])
    transform(store)
    loose = {str(path) for path in shared if path.exists()}
    assert modes(tmp_path / "staging").keys() == loose


def test_exported_file(tmp_path: Path) -> None:
    """A new file of events is its owner's alone; one that is there keeps its mode."""
    store = open_store(str(tmp_path / "staging"))
    normalized(store, 3)
    for mode in (0o600, 0o640):
        export_to(store, window(0, 24), "cef", tmp_path / "lines")
        assert (tmp_path / "lines").stat().st_mode & 0o777 == mode
        (tmp_path / "lines").chmod(0o640)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["lines"]
