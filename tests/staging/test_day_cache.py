from __future__ import annotations

import secrets
import shutil
import time
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from pyarrow.fs import _MockFileSystem

from tasks.load.destination import load_destination
from tasks.staging import coverage, day_cache
from tasks.staging.known_ids import KnownIds
from tasks.staging.storage.local_files import LocalFiles
from tasks.staging.storage.remote_files import RemoteFiles
from tasks.staging.store import Store
from tasks.staging.unfinished import unfinished
from tests.staging.changing_staging import ChangingStaging
from tests.staging.crashing import start
from tests.staging.planning import DAYS, QUIET, fill, known_ids, plan
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import at, broken, raw, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEPS = 20
HOUR_NS = day_cache.QUIET_NS


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Days need not be quiet for an hour."""
    monkeypatch.setattr(day_cache, "QUIET_NS", int(QUIET * 10**9))


@pytest.fixture
def store(store: Store) -> Store:
    """A staging of some days that are normalized, the second of them with a rejected event."""
    for day in range(DAYS):
        events = raw([(f"e{day}-{n}", at(n, day)) for n in range(3)])
        stage(store, window(0, 24, day), broken(events, "e1-1"))
    transform(store)
    return store


@contextmanager
def listings() -> Iterator[Counter[str]]:
    """How often each folder of a day is listed meanwhile."""
    counted: Counter[str] = Counter()
    names = LocalFiles.names

    def counting(self: LocalFiles, path: str, *suffix: str) -> list[str]:
        counted[path] += 1
        return names(self, path, *suffix)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalFiles, "names", counting)
        yield counted


def is_known(store: Store) -> bool:
    """Whether what is to be done is known without listing a day."""
    with listings() as counted:
        plan(store, cached=True)
    return not counted


def test_only_days_that_changed_are_listed(store: Store) -> None:
    """A day is listed again once something in it changed, and until it has been quiet again."""
    assert not is_known(store)
    fill(store)
    assert is_known(store)
    stage(store, window(0, 24, 1), [("late", at(1, 1))])
    for _ in range(2):
        with listings() as counted:
            [waiting] = plan(store, cached=True)[1]
        assert waiting == at(0, 1).date()
        assert {path.rpartition("=")[2] for path in counted} == {f"{waiting}"}
    transform(store)
    fill(store)
    assert is_known(store)


def test_files_of_known_ids_are_not_listed(store: Store) -> None:
    """Where a day did not change, what is kept of ids says which files there are."""
    KnownIds(store, "alpha").renew()
    fill(store)
    with listings() as counted:
        found = known_ids(store, cached=True)
    assert found == known_ids(store, cached=False)
    assert not counted
    stage(store, window(0, 24, 1), [("late", at(1, 1))])
    fill(store)  # of the new file nothing is kept yet, and its day is listed
    with listings() as counted:
        known_ids(store, cached=True)
    assert [path[-2:] for path in counted] == ["02"]


def test_a_late_event_of_an_old_day_is_delivered_by_the_next_run(store: Store) -> None:
    """What any run changes of an old day, the very next one sees: new events, and lost proof."""
    with RejectingReceiver(lambda _: True) as receiver:
        sensor = destination(receiver.url())
        for _ in range(2):
            load_destination(store, sensor, run_id="run")
            fill(store, sensor)
        with listings() as counted:
            assert not load_destination(store, sensor, run_id="run").tried
        assert not counted
        stage(store, window(0, 24, 1), [("late", at(1, 1))])
        transform(store)
        load_destination(store, sensor, run_id="run")
        assert receiver.batches[-1] == ["late"]
        fill(store, sensor)
        folder = Path(str(store)) / store.folder(
            "deliveries", "alpha", at(0, 2).date(), sensor.name
        )
        for file in folder.iterdir():
            file.unlink()
        load_destination(store, sensor, run_id="run")
        assert receiver.batches[-1] == ["e2-0", "e2-1", "e2-2"]


def test_a_destination_whose_options_change_gets_what_it_left_out(store: Store) -> None:
    """What is kept of a destination's days is kept for what it takes."""
    with RejectingReceiver(lambda _: True) as receiver:
        few = destination(receiver.url(types="server_shutdown"))
        for _ in range(2):
            load_destination(store, few, run_id="run")
            fill(store, few)
        assert not receiver.batches
        load_destination(store, destination(receiver.url()), run_id="run")
        assert len(receiver.received) == 3 * DAYS - 1


