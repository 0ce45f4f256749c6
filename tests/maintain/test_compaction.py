from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from tasks.maintain.compaction import CompactionResult
from tasks.reports.event_history import audit_event
from tasks.staging import coverage
from tasks.staging.known_ids import KnownIds
from tasks.staging.locks import hold
from tests.maintain.days import compact, dense_day, files, load, look, on_disk
from tests.staging.staged_data import at, ids, read, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    import pytest

    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination
    from tests.staging.rejecting_receiver import RejectingReceiver


def test_day_becomes_one_file_of_each_kind(
    store: Store, sensor: Destination, tmp_path: Path
) -> None:
    """A day that is over is one sorted file a tree, with every row as it was, for every reader."""
    events = dense_day(store)
    load(store, sensor)
    before, known = look(store, sensor, tmp_path / "export"), coverage.read_coverage(store, "alpha")
    rows = {tree: read(store, tree).drop(["file"]) for tree in ("raw", "rejected", "normalized")}
    attempts = read(store, "deliveries", destination="rejecting").drop(["file"])
    done = compact(store, sensor)
    assert (done.days, done.ledgers, done.notes, done.problems) == (1, 1, [], [])
    assert look(store, sensor, tmp_path / "export") == before
    assert coverage.read_coverage(store, "alpha").covered == known.covered
    for tree, expected in rows.items():
        found = read(store, tree).drop(["file"])
        order = [
            ("event_id", "ascending"),
            ("stage" if tree == "rejected" else "created_at", "ascending"),
        ]
        assert found.sort_by(order).equals(expected.sort_by(order))
    found = read(store, "deliveries", destination="rejecting").drop(["file"])
    assert found.sort_by("event_id").equals(attempts.sort_by("event_id"))
    for tree, ledger in (("raw", ""), ("normalized", ""), ("deliveries", "rejecting")):
        [name] = files(store, tree, destination=ledger)
        folder = store.folder(tree, "alpha", at(0).date(), ledger)
        file = pq.ParquetFile(f"{store}/{folder}/{name}")
        times = file.read(["created_at"])["created_at"].to_pylist()
        assert times == sorted(times)
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert len(audit_event(store, events[0]).deliveries) == 1
    assert compact(store, sensor) == CompactionResult(), "and nothing is left to be done"


def test_attempts_of_an_event_stay_apart(
    store: Store, sensor: Destination, receiver: RejectingReceiver
) -> None:
    """Every attempt is in the compacted ledger, and an audit of the event shows each."""
    first, *_ = dense_day(store, files=2)
    receiver.accept = lambda _: False
    load(store, sensor)
    receiver.accept = lambda _: True
    load(store, sensor)
    tried = audit_event(store, first).deliveries
    assert len(tried) > 1
    compact(store, sensor)
    found = audit_event(store, first).deliveries
    for row in (*tried, *found):
        del row["file"]
    assert found == tried


def test_dry_run(store: Store, sensor: Destination) -> None:
    """A dry run counts what would be merged, and writes nothing."""
    dense_day(store)
    load(store, sensor)
    before = sorted(Path(str(store)).rglob("*"))
    planned = compact(store, sensor, dry_run=True)
    assert sorted(Path(str(store)).rglob("*")) == before
    done = compact(store, sensor)
    assert (planned.days, planned.ledgers) == (done.days, done.ledgers)


def test_late_event(store: Store, sensor: Destination, receiver: RejectingReceiver) -> None:
    """What appears after a compaction is staged, sent once, and merged by the next compaction."""
    events = dense_day(store)
    load(store, sensor)
    compact(store, sensor)
    stage(store, window(2, 8), [(events[0], at(0)), ("late", at(3))])
    assert stage(store, window(2, 8), [("late", at(3))]).known == 1
    transform(store)
    assert load(store, sensor).tried == 1
    assert [name.rpartition("-")[2] for name in files(store, "raw")] == ["c1.parquet", "a1.parquet"]
    assert compact(store, sensor).days == 1
    assert [name.rpartition("-")[2] for name in files(store, "raw")] == ["c2.parquet"]
    assert ids(store, "raw") == sorted([*events, "late"])
    assert load(store, sensor).tried == 0
    assert len(receiver.received) == len(set(receiver.received))


def test_ids_of_a_compacted_day_are_known(store: Store, sensor: Destination) -> None:
    """An event that is listed with another date is known although its file was replaced."""
    [first, *_] = dense_day(store)
    compact(store)
    assert stage(store, window(3, 4, 1), [(first, at(3, 1))]).redated == 1
    assert ids(store, "raw").count(first) == 1
    known = KnownIds(store, "alpha")
    event_ids = read(store, "raw")["event_id"]
    assert sorted(known.staged(event_ids).to_pylist()) == sorted(event_ids.to_pylist())
    assert known.unreadable == []


def left(store: Store, *sensors: Destination) -> list[str]:
    """Why nothing is compacted."""
    done = compact(store, *sensors)
    assert (done.days, done.ledgers, done.problems) == (0, 0, [])
    return done.notes


def test_days_that_are_left(store: Store, sensor: Destination) -> None:
    """A gap, what is not normalized, what is pending and a lock held leave a day, and are said."""
    dense_day(store)
    [note] = left(store, sensor)
    assert note.endswith(
        "2026-03-01 is not compacted: events are pending for destination rejecting"
    )
    load(store, sensor)
    with hold(store, "account", "alpha"):
        done = compact(store, sensor, wait=0)
    assert (done.days, done.ledgers) == (0, 1), "the destination is free"
    assert "account alpha is held by another run" in done.notes[0]
    stage(store, window(2, 8), [("late", at(3))])
    [note] = left(store, sensor)
    assert "2026-03-01 is not compacted: not all is normalized" in note
    for hour in (0, 4):
        stage(store, window(hour, hour + 2, 5), [(f"f{hour}", at(hour, 5))])
    transform(store)
    notes = left(store, sensor)
    assert any("2026-03-06 is not compacted: there is a gap" in note for note in notes)


