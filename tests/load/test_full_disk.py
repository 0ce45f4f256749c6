"""A staging on a disk that is full, or fills up while a batch is on its way."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from typing import TYPE_CHECKING

import pytest

from tasks.staging.store import open_store
from tests.load.helpers import load, rows
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import normalized

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.receiver import Receiver
    from tasks.staging.store import Store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("status", ["confirmed", "unconfirmed"])
def test_disk_that_fills_up_while_a_batch_is_out(small_disk: Path, status: str) -> None:
    """What is on its way is recorded all the same; nothing more is sent while there is no room."""
    store = open_store(str(small_disk / "staging"))
    events = normalized(store, 1000)
    filler = small_disk / "filler"

    def fill_up(_: list[str]) -> bool:
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        return status == "confirmed"

    with RejectingReceiver(fill_up) as receiver:
        url = receiver.url(batch=50)
        problems = [load(store, url).problems for _ in range(2)]
        recorded = rows(store)
        assert {row["status"] for row in recorded} == {status}
        if status == "confirmed":
            # what had room for its record when the disk filled up
            assert sorted(receiver.received) == sorted(row["event_id"] for row in recorded)
            assert 50 <= len(recorded) < 1000
        for [problem] in problems:
            assert "No space left on device; make room" in problem
        receiver.accept = lambda _: True
        filler.unlink()
        left = len(events) - len(receiver.received)
        assert load(store, url).delivered == left
        assert sorted(receiver.received) == sorted(events)


def test_nothing_is_sent_while_there_is_no_room_to_record_it(
    store: Store, receiver: Receiver
) -> None:
    """However often it is tried; with room again each event is sent once."""
    normalized(store, 100)
    url = receiver.url("tcp", name="sensor", batch=50)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        problems = [load(store, url).problems for _ in range(3)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    for [problem] in problems:
        assert str(store.root) in problem
        assert problem.endswith(
            "100 events stay pending, 100 of them not tried; a later load sends them"
        )
    assert receiver.messages("tcp") == []
    assert load(store, url).delivered == 100
    assert len(receiver.messages("tcp")) == 100