def test_nothing_is_kept_of_days_that_changed_within_the_hour(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are listed at every run."""
    monkeypatch.setattr(day_cache, "QUIET_NS", HOUR_NS)
    fill(store)
    assert not is_known(store)


def test_a_change_while_a_day_is_listed_is_seen_by_the_next_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept of a day is not what was there just before something changed."""
    names = LocalFiles.names
    time.sleep(1.5 * QUIET)

    def changing(self: LocalFiles, path: str, *suffix: str) -> list[str]:
        found = names(self, path, *suffix)
        if path == store.folder("raw", "alpha", at(0, 1).date()):
            monkeypatch.setattr(LocalFiles, "names", names)
            stage(store, window(0, 24, 1), [("late", at(1, 1))])
        return found

    monkeypatch.setattr(LocalFiles, "names", changing)
    assert not unfinished(store, "alpha")
    assert [*unfinished(store, "alpha")] == [at(0, 1).date()]


def _everything_is_listed_after(store: Store, change: Callable[[], object]) -> None:
    fill(store)
    assert is_known(store)
    change()
    assert not is_known(store)


def test_every_day_everything_is_listed_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a wrong cache is wrong for a day at most; so is one from a clock that was set back."""
    clock = time.time_ns

    def set_clock(ahead: timedelta) -> None:
        nanoseconds = ahead // timedelta(microseconds=1) * 1000
        monkeypatch.setattr(time, "time_ns", lambda: clock() + nanoseconds)

    _everything_is_listed_after(store, lambda: set_clock(timedelta(days=1)))
    _everything_is_listed_after(store, lambda: set_clock(timedelta(0)))
    _everything_is_listed_after(store, lambda: set_clock(timedelta(minutes=-10)))


def test_what_is_no_longer_as_it_was_written_counts_for_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged file, one of another version, a copied staging, none: everything is listed."""
    folder = Path(str(store), day_cache.FOLDER)

    def damage() -> None:
        for file in folder.rglob("*.json"):
            file.write_text(file.read_text().replace("240000000000", "230000000000"))
            file.write_bytes(file.read_bytes()[:-1] if "ids" in file.name else file.read_bytes())
            if file.name == "unfinished.json":
                file.write_bytes(b"")

    def copy() -> None:
        copied = Path(f"{store}-copy")
        shutil.copytree(str(store), copied)
        shutil.rmtree(str(store))
        copied.rename(str(store))

    _everything_is_listed_after(store, damage)
    assert plan(store, cached=True) == plan(store, cached=False)
    _everything_is_listed_after(store, copy)
    _everything_is_listed_after(store, lambda: monkeypatch.setattr(day_cache, "_FORMAT", 0))
    _everything_is_listed_after(store, lambda: shutil.rmtree(folder))


def test_nothing_is_kept_where_folders_do_not_tell_of_changes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that leaves times alone when an entry is added, all is listed always."""

    def times_of_the_mount(folder: str) -> list[int] | None:
        return [1, Path(folder).stat().st_ino, 0, 0] if Path(folder).exists() else None

    monkeypatch.setattr(day_cache, "_state", times_of_the_mount)
    fill(store)
    assert not is_known(store)
    assert not [*Path(str(store), day_cache.FOLDER).rglob("*.json")]


def test_a_cache_that_cannot_be_written_stops_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it cannot be written, a run says so and does its work."""
    Path(str(store), day_cache.FOLDER).write_text("in the way")
    fill(store)
    assert "will be listed again by the next run" in caplog.text
    assert plan(store, cached=True) == plan(store, cached=False)


def test_nothing_is_kept_on_object_storage() -> None:
    """There folders have no times."""
    filesystem = _MockFileSystem()
    store = Store(RemoteFiles(filesystem, "staging"))
    stage(store, window(0, 24), [("e0-1", at(0))])
    transform(store)
    assert plan(store, cached=True) == plan(store, cached=False)
    assert not store.backend.folders(day_cache.FOLDER)


def _fill_in_child(folder: str, _sensor: str) -> None:
    day_cache.QUIET_NS = 0
    coverage.read_coverage(Store(LocalFiles(Path(folder))), "alpha", cached=True)


def test_killed_while_it_is_written(store: Store) -> None:
    """After a kill at any operation on files, what is to be done is what names say."""
    time.sleep(QUIET)
    folder, steps = Path(str(store)), 0
    while True:
        shutil.rmtree(folder / day_cache.FOLDER, ignore_errors=True)
        child = start(folder, "", die_at=steps, work=_fill_in_child)
        child.join()
        assert plan(store, cached=True) == plan(store, cached=False)
        if child.exitcode == 0:
            break
        steps += 1
    assert steps > 5


def _compare(store: Store, seed: int, steps: int) -> None:
    random, happened = Random(seed), []
    with RejectingReceiver(lambda _: random.random() < 0.7) as receiver:
        staging = ChangingStaging(store, receiver, random)
        for _ in range(steps):
            happened.append(staging.something())
            names = plan(store, *staging.sensors, cached=False)
            assert plan(store, *staging.sensors, cached=True) == names, (seed, happened)
            ids = known_ids(store, cached=False)
            assert known_ids(store, cached=True) == ids, (seed, happened)
            if random.random() < 0.7:
                fill(store, *staging.sensors)
                assert plan(store, *staging.sensors, cached=True) == names, (seed, happened)


def test_what_is_to_be_done_is_what_names_say(store: Store) -> None:
    """Whatever happens to old days, what is to be done is the same as without a cache."""
    seed = secrets.randbelow(1000)
    _compare(store, seed, STEPS)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_so_it_is_for_longer(store: Store, seed: int) -> None:
    """The same of more."""
    _compare(store, seed, 200)
