"""Normalized and rejected files whose raw file somebody moved out, as a damaged one is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tasks.reports.audit import RangeAudit, audit_range
from tasks.reports.export import export_to
from tasks.reports.status import status
from tests.load.helpers import load, replay, rows
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import DAY, at, broken, ids, raw, read, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.staging.store import Store

EVENTS = [(f"e{n}", at(2 + n / 20)) for n in range(10)]
IDS = [event_id for event_id, _ in EVENTS]


@pytest.fixture
def receiver() -> Iterator[RejectingReceiver]:
    """A receiver that takes everything, until told otherwise."""
    with RejectingReceiver(lambda _: True) as receiver:
        yield receiver


def audit(store: Store, receiver: RejectingReceiver) -> RangeAudit:
    """An audit of the whole day."""
    return audit_range(store, window(0, 24), [destination(receiver.url())])


def counts(store: Store, receiver: RejectingReceiver) -> tuple[int, ...]:
    """Staged, normalized, rejected, delivered and pending, as `status` says."""
    found = status(store, [destination(receiver.url())])
    account, sensor = found.accounts["alpha"], found.destinations["rejecting"]
    staged = account.staged, account.normalized, account.rejected
    return *staged, sensor.delivered, sensor.pending


def move_out(tmp_path: Path, since: str = "02") -> Path:
    """Move the one raw file of a window out of the staging; where it lies now."""
    [file] = (tmp_path / "raw").rglob(f"{since}*.parquet")
    return file.rename(tmp_path / f"{file.name}.damaged")


def test_range_that_is_extracted_anew_counts_once(
    store: Store, receiver: RejectingReceiver, tmp_path: Path
) -> None:
    """A raw file moved out and extracted anew: counted once, nothing sent twice, nothing lost."""
    stage(store, window(2, 3), broken(raw(EVENTS), "e7"))
    transform(store)
    load(store, receiver.url())
    move_out(tmp_path)
    stage(store, window(2, 2.2), broken(raw(EVENTS), "e7"))
    stage(store, window(2.2, 3), broken(raw(EVENTS), "e7"))

    done = transform(store)
    assert (done.normalized, done.rejected, done.problems) == (9, 1, [])
    [rejected], [dropped] = done.warnings, done.notes
    assert "could not be normalized" in rejected
    assert "9 normalized and 1 rejected events of [2026-03-01T02:00:00Z, " in dropped
    assert "raw file is gone" in dropped
    assert "extract" not in dropped, "all of them came back"
    assert ids(store, "normalized") == [event_id for event_id in IDS if event_id != "e7"]
    assert ids(store, "rejected") == ["e7"]
    assert load(store, receiver.url()).batches == 0
    assert counts(store, receiver) == (10, 9, 1, 9, 0)
    found = audit(store, receiver)
    assert (found.consistent, found.problems) == (True, [])
    assert transform(store).notes == []


def test_meanwhile_nothing_counts_or_goes_out_twice(
    store: Store, receiver: RejectingReceiver, tmp_path: Path
) -> None:
    """Until a transform drops them, files without their raw file count for nothing anywhere."""
    stage(store, window(2, 3), EVENTS[:5])
    transform(store)
    [old] = (tmp_path / "normalized").rglob("*.parquet")
    content = old.read_bytes()
    move_out(tmp_path)
    stage(store, window(2, 3), EVENTS)
    transform(store)
    old.write_bytes(content)
    assert read(store, "normalized").num_rows == 15, "the old file is there, too"

    assert counts(store, receiver) == (10, 10, 0, 0, 10)
    assert load(store, receiver.url()).delivered == 10
    assert counts(store, receiver) == (10, 10, 0, 10, 0)
    assert replay(store, receiver.url(), window(0, 24), "all").delivered == 10
    assert Counter(receiver.received) == dict.fromkeys(IDS, 2)
    assert export_to(store, window(0, 24), "json", tmp_path / "lines") == 10
    found = audit(store, receiver)
    assert (found.normalized, found.destinations["rejecting"].delivered) == (10, 10)
    [problem] = found.problems
    assert "`halo-usm transform` drops them" in problem


def test_raw_moved_out_and_not_extracted(
    store: Store, receiver: RejectingReceiver, tmp_path: Path
) -> None:
    """Not extracted anew, the range is a gap; what came of it is dropped, and what to do said."""
    stage(store, window(2, 3), broken(raw(EVENTS), "e7"))
    stage(store, window(3, 4), [("f", at(3))])
    transform(store)
    load(store, receiver.url())
    move_out(tmp_path)
    [note] = transform(store).notes
    assert "9 normalized and 1 rejected events" in note
    assert "10 of them are staged no longer" in note
    assert "`halo-usm extract --since 2026-03-01T02:00:00Z --until 2026-03-01T03:00:00Z`" in note
    assert ids(store, "normalized") == ["f"]
    assert ids(store, "rejected") == []
    assert counts(store, receiver) == (1, 1, 0, 1, 0)
    assert status(store).accounts["alpha"].covered == [window(3, 4)]
    # and once it is extracted
    stage(store, window(2, 3), broken(raw(EVENTS), "e7"))
    assert transform(store).normalized == 9
    assert load(store, receiver.url()).batches == 0
    assert counts(store, receiver) == (11, 10, 1, 10, 0)
    assert audit(store, receiver).problems == []


@pytest.mark.parametrize("transformed", [False, True], ids=["at once", "after a transform"])
def test_other_events_come_back(
    store: Store, receiver: RejectingReceiver, tmp_path: Path, *, transformed: bool
) -> None:
    """New events in the place of delivered ones that are no more are delivered, by names too."""
    stage(store, window(2, 3), EVENTS)
    transform(store)
    load(store, receiver.url())
    move_out(tmp_path)
    if transformed:
        transform(store)
    new = [*EVENTS[3:], *((f"n{n}", at(2.9)) for n in range(3))]
    stage(store, window(2, 3), new)
    done = transform(store)
    if not transformed:
        assert "3 of them are staged no longer" in done.notes[0]
    assert counts(store, receiver) == (10, 10, 0, 7, 3)
    assert load(store, receiver.url()).delivered == 3
    assert sorted(receiver.received) == sorted([*IDS, "n0", "n1", "n2"])
    assert load(store, receiver.url()).batches == 0
    stage(store, window(2, 3), [*new, ("late", at(2.5))])
    transform(store)
    assert load(store, receiver.url()).delivered == 1
    assert counts(store, receiver) == (11, 11, 0, 11, 0)


def test_raw_file_comes_back_itself(
    store: Store, receiver: RejectingReceiver, tmp_path: Path
) -> None:
    """A raw file that was restored after a transform is normalized again, and nothing sent."""
    stage(store, window(2, 3), EVENTS)
    transform(store)
    load(store, receiver.url())
    [file] = (tmp_path / "raw").rglob("*.parquet")
    away = move_out(tmp_path)
    transform(store)
    assert ids(store, "normalized") == []
    away.rename(file)
    assert counts(store, receiver) == (10, 0, 0, 0, 0)
    assert transform(store).normalized == 10
    assert transform(store).files == 0
    assert load(store, receiver.url()).batches == 0
    assert counts(store, receiver) == (10, 10, 0, 10, 0)
    assert audit(store, receiver).problems == []


def test_twice_in_a_row(store: Store, receiver: RejectingReceiver, tmp_path: Path) -> None:
    """The second copy may be damaged, too; and a raw file without normalized events."""
    for part in (EVENTS[:4], EVENTS[:7], EVENTS):
        stage(store, window(2, 3), part)
        transform(store)
        load(store, receiver.url())
        move_out(tmp_path)
        transform(store)
    stage(store, window(2, 3), broken(raw(EVENTS[:1]), "e0"))
    transform(store)
    move_out(tmp_path)
    assert "0 normalized and 1 rejected events" in transform(store).notes[0]
    stage(store, window(2, 3), EVENTS)
    transform(store)
    assert load(store, receiver.url()).batches == 0
    assert Counter(receiver.received) == dict.fromkeys(IDS, 1)
    assert audit(store, receiver).problems == []


def test_orphan_that_cannot_be_read(
    store: Store, receiver: RejectingReceiver, tmp_path: Path
) -> None:
    """What is dropped need not be readable: then all of it is taken for staged no longer."""
    stage(store, window(2, 3), EVENTS)
    transform(store)
    load(store, receiver.url())
    [old] = (tmp_path / "normalized").rglob("*.parquet")
    old.write_bytes(b"PAR1 or so")
    move_out(tmp_path)
    stage(store, window(2, 3), EVENTS)
    done = transform(store)
    assert done.problems == []
    assert ids(store, "normalized") == IDS
    assert load(store, receiver.url()).batches == 0
    assert counts(store, receiver) == (10, 10, 0, 10, 0)
    stage(store, window(2, 3), [*EVENTS, ("late", at(2.5))])
    transform(store)
    assert load(store, receiver.url()).delivered == 1


def test_waiting_raw_file_keeps_its_predecessor(store: Store, tmp_path: Path) -> None:
    """What the new raw file cannot replace yet is not dropped: only then is known what is lost."""
    stage(store, window(2, 3), EVENTS)
    transform(store)
    move_out(tmp_path)
    stage(store, window(2, 3), EVENTS)
    [new] = (tmp_path / "raw").rglob("*.parquet")
    good = new.read_bytes()
    new.write_bytes(b"PAR1 or so")
    [problem] = (done := transform(store)).problems
    assert str(new) in problem
    assert done.notes == []
    assert len(ids(store, "normalized")) == 10
    new.write_bytes(good)
    assert "dropped" in transform(store).notes[0]
    assert ids(store, "normalized") == IDS


@pytest.mark.parametrize("step", range(6))
def test_crash_while_dropping(
    store: Store,
    receiver: RejectingReceiver,
    tmp_path: Path,
    step: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cut off at any write or removal, the next transform ends in the same state."""
    stage(store, window(2, 3), broken(raw(EVENTS), "e7"))
    transform(store)
    load(store, receiver.url())
    move_out(tmp_path)
    stage(store, window(2, 3), EVENTS[:6])
    left = step
    with monkeypatch.context() as patch:
        for name in ("create", "remove"):
            work = getattr(store.backend, name)

            def die(*args: object, work: Any = work) -> Any:
                nonlocal left
                if not left:
                    raise KeyboardInterrupt
                left -= 1
                return work(*args)

            patch.setattr(store.backend, name, die)
        if step < 4:
            with pytest.raises(KeyboardInterrupt):
                transform(store)
        else:
            transform(store)
    transform(store)
    assert ids(store, "normalized") == IDS[:6]
    assert ids(store, "rejected") == []
    assert counts(store, receiver) == (6, 6, 0, 6, 0)
    stage(store, window(2, 3), [*EVENTS[:6], *((f"n{n}", at(2.9)) for n in range(3))])
    transform(store)
    load(store, receiver.url())
    assert receiver.received[-3:] == ["n0", "n1", "n2"]
    assert len(rows(store)) == 12


def test_late_event_covers_nothing(store: Store, tmp_path: Path) -> None:
    """A late event's file stands for no time: without the file around it that time is a gap."""
    stage(store, window(2, 3), EVENTS)
    stage(store, window(2, 3), [*EVENTS, ("late", at(2.1)), ("later", at(2.9))])
    assert len(store.files("raw", "alpha", DAY.date())) == 2
    move_out(tmp_path, "020000")
    assert status(store).accounts["alpha"].covered == []