def test_day_that_is_not_over(store: Store) -> None:
    """The day that syncs still read again is left, and no word is said of it."""
    dense_day(store)
    assert compact(store, now=at(23, 0)) == CompactionResult()


def test_first_day_and_lost_time(store: Store) -> None:
    """A day is compacted from where its account begins, or from the end of what is lost."""
    coverage.mark_beginning(store, "alpha", at(7), synced=True)
    dense_day(store, first=7)
    coverage.mark_lost(store, "alpha", window(0, 6, 1))
    dense_day(store, 1, first=6)
    before = coverage.read_coverage(store, "alpha")
    assert compact(store).days == 2
    after = coverage.read_coverage(store, "alpha")
    assert (after.covered, after.lost, after.begin, after.synced) == (
        before.covered,
        before.lost,
        before.begin,
        True,
    )
    assert len(files(store, "raw")) == len(files(store, "raw", 1)) == 2, "with the marks"


def test_normalizing_anew(store: Store, sensor: Destination, receiver: RejectingReceiver) -> None:
    """A compacted day is normalized anew as any other, and nothing of it is sent again."""
    dense_day(store)
    load(store, sensor)
    compact(store, sensor)
    before = sorted(ids(store, "normalized"))
    assert transform(store, anew=window(0, 1)).files == 1
    assert sorted(ids(store, "normalized")) == before
    assert load(store, sensor).tried == 0
    assert len(receiver.received) == len(before)


def test_damaged_file_is_named(store: Store) -> None:
    """A file that cannot be read is named, its day stays as it was, and others are compacted."""
    dense_day(store, 0)
    dense_day(store, 1)
    name = files(store, "normalized")[2]
    path = on_disk(store, "normalized") / name
    path.write_bytes(path.read_bytes()[:100])
    done = compact(store)
    assert done.days == 1
    [problem] = done.problems
    assert "account alpha, 2026-03-01 cannot be compacted: " in problem
    assert name in problem
    assert (
        "`halo-usm transform --since 2026-03-01T08:00:00Z --until 2026-03-01T12:00:00Z`" in problem
    )
    assert len(files(store, "raw")) == 6
    assert list(Path(str(store), ".tmp").iterdir()) == []


def test_damaged_compacted_file(
    store: Store, sensor: Destination, receiver: RejectingReceiver, tmp_path: Path
) -> None:
    """The advice for a damaged compacted raw file makes the staging sound; nothing is sent anew."""
    events = dense_day(store)
    load(store, sensor)
    compact(store, sensor)
    before = look(store, sensor, tmp_path / "export")
    [name] = files(store, "raw")
    path = on_disk(store, "raw") / name
    path.write_bytes(path.read_bytes()[:100])
    done = transform(store, anew=window(0, 1))
    assert "--since 2026-03-01T00:00:00Z --until 2026-03-02T00:00:00Z" in done.problems[0]
    path.unlink()
    dense_day(store)
    assert sorted(set(ids(store, "raw"))) == sorted(events)
    assert load(store, sensor).tried == 0
    assert compact(store, sensor).problems == []
    assert look(store, sensor, tmp_path / "export")[0] == before[0]
    assert len(files(store, "raw")) == len(files(store, "normalized")) == 1
    assert len(receiver.received) == len(set(receiver.received))


def test_destination_that_leaves_events_out(
    store: Store, receiver: RejectingReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is settled for a destination by a note is noted anew: no load opens the day again."""
    dense_day(store)
    nothing = destination(receiver.url(types="issue_created"))
    load(store, nothing)
    assert compact(store, nothing).days == 1
    monkeypatch.setattr(store.backend, "open", None)
    assert load(store, nothing).problems == []
    monkeypatch.undo()
    everything = destination(receiver.url())
    assert load(store, everything).delivered == len(ids(store, "normalized"))


def test_ledger_note_is_renewed(store: Store, receiver: RejectingReceiver) -> None:
    """So it is where its ledger is compacted, too: the older note is void, and removed."""
    dense_day(store)
    load(store, destination(receiver.url(since="2026-03-01T12:00:00", batch=2)))
    sensor = destination(receiver.url(types="server_restarted", batch=2))
    load(store, sensor)
    assert compact(store, sensor).ledgers == 1
    names = files(store, "deliveries", destination="rejecting")
    assert len(names) == 1 + any(name.startswith("settled") for name in names)
    assert load(store, sensor).tried == 0


def test_mapping_versions_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compacted file says by which versions of the mapping its events were normalized."""
    from tasks.plugin import fields

    stage(store, window(0, 12), [("a", at(1))])
    transform(store)
    stage(store, window(12, 24), [("b", at(13))])
    older = fields.NORMALIZED_SCHEMA.with_metadata({fields.MAPPING_VERSION_KEY: "0.9"})
    monkeypatch.setattr(fields, "NORMALIZED_SCHEMA", older)
    transform(store)
    monkeypatch.undo()
    compact(store)
    [name] = files(store, "normalized")
    folder = store.folder("normalized", "alpha", at(0).date())
    metadata = store.read(f"{folder}/{name}", ["event_id"]).schema.metadata
    versions = metadata[fields.MAPPING_VERSION_KEY.encode()].decode()
    assert versions == f"0.9, {fields.MAPPING_VERSION}"
