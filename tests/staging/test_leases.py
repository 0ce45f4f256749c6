from __future__ import annotations

import json
import os
import pickle
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import pairwise

import pytest

from tasks.errors import InUseError, StagingError
from tasks.staging.locks import hold
from tasks.staging.storage.lease import Lease
from tasks.staging.storage.remote_files import RemoteFiles
from tasks.staging.store import Store, open_store
from tests.object_storage import Proxy, never
from tests.staging.leases import OWNER, WAIT, held_by, leases, start, wait_until
from tests.staging.staged_data import raw


def test_a_lease_has_one_holder(staging: str) -> None:
    """While it is held others are refused, and told who holds it; other leases are free."""
    store = open_store(staging)
    with hold(store, "account", "alpha", run_id="run-1"):
        said = rf"account alpha is held by another run \(.*, process {os.getpid()}, run run-1, "
        with pytest.raises(InUseError, match=said) as refused, leases(staging).hold(OWNER):
            pass
        assert refused.value.run == "run-1"
        with hold(store, "destination", "alpha"), leases(staging).hold("account=beta"):
            pass
        with leases(f"{staging.replace('?', '-other?')}").hold(OWNER):
            pass
    with leases(staging).hold(OWNER):
        pass


def test_leases_are_no_part_of_what_is_staged(staging: str) -> None:
    """No listing of a staging shows its leases, and an opened staging can be pickled."""
    store: Store = pickle.loads(pickle.dumps(open_store(staging)))
    with hold(store, "account", "alpha"):
        store.publish(raw([]), "raw", "alpha", date(2026, 3, 1), "x.parquet")
        store = pickle.loads(pickle.dumps(store))
        assert store.accounts("raw") == ["alpha"]
        assert store.unexpected_entries() == []
        assert store.files("raw", "alpha") == ["x.parquet"]


def test_a_lease_costs_three_requests(s3: Proxy, staging: str) -> None:
    """Two to take it and one to give it back; two more see once what the server can."""
    mine = leases(staging)
    mine.check()
    with mine.hold(OWNER):
        pass
    before = len(s3.requests)
    with mine.hold(OWNER):
        pass
    assert len(s3.requests) - before == 3
    before = len(s3.requests)
    leases(staging).check()
    assert len(s3.requests) - before == 2


def test_a_lease_that_is_renewed_does_not_lapse(s3: Proxy, staging: str) -> None:
    """A holder that lives keeps its lease for longer than its time."""
    stop, mine = threading.Event(), leases(staging, 4)
    with mine.hold(OWNER, stop=stop):
        since = mine.now()
        wait_until(lambda: mine.now() - since > timedelta(seconds=6))
        assert held_by(staging)()
    assert not stop.is_set()


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=-400)])
def test_a_killed_holder_stops_nobody_for_longer_than_a_lease(
    s3: Proxy, staging: str, ahead: timedelta
) -> None:
    """The lease of a killed process is refused at first, and taken over once it has lapsed.

    Whatever this machine's clock says of the server's.
    """
    s3.clock = ahead
    with start(staging, 3) as holder:
        holder.kill()
    killed = time.monotonic()
    assert held_by(staging)()
    wait_until(lambda: not held_by(staging)())
    assert time.monotonic() - killed > 3 - 3 / 6 - 1


def test_a_frozen_holder_writes_nothing_more(staging: str) -> None:
    """Frozen for longer than its lease and resumed, it writes no file, and ends in order."""
    with start(staging, 3) as holder:
        holder.send_signal(signal.SIGSTOP)
        wait_until(lambda: not held_by(staging)())
        with leases(staging).hold(OWNER):
            holder.send_signal(signal.SIGCONT)
            out, _ = holder.communicate("go on\n", timeout=WAIT)
            not_written, stopped, lost = out.splitlines()
    assert (
        not_written
        == "not written: the lease of account=alpha was lost: nothing is written without"
    )
    assert stopped == "stopped"
    assert "could not be renewed (this process did not run meanwhile); the next run goes on" in lost
    assert open_store(staging).accounts("raw") == []


def test_a_server_that_refuses_for_a_while_costs_no_lease(s3: Proxy, staging: str) -> None:
    """Renewals that fail are tried again until they succeed."""
    stop = threading.Event()
    refused: list[str] = []

    def refuses(method: str, path: str) -> bool:
        if method == "PUT" and len(refused) < 6:
            refused.append(path)
            return True
        return False

    with leases(staging, 15).hold(OWNER, stop=stop):
        s3.refuses = refuses
        wait_until(lambda: len(refused) == 6)
        renewed = s3.count("PUT .*alpha.json")
        wait_until(lambda: s3.count("PUT .*alpha.json") > renewed + 1)
    assert not stop.is_set()


