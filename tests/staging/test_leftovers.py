"""What the dead left half written is removed, and nothing of the living."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tasks.errors import InUseError
from tasks.staging.locks import hold
from tasks.staging.store import open_store
from tests.staging.staged_data import DAY, some

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store

TODAY = DAY.date()
DEAD = ("account=a", "account=ab", "destination=a", "destination=gone")


def leave(tmp_path: Path, *owners: str) -> None:
    """Leave a half-written file of each owner."""
    (tmp_path / ".tmp").mkdir(exist_ok=True)
    for owner in owners:
        (tmp_path / ".tmp" / f"{owner}~0123abcd").touch()


def left(tmp_path: Path) -> list[str]:
    """What lies in `.tmp`, sorted."""
    return sorted(path.name for path in (tmp_path / ".tmp").iterdir())


def test_leftovers_of_all_that_nobody_holds(store: Store, tmp_path: Path) -> None:
    """Whoever gets a lock removes what is left of it, and of what is configured no longer."""
    leave(tmp_path, *DEAD)
    with hold(store, "account", "b"):
        assert left(tmp_path) == []


def test_leftovers_of_what_is_held(store: Store, tmp_path: Path) -> None:
    """What bears the name of a lock that another run holds is that run's, and stays."""
    with hold(store, "account", "ab"), hold(open_store(str(tmp_path)), "destination", "a"):
        leave(tmp_path, *DEAD)
        with hold(store, "account", "a"):
            assert left(tmp_path) == ["account=ab~0123abcd", "destination=a~0123abcd"]
    with hold(store, "account", "ab"):
        assert left(tmp_path) == []


def test_what_is_not_ours_stays(store: Store, tmp_path: Path) -> None:
    """What bears no name of a file being written is left alone, and is in nobody's way."""
    (tmp_path / ".tmp" / "destination=x~0123abcd").mkdir(parents=True)
    (tmp_path / ".tmp" / "notes").touch()
    with hold(store, "account", "a"):
        assert left(tmp_path) == ["destination=x~0123abcd", "notes"]


def test_files_of_the_living_survive(tmp_path: Path) -> None:
    """Many runs at once write, and remove what others left: no file of any is ever lost."""
    accounts = [f"a{n}" for n in range(6)]
    refused: list[str] = []
    stop = threading.Event()

    def write(account: str) -> int:
        store = open_store(str(tmp_path))
        for number in range(30):
            try:
                with hold(store, "account", account):
                    store.publish(some(1), "raw", account, TODAY, f"{number}.parquet")
            except InUseError:
                refused.append(account)
        return len(store.files("raw", account))

    def leave_and_sweep() -> None:
        store = open_store(str(tmp_path))
        while not stop.is_set():
            for account in accounts:
                name = f"account={account}~{os.urandom(4).hex()}"
                (tmp_path / ".tmp" / name).touch()
            with hold(store, "account", "other"):
                pass

    (tmp_path / ".tmp").mkdir()
    with ThreadPoolExecutor(len(accounts) + 1) as pool:
        paginator = pool.submit(leave_and_sweep)
        written = list(pool.map(write, accounts))
        stop.set()
        paginator.result()
    assert written == [30] * len(accounts)
    assert refused == [], "who sweeps is never taken for a run"


@pytest.mark.parametrize("owner", ["account=a", "destination=gone"])
def test_a_lock_while_leftovers_are_removed(
    store: Store, tmp_path: Path, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that wants its lock while another removes its leftovers gets it."""
    leave(tmp_path, owner)
    kind, _, name = owner.partition("=")
    got: list[str] = []

    def get() -> None:
        with hold(open_store(str(tmp_path)), kind, name):  # type: ignore[arg-type]
            got.append(name)

    unlink = type(tmp_path).unlink
    other = threading.Thread(target=get)

    def slowly(path: Path, *, missing_ok: bool = False) -> None:
        if not got and not other.ident:
            other.start()
            other.join(0.3)  # it waits for this to end
            assert got == []
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(type(tmp_path), "unlink", slowly)
    with hold(store, "account", "b"):
        other.join(30)
    assert got == [name]
