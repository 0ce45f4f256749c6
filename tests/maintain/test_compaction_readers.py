from __future__ import annotations

import multiprocessing
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import pytest

from tasks.errors import StagingError
from tasks.load.replay import replay_destination
from tasks.load.replay_plan import plan_replay
from tasks.staging import day_files
from tasks.staging.storage.remote_files import RemoteFiles
from tasks.staging.store import open_store
from tasks.staging.unfinished import unfinished
from tests.maintain.days import BATCH, compact, dense_day, files, load, look
from tests.staging.staged_data import at, ids, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination
    from tests.staging.rejecting_receiver import RejectingReceiver

REPLAYED = window(0, 24)


def replay(store: Store, sensor: Destination) -> Any:
    """Deliver all of the first day again."""
    return replay_destination(
        store, sensor, REPLAYED, only="all", run_id="replay", pauses=(0.0, 0.0), wait=60
    )


@dataclass
class Readers:
    """Readers of every kind, each of which has to find what it is to find, over and over again.

    Attributes:
        faults: What a reader found else.
        looks: How often one looked.
    """

    store: Store
    sensor: Destination
    output: Path
    replays: bool
    faults: list[str] = field(default_factory=list)
    looks: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.expected = look(self.store, self.sensor, self.output / "expected")
        self.asked = self.planned()
        kinds = [self.look, self.plan, self.replay if self.replays else self.load]
        self.threads = [threading.Thread(target=self.keep, args=(read,)) for read in kinds]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()
        assert self.faults == []
        assert self.looks > len(self.threads)

    def keep(self, read: Callable[[], object]) -> None:
        """Read until all is over; locks are free in between."""
        while not (self.over.wait(0.1) or self.faults):
            try:
                found = read()
            except Exception as fault:  # noqa: BLE001 - it is shown
                found = repr(fault)
            if found:
                self.faults.append(f"{read.__name__}: {found}")
            self.looks += 1

    def planned(self) -> int:
        """How many events a replay would send."""
        plan = plan_replay(self.store, [self.sensor], REPLAYED, "all")
        assert plan.problems == []
        return sum(day.asked for day in plan.days)

    def look(self) -> object:
        """Audit, status, export and notebook."""
        audit, state, found = look(self.store, self.sensor, self.output / "export")
        if self.replays:  # each of them adds attempts
            found["deliveries"] = self.expected[2]["deliveries"]
        return None if (audit, state, found) == self.expected else (audit, state, found)

    def plan(self) -> object:
        """A dry run of a replay."""
        found = self.planned()
        return found if found != self.asked else None

    def load(self) -> object:
        """There is nothing to be sent."""
        done = load(self.store, self.sensor)
        return None if (done.tried, done.problems) == (0, []) else done

    def replay(self) -> object:
        """All of the first day is sent again."""
        done = replay(self.store, self.sensor)
        return None if (done.delivered, done.problems) == (self.asked, []) else done


def compact_days(store: Store, sensor: Destination, days: int, grace: float) -> None:
    """Compact days."""
    assert compact(store, sensor, grace=grace, wait=60).problems == []
    for tree in ("raw", "normalized"):
        assert {len(files(store, tree, day)) for day in range(days)} == {1}


@pytest.mark.parametrize("replays", [False, True])
def test_readers_beside_a_compaction(
    store: Store, sensor: Destination, tmp_path: Path, *, replays: bool
) -> None:
    """Whatever is read or sent while days are compacted, every count is right at any moment."""
    for day in range(2):
        dense_day(store, day, files=4)
    load(store, sensor)
    with Readers(store, sensor, tmp_path, replays):
        compact_days(store, sensor, 2, 0.3)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("replays", [False, True])
def test_readers_beside_many_compactions(
    store: Store, sensor: Destination, tmp_path: Path, *, replays: bool
) -> None:
    """So it is over and over again, with late events in between."""
    for day in range(20):
        dense_day(store, day, files=24)
    load(store, sensor)
    for turn in range(10):
        with Readers(store, sensor, tmp_path, replays):
            compact_days(store, sensor, 20, 0.3)
        for day in range(20):
            for hour in (1, 2, 20):
                stage(store, window(0, 24, day), [(f"late-{turn}-{day}-{hour}", at(hour, day))])
                transform(store)
        load(store, sensor)


@pytest.mark.parametrize("listing", ["names_by_folder", "names"])
def test_compaction_while_names_are_listed(
    store: Store, listing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day that is compacted between the listings of its trees is seen whole, before or after."""
    dense_day(store)
    events = len(ids(store, "normalized"))
    other = open_store(str(store.root))
    list_it, number = getattr(store.backend, listing), 0

    def list_and_compact(*arguments: Any) -> Any:
        nonlocal number
        found = list_it(*arguments)
        if number % 4 == 0 and number < 8:
            compact(other)
        number += 1
        return found

    monkeypatch.setattr(store.backend, listing, list_and_compact)
    day = at(0).date()
    states = []
    if listing == "names_by_folder":
        assert unfinished(store, "alpha") == {}
        states = [day_files.days(store, "alpha")[day]]
    else:
        states = [day_files.day_of(store, "alpha", day)]
        current = day_files.current_files(store, "alpha", day)
        assert sum(file.rows for file in current) == events
    for state in states:
        assert (state.waiting, state.orphans, state.leftovers) == ([], {}, [])
        assert sum(file.rows for file in state.current.values()) == events
    assert len(files(other, "raw")) == 1


def maintain(folder: str, sensor: str) -> None:
    """One of two."""
    done = compact(open_store(folder), destination(sensor), grace=0.1)
    assert done.problems == []


def test_two_at_once(store: Store, receiver: RejectingReceiver, tmp_path: Path) -> None:
    """Two compactions at once do the work of one."""
    for day in range(3):
        dense_day(store, day)
    url = receiver.url(batch=BATCH)
    load(store, destination(url))
    before = look(store, destination(url), tmp_path / "export")
    context = multiprocessing.get_context("forkserver")
    arguments = (str(store.root), url)
    children = [context.Process(target=maintain, args=arguments) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert look(store, destination(url), tmp_path / "export") == before
    for day in range(3):
        assert len(files(store, "raw", day)) == len(files(store, "normalized", day)) == 1


def test_object_storage(
    staging: str,
    sensor: Destination,
    receiver: RejectingReceiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On object storage, too, readers see every event once, and so after a death at each write."""
    store = open_store(staging)
    events = dense_day(store, files=2)
    load(store, sensor)
    before = look(store, sensor, tmp_path / "export")
    for _ in ("the raw file is not put", "the ledger is not"):
        with monkeypatch.context() as patch:
            dies_after(3, patch)
            assert "it died" in compact(store, sensor).problems[0]
        assert look(store, sensor, tmp_path / "export") == before
    with Readers(store, sensor, tmp_path, replays=False):
        compact_days(store, sensor, 1, 0.3)
    assert sorted(ids(store, "raw")) == sorted(events)
    assert len(receiver.received) == len(set(receiver.received))


def dies_after(writes: int, patch: pytest.MonkeyPatch) -> None:
    """Let so many files be put, and none after these."""
    create = RemoteFiles.create
    done = 0

    @contextmanager
    def counted(files: RemoteFiles, path: str, owner: str, expected: Any = None) -> Iterator[Any]:
        nonlocal done
        with create(files, path, owner, expected) as pending:
            yield pending
            if done == writes:
                raise StagingError("it died")
            done += 1

    patch.setattr(RemoteFiles, "create", counted)
