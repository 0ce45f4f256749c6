"""A store: names, files, folders, and what others can read of them."""

from __future__ import annotations

import os
import pickle
import shutil
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from tasks.errors import SettingsError, StagingError
from tasks.staging.schemas import RAW_SCHEMA
from tasks.staging.storage.files import FileGone
from tasks.staging.storage.remote_files import RemoteFiles
from tasks.staging.storage.writer import ROW_GROUP
from tasks.staging.store import Store, open_store
from tests.staging.staged_data import (
    DAY,
    at,
    broken,
    malformed,
    normalized,
    raw,
    some,
    stage,
    transform,
    window,
)

TODAY = DAY.date()


@pytest.fixture(params=["folder", "file system"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A staging in a folder, and one that only pyarrow's file systems know."""
    if request.param == "folder":
        return open_store(str(tmp_path / "staging"))
    (tmp_path / "bucket").mkdir()
    local = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())
    return Store(RemoteFiles(local, "prefix"))


def test_published_file(store: Store) -> None:
    """A published table is listed by its names and read back as it was."""
    store.publish(some(3), "raw", "alpha", TODAY, "a.parquet")
    assert store.accounts("raw") == ["alpha"]
    assert store.dates("raw", "alpha") == [TODAY]
    assert store.files("raw", "alpha", TODAY) == ["a.parquet"]
    assert store.names_by_day("raw", "alpha") == {TODAY: ["a.parquet"]}
    path = f"{store.folder('raw', 'alpha', TODAY)}/a.parquet"
    assert store.read(path).equals(some(3))
    assert store.read(path, ["event_id"]).column_names == ["event_id"]
    store.remove(path)
    store.remove(path)
    assert store.files("raw", "alpha") == []
    with pytest.raises(FileGone, match="not there any more"):
        store.read(path)


def test_nothing_there(store: Store) -> None:
    """An empty staging lists nothing, and listing makes nothing."""
    assert store.accounts("raw") == []
    assert store.dates("raw", "alpha") == []
    assert store.names_by_day("deliveries", "alpha", "sensor") == {}
    assert store.destinations() == []
    assert store.root is None or not store.root.exists()


def test_body_that_raises(store: Store) -> None:
    """A file whose writer fails never appears, and leaves nothing behind."""

    def fail() -> None:
        with store.writer(RAW_SCHEMA, "raw", "alpha", TODAY) as writer:
            writer.write(some(1))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert store.files("raw", "alpha") == []
    assert store.root is None or list((store.root / ".tmp").iterdir()) == []


def test_row_groups(store: Store) -> None:
    """Large files are written in row groups, read some rows at a time, and pruned by time."""
    rows = 2 * ROW_GROUP + 1
    table = some(rows).set_column(
        1, "created_at", pa.array([at(n / rows * 24) for n in range(rows)], RAW_SCHEMA.types[1])
    )
    store.publish(table, "raw", "alpha", TODAY, "a.parquet")
    path = f"{store.folder('raw', 'alpha', TODAY)}/a.parquet"
    sizes = [batch.num_rows for batch in store.batches(path, ["event_id"], 50_000)]
    assert sum(sizes) == rows
    assert max(sizes) == 50_000
    pruned = store.read(path, ["event_id"], within=window(0, 1))
    assert pruned.num_rows == ROW_GROUP


def test_row_groups_of_large_texts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The larger rows are, the fewer are written as one group and read at a time; at least one."""
    monkeypatch.setattr("tasks.staging.storage.writer.ROW_GROUP_BYTES", 100_000)
    sizes = [10] * 500 + [30_000] * 20 + [300_000] * 2 + [10] * 500
    table = some(len(sizes))
    column = table.schema.get_field_index("event")
    texts = pa.array(["x" * size for size in sizes], pa.string())
    table = table.set_column(column, "event", texts)
    store.publish(table, "raw", "alpha", TODAY, "a.parquet")
    path = f"{store.folder('raw', 'alpha', TODAY)}/a.parquet"
    batches = list(store.batches(path, ["event"]))
    assert [len(text) for batch in batches for text in batch["event"].to_pylist()] == sizes
    assert all(batch.nbytes <= 110_000 or batch.num_rows == 1 for batch in batches)
    assert len(batches) < 30


def test_hidden_until_complete(tmp_path: Path) -> None:
    """Until it is complete a file lies in `.tmp`, under a name that does not end in .parquet."""
    store = open_store(str(tmp_path))
    with store.writer(RAW_SCHEMA, "raw", "alpha", TODAY) as writer:
        writer.write(some(1))
        [hidden] = (tmp_path / ".tmp").iterdir()
        assert hidden.suffix != ".parquet"
        assert store.files("raw", "alpha") == []
        writer.name = "a.parquet"
    assert store.files("raw", "alpha") == ["a.parquet"]


@pytest.fixture
def done_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced and renamed in the staging, in order."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def record_fsync(fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink().relative_to(tmp_path)
        done.append("file" if path.match(".tmp/*") else str(path))
        fsync(fd)

    def record_rename(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "rename", record_rename)
    return done


def test_every_write_is_forced_to_disk(tmp_path: Path, done_to_disk: list[str]) -> None:
    """A file is synced before it gets its name, its folder after, and so is every new folder."""
    store = open_store(str(tmp_path))
    store.publish(some(1), "raw", "alpha", TODAY, "a.parquet")
    tree = "raw/account=alpha/date=2026-03-01"
    assert done_to_disk == [".", ".", "raw", "raw/account=alpha", "file", "rename", tree]
    done_to_disk.clear()
    store.publish(some(1), "raw", "alpha", TODAY, "b.parquet")
    assert done_to_disk == ["file", "rename", tree]


def test_folders_that_a_dead_process_made(tmp_path: Path, done_to_disk: list[str]) -> None:
    """A folder that is there may not be on disk: whoever made it may have died before it was."""
    tree = "raw/account=alpha/date=2026-03-01"
    (tmp_path / tree).mkdir(parents=True)
    open_store(str(tmp_path)).publish(some(1), "raw", "alpha", TODAY, "a.parquet")
    assert done_to_disk == [".", ".", "raw", "raw/account=alpha", "file", "rename", tree]


def test_folder_that_was_removed_meanwhile(tmp_path: Path) -> None:
    """A folder that somebody removed is made again for the next file."""
    store = open_store(str(tmp_path))
    store.publish(some(1), "raw", "alpha", TODAY, "a.parquet")
    shutil.rmtree(tmp_path / "raw")
    store.publish(some(1), "raw", "alpha", TODAY, "b.parquet")
    assert store.files("raw", "alpha") == ["b.parquet"]


@pytest.mark.parametrize("day", ["date=old", "day=2026-03-01", "date=20260301"])
def test_foreign_day(tmp_path: Path, day: str) -> None:
    """A folder that names no day is said, and no stack trace."""
    (tmp_path / "raw" / "account=alpha" / day).mkdir(parents=True)
    wanted = f"'raw/account=alpha/{day}' is no date=YYYY-MM-DD folder; move it out"
    with pytest.raises(StagingError, match=wanted):
        open_store(str(tmp_path)).dates("raw", "alpha")


def test_uris(tmp_path: Path) -> None:
    """A folder may be given as a file URI; what pyarrow cannot open is refused with a remedy."""
    assert open_store(f"file://{tmp_path}/a%20b").root == tmp_path / "a b"
    assert str(open_store("mock:///bucket/prefix")) == "mock://bucket/prefix"
    with pytest.raises(SettingsError, match="write a folder, or a URI such as s3://"):
        open_store("gopher://host/x")


def test_store_travels(store: Store) -> None:
    """A store can be sent to another process."""
    store.publish(some(1), "raw", "alpha", TODAY, "a.parquet")
    assert pickle.loads(pickle.dumps(store)).files("raw", "alpha") == ["a.parquet"]


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A staging with all that makes files differ: empty ones, generations, rejects."""
    store = open_store(str(tmp_path))
    for account in ("alpha", "12345"):
        normalized(store, 10, account=account)
        stage(
            store, window(5, 6), broken(raw([(f"{account}-bad", at(5))]), f"{account}-bad"), account
        )
        stage(store, window(7, 8), (), account)
        transform(store, account)
        transform(store, account, window(0, 24))
    from tasks.staging.raw import stage_window

    rows = malformed((None, None, "1"), ("m", at(3), "2"))
    stage_window(store, "alpha", window(0, 24), raw([]), rows, "run")
    return tmp_path


@pytest.mark.parametrize("stage", ["raw", "normalized", "rejected"])
def test_bare_readers(filled: Path, stage: str) -> None:
    """pandas, DuckDB and pyarrow's datasets open each tree as one table, partitions and all."""
    duckdb = pytest.importorskip("duckdb")
    expected = {"raw": 22, "normalized": 20, "rejected": 4}[stage]
    by_pandas = pd.read_parquet(filled / stage)
    by_duckdb = duckdb.sql(
        f"select * from read_parquet('{filled}/{stage}/**/*.parquet', hive_partitioning=true)"
    )
    by_dataset = ds.dataset(filled / stage, partitioning="hive")
    assert len(by_pandas) == expected
    assert len(by_duckdb.fetchall()) == expected
    assert by_dataset.count_rows() == expected
    for names in (list(by_pandas.columns), by_duckdb.columns, by_dataset.schema.names):
        assert names[-2:] == ["account", "date"]
    # what a bare reader's schema is, every file's is, whichever it comes upon first
    schemas = {str(pq.read_schema(path)) for path in (filled / stage).rglob("*.parquet")}
    assert len(schemas) == 1


def test_no_partition_inside(filled: Path) -> None:
    """The files hold no column of the folders' names: a bare reader would see two of them."""
    for path in filled.rglob("*.parquet"):
        assert not {"account", "date", "destination"} & set(pq.read_schema(path).names)


def test_digits_stay_text(filled: Path) -> None:
    """An account of digits alone is text to our own listing."""
    assert open_store(str(filled)).accounts("raw") == ["12345", "alpha"]
    assert open_store(str(filled)).dates("raw", "12345") == [date(2026, 3, 1)]
