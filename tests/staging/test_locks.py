from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tasks.errors import InUseError, StagingError
from tasks.staging.locks import hold
from tasks.staging.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys, time
from tasks.staging.locks import hold
from tasks.staging.store import open_store
with hold(open_store(sys.argv[1]), "account", "alpha"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("uri", ["{}", "mock:///{}"])
def test_one_at_a_time(tmp_path: Path, uri: str) -> None:
    """A lock has one holder; another kind or name is another lock; it is free again afterwards."""
    store = open_store(uri.format(tmp_path))
    with hold(store, "account", "alpha"):
        with pytest.raises(InUseError, match="account alpha is held by another run"):
            hold(store, "account", "alpha").__enter__()
        with hold(store, "destination", "alpha"), hold(store, "account", "beta"):
            pass
    with hold(store, "account", "alpha"):
        pass


def test_threads(tmp_path: Path) -> None:
    """Two threads of one process exclude each other, too."""
    store = open_store(str(tmp_path))
    refused = []

    def try_it() -> None:
        try:
            with hold(store, "account", "alpha"):
                pass
        except InUseError as error:
            refused.append(error)

    with hold(store, "account", "alpha"):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(refused) == 1


def test_killed_holder(tmp_path: Path) -> None:
    """A holder in another process keeps everybody out until it is killed, and no longer."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        store = open_store(str(tmp_path))
        with pytest.raises(InUseError):
            hold(store, "account", "alpha").__enter__()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with hold(store, "account", "alpha"):
            pass


def test_wait_for_a_holder(tmp_path: Path) -> None:
    """Who waits gets the lock as soon as its holder is done."""
    store = open_store(str(tmp_path))
    got = []

    def wait_for_it() -> None:
        with hold(store, "destination", "sensor", wait=60):
            got.append("waited")

    waiting = threading.Thread(target=wait_for_it)
    with hold(store, "destination", "sensor"):
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        got.append("held")
    waiting.join(30)
    assert got == ["held", "waited"]


def test_wait_in_vain(tmp_path: Path) -> None:
    """A wait that was too short says who holds what, and what to do."""
    store = open_store(str(tmp_path))
    said = "destination sensor is held by another run, and was for the 0.005 minutes"
    with (
        hold(store, "destination", "sensor"),
        pytest.raises(StagingError, match=said),
        hold(store, "destination", "sensor", wait=0.3),
    ):
        pass


def test_stop_ends_a_wait(tmp_path: Path) -> None:
    """Asked to stop, a waiting run does not go on waiting, and takes no lock."""
    store = open_store(str(tmp_path))
    stop = threading.Event()
    with hold(store, "account", "alpha"):
        threading.Timer(0.3, stop.set).start()
        started = time.monotonic()
        with pytest.raises(InUseError), hold(store, "account", "alpha", wait=600, stop=stop):
            pass
    assert time.monotonic() - started < 30


def test_fault_of_the_body_is_not_waited_for(tmp_path: Path) -> None:
    """What the body raises is its own affair, even where it is of another lock."""
    store = open_store(str(tmp_path))
    with (
        hold(store, "account", "beta"),
        pytest.raises(InUseError, match="account beta"),
        hold(store, "account", "alpha", wait=600),
    ):
        hold(store, "account", "beta").__enter__()


def test_lock_files_are_empty(tmp_path: Path) -> None:
    """A lock file knows nothing: it is empty, in `.locks`, one an account and destination."""
    store = open_store(str(tmp_path))
    with hold(store, "account", "alpha"), hold(store, "destination", "tcp-host-601"):
        files = {path.name: path.read_bytes() for path in (tmp_path / ".locks").iterdir()}
    assert files == {"account=alpha": b"", "destination=tcp-host-601": b""}


def test_first_locks_of_a_new_staging_at_once(tmp_path: Path) -> None:
    """Threads that make the staging's first folders at the same time don't trip over each other."""

    def take(attempt: int, number: int) -> None:
        store = open_store(str(tmp_path / f"staging{attempt}"))
        together.wait()
        with hold(store, "account", f"account{number}"):
            pass

    together = threading.Barrier(6)
    with ThreadPoolExecutor(6) as pool:
        for attempt in range(50):
            list(pool.map(take, [attempt] * 6, range(6)))
