from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.plugin.fields import MAPPING_VERSION, NORMALIZED_SCHEMA
from tasks.staging import normalized_rows
from tasks.staging.locks import hold
from tasks.staging.names import file_names
from tasks.staging.schemas import REJECTED_SCHEMA
from tasks.transform.account import TransformResult, transform_account
from tests.staging.staged_data import (
    DAY,
    at,
    broken,
    ids,
    raw,
    read,
    realistic,
    stage,
    transform,
    window,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store
    from tasks.time_window import Window

TODAY = DAY.date()
EVENTS = [("a", at(2)), ("b", at(2.2)), ("c", at(2.4))]


def test_every_event_is_normalized_or_rejected_once(store: Store) -> None:
    """Raw is normalized plus rejected; a rejected event is whole, with its reason."""
    stage(store, window(2, 3), broken(raw(EVENTS), "b"))
    done = transform(store)
    assert (done.files, done.normalized, done.rejected, done.problems) == (1, 2, 1, [])
    assert "1 event could not be normalized" in done.warnings[0]
    assert ids(store, "normalized") == ["a", "c"]
    [row] = read(store, "rejected").drop(["file"]).to_pylist()
    assert row.pop("reason")
    assert row.pop("rejected_at").tzinfo is not None
    assert row == {
        "event_id": "b",
        "created_at": at(2.2),
        "stage": "transform",
        "event": "{",
        "run_id": "run",
    }
    assert read(store, "rejected").drop(["file"]).schema.equals(REJECTED_SCHEMA)
    assert read(store, "normalized").drop(["file"]).schema.equals(NORMALIZED_SCHEMA)


def test_nothing_to_do_opens_no_file(store: Store, tmp_path: Path) -> None:
    """What is to be done is told by names: settled files may be anything, and are not touched."""
    stage(store, window(2, 3), EVENTS)
    transform(store)
    for path in tmp_path.rglob("*.parquet"):
        path.write_bytes(b"cannot be opened")
    before = sorted(tmp_path.rglob("*.parquet"))
    assert transform(store) == TransformResult("alpha")
    assert sorted(tmp_path.rglob("*.parquet")) == before


def test_idle_hours_need_no_file(store: Store) -> None:
    """A raw file of no rows has nothing to normalize, and its name says so."""
    stage(store, window(2, 3))
    assert transform(store).files == 0
    assert store.files("normalized", "alpha") == []


def test_nothing_but_rejects(store: Store) -> None:
    """A raw file of which nothing can be normalized is done, too: it has an empty file."""
    stage(store, window(2, 3), broken(raw(EVENTS[:1]), "a"))
    transform(store)
    assert ids(store, "normalized") == []
    assert len(store.files("normalized", "alpha")) == 1
    assert transform(store).files == 0


def test_same_raw_file_same_rows(store: Store) -> None:
    """Normalizing anew gives the same rows in a new generation, and the old one is gone."""
    stage(store, window(0, 24), realistic(500, at(0), at(24)))
    transform(store)
    before = read(store, "normalized").drop(["file"])
    assert transform(store, anew=window(0, 1)).files == 1
    assert read(store, "normalized").drop(["file"]).equals(before)
    [file] = file_names.normalized_files(store.files("normalized", "alpha"))
    assert file.generation == 2


def test_large_raw_file(store: Store) -> None:
    """A raw file of many rows is normalized some rows at a time, in order, into one file."""
    events = raw([(f"e{n:06}", at(n / 70_000 * 24)) for n in range(70_000)])
    stage(store, window(0, 24), broken(events, "e000007", "e069999"))
    done = transform(store)
    assert (done.files, done.normalized, done.rejected) == (1, 69_998, 2)
    created = read(store, "normalized")["created_at"].to_pylist()
    assert created == sorted(created)
    assert ids(store, "rejected") == ["e000007", "e069999"]


def test_mapping_version(store: Store, tmp_path: Path) -> None:
    """A normalized file tells the version of the mapping; what an older one lacks reads as null."""
    stage(store, window(2, 3), EVENTS)
    transform(store)
    [path] = (tmp_path / "normalized").rglob("*.parquet")
    metadata = pq.read_schema(path).metadata
    assert metadata[b"halo_usm.mapping_version"] == MAPPING_VERSION.encode()
    pq.write_table(pq.read_table(path, partitioning=None).drop(["extras", "server_id"]), path)
    relative = str(path.relative_to(tmp_path))
    [table] = normalized_rows.batches(store, relative)
    assert table.schema.equals(NORMALIZED_SCHEMA)
    assert table["server_id"].null_count == 3
    assert table["event_id"].to_pylist() == ["a", "b", "c"]


def test_unknown_types(store: Store) -> None:
    """Events of unknown types are counted by type, and the file's name says that it has some."""
    events = raw(EVENTS)
    text = json.dumps({"id": "a", "type": "new_kind", "message": "?"})
    events = events.set_column(5, "event", pa.array([text, *events["event"].to_pylist()[1:]]))
    stage(store, window(2, 3), events)
    stage(store, window(3, 4), [("known", at(3))])
    assert transform(store).unknown_types == {"new_kind": 1}
    files = file_names.normalized_files(store.files("normalized", "alpha"))
    assert [file.unknown for file in files] == [True, False]


def test_altered_raw_file(store: Store, tmp_path: Path) -> None:
    """A raw file that has not the rows its name tells is a problem, and stops no other file."""
    stage(store, window(2, 3), EVENTS)
    stage(store, window(3, 4), [("d", at(3))])
    [path] = (tmp_path / "raw").rglob("020000*.parquet")
    pq.write_table(pq.read_table(path, partitioning=None).slice(1), path)
    done = transform(store)
    [problem] = done.problems
    assert "the file was altered" in problem
    assert ids(store, "normalized") == ["d"]


def test_nothing_to_do(store: Store) -> None:
    """A transform that finds nothing to do says why, where it is asked."""

    def transformed(where: Window | None, *, say_why: bool = True) -> list[str]:
        done = transform_account(
            store,
            "alpha",
            device_address="192.0.2.1",
            run_id="run",
            window=where,
            say_why=say_why,
        )
        return done.notes

    stage(store, window(0, 1), [("a", at(0))])
    assert transformed(None) == []
    assert transformed(None) == ["account alpha: nothing to do: every event is normalized"]
    assert transformed(None, say_why=False) == []
    [note] = transformed(window(5, 6))
    assert "no event is staged in the range" in note


def test_account_in_use(store: Store) -> None:
    """An account held by another run is left to it, with a note and no problem."""
    stage(store, window(2, 3), EVENTS)
    with hold(store, "account", "alpha"):
        done = transform(store)
        assert (done.files, done.problems) == (0, [])
        assert done.held
        assert "held by another run" in done.notes[0]
    assert transform(store).files == 1


def test_stop_between_files(store: Store) -> None:
    """Asked to stop, a transform ends after the file in hand, and the next goes on."""
    for hour in range(3):
        stage(store, window(hour, hour + 1), [(f"e{hour}", at(hour))])
    stop = threading.Event()
    done = transform_account(
        store,
        "alpha",
        device_address="192.0.2.1",
        run_id="run",
        stop=stop,
        progress=lambda *_: stop.set(),
    )
    assert (done.files, done.interrupted) == (1, True)
    assert transform(store).files == 2


def test_foreign_folders_stop_no_account(store: Store, tmp_path: Path) -> None:
    """A folder that is no account's is named once; one in an account fails that account alone."""
    for account in ("alpha", "beta"):
        stage(store, window(0, 24), [(account, at(1))], account)
    (tmp_path / "raw" / "account=").mkdir()
    done = [transform(store, account) for account in store.accounts("raw")]
    assert [result.normalized for result in done] == [1, 1]
    [problem] = [problem for result in done for problem in result.problems]
    assert "'raw/account=' is no account=… folder; move it out of the staging" in problem
    (tmp_path / "raw" / "account=").rmdir()
    (tmp_path / "raw" / "account=alpha" / "date=2026-03-01" / "mine.parquet").touch()
    [problem], [] = (transform(store, account).problems for account in store.accounts("raw"))
    assert "'raw/account=alpha/date=2026-03-01/mine.parquet' is no name of a raw file" in problem