def test_a_lease_that_cannot_be_renewed_ends_the_run_before_it_lapses(
    s3: Proxy, staging: str
) -> None:
    """The run is told to stop while the lease is still its own; then the fault is said."""
    stop = threading.Event()

    def lose() -> None:
        with leases(staging, 6).hold(OWNER, stop=stop):
            s3.refuses = lambda method, _: method == "PUT"
            assert stop.wait(WAIT)
            s3.refuses = never
            assert held_by(staging)()

    with pytest.raises(StagingError, match=r"could not be renewed \(.*503.*; the next run goes on"):
        lose()


def test_a_lease_that_is_gone_ends_the_run(staging: str) -> None:
    """Where somebody has removed or replaced it, the run is told to stop and writes nothing."""
    stop, store = threading.Event(), open_store(staging)
    assert isinstance(store.backend, RemoteFiles)
    assert store.backend.leases is not None
    store.backend.leases.seconds = 4

    def lose() -> None:
        with hold(store, "account", "alpha", stop=stop):
            leases(staging).objects.put(f".locks/{OWNER}.json", b"mine", "anything")
            assert stop.wait(WAIT)
            with pytest.raises(StagingError, match="nothing is written without"):
                store.publish(raw([]), "raw", "alpha", date(2026, 3, 1), "x.parquet")

    with pytest.raises(StagingError, match=r"could not be renewed \(another run has taken it\)"):
        lose()
    assert store.accounts("raw") == []


def test_a_lease_that_says_nothing_lapses_too(staging: str) -> None:
    """A foreign object under a lease's name holds nobody up for longer than a lease."""
    for content in (b"", b"\xff\x00{", b'{"id": "\x1b[31m", "released": true}'):
        leases(staging).objects.put(f".locks/{OWNER}.json", content, "anything")
        with pytest.raises(InUseError) as refused, leases(staging, 1).hold(OWNER):
            pass
        assert "\x1b" not in str(refused.value)
        wait_until(lambda: not held_by(staging, 1)())


@pytest.mark.parametrize("lost", ["first", "renewal", "last"])
def test_a_lost_answer_costs_no_lease(s3: Proxy, staging: str, lost: str) -> None:
    """A write that was done, and whose answer was lost, is known for our own."""
    once: list[str] = []

    def unanswered(method: str, path: str) -> bool:
        if method == "PUT" and "alpha.json" in path and not once:
            once.append(path)
            return True
        return False

    stop = threading.Event()
    if lost == "first":
        s3.unanswered = unanswered
    try:
        with leases(staging, 9).hold(OWNER, stop=stop):
            s3.unanswered = unanswered
            if lost == "renewal":
                wait_until(lambda: once)
                before = s3.count("PUT .*alpha.json")
                wait_until(lambda: s3.count("PUT .*alpha.json") > before)
            assert lost == "last" or once
            assert held_by(staging)()
    except StagingError:
        assert lost == "first"
    assert once
    assert not stop.is_set()
    with leases(staging).hold(OWNER):
        pass


def test_never_two_holders_at_once(staging: str) -> None:
    """Whatever many threads do, take, give back or die, no two ever hold a lease together."""
    held: list[tuple[float, float]] = []
    refused: list[InUseError] = []
    deaths: list[int] = []
    seconds = 1.0

    def live(number: int) -> None:
        chance = random.Random(number)
        mine = leases(staging, seconds)
        while len(held) < 30 or not deaths:
            before = time.monotonic()
            try:
                if chance.random() < 0.1:  # dies with it
                    Lease(mine, OWNER, "", threading.Event()).take()
                    held.append((time.monotonic(), before + seconds))
                    deaths.append(number)
                else:
                    with mine.hold(OWNER):
                        taken = time.monotonic()
                        time.sleep(chance.random() * 0.05)
                        done = time.monotonic()
                    held.append((taken, done))
            except InUseError as error:
                refused.append(error)
                time.sleep(chance.random() * 0.3)
            except StagingError:
                continue  # this machine was too busy, and the lease was lost: it is said

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(live, range(12)))
    assert refused
    assert deaths
    for (_, end), (begin, _) in pairwise(sorted(held)):
        assert end <= begin


def test_a_lease_tells_its_holder(staging: str) -> None:
    """The object says in JSON who holds it, for people who look."""
    with leases(staging).hold(OWNER, run_id="run-1"):
        found = leases(staging).objects.read(f".locks/{OWNER}.json")
    assert found is not None
    holder = json.loads(found.content)
    assert (holder["run"], holder["process"], holder["seconds"]) == ("run-1", os.getpid(), 120)
