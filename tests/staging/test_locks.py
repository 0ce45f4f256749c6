from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tasks.errors import InUseError
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
        with pytest.raises(InUseError, match="account alpha is in the hands of another run"):
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
