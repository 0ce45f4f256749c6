"""Flow runs whose steps run on Dask workers: processes that share a staging on an S3 server."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from flows.dask_scheduler import scheduler_address
from tasks.errors import SettingsError
from tasks.settings import read_settings
from tests.flows.command import wait_until
from tests.flows.dask_runs import (
    BATCH,
    KEYS_OF_STORAGE,
    Cluster,
    Killer,
    clusters,
    holder,
    recorder,
    terminate_parent,
)
from tests.object_storage import s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)  # each worker process imports Prefect

PASSWORD = "admin:never-pickled-password"


@pytest.fixture(scope="module")
def server_of_s3() -> Iterator[str]:
    """An S3 server."""
    with s3_server() as address:
        yield address


@pytest.fixture
def small(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three accounts."""
    yield from clusters(request, accounts=3, events=600, latency_ms=30)


@pytest.fixture
def large(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Twenty accounts."""
    yield from clusters(request, accounts=20, events=20_000, latency_ms=10)


@pytest.mark.soak
def test_no_secret_travels_and_a_killed_worker_loses_nothing(small: Cluster) -> None:
    """A worker is killed while it extracts: the other one goes on when its lease has lapsed.

    What passes to the scheduler and from it has the names of accounts, and no key of Halo's, of
    the storage's or of Prefect's.
    """
    small.halo_usm.settings |= {
        "PREFECT_API_AUTH_STRING": PASSWORD,
        "DASK_DISTRIBUTED__COMM__COMPRESSION": "false",
    }
    small.s3.refuses = killer = Killer(small.s3, "raw", after=2)
    with recorder(small.dask.address) as tape:
        small.halo_usm.settings["HALO_DASK_ADDRESS"] = tape.address
        process = small.start()
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, (out, err)
    assert killer.killed
    assert "loaded sensor: 600 delivered" in out
    small.assert_all_is_there()
    said = bytes(tape.passed)
    assert b"alpha" in said
    keys = [account.key[1] for account in small.halo.accounts.values()]
    for secret in (*keys, KEYS_OF_STORAGE["AWS_SECRET_ACCESS_KEY"], PASSWORD):
        assert secret.encode() not in said


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_backfill_of_twenty_accounts_survives_a_kill_in_each_stage(large: Cluster) -> None:
    """Nothing is lost; nothing is doubled, but the one batch that a kill cuts off."""
    kills = iter(
        [("raw", 20, ""), ("normalized", 10, ""), ("deliveries", 30, "destination=sensor")]
    )
    killers: list[Killer] = []

    def next_killer() -> None:
        if (kill := next(kills, None)) is not None:
            tree, after, owner = kill
            killers.append(Killer(large.s3, tree, after, owner))
            large.s3.refuses = killers[-1]

    next_killer()
    process = large.start()
    while process.poll() is None:
        if killers[-1].killed and len(large.dask.workers) < 2 + len(killers):
            large.dask.start_workers(1)
            next_killer()
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    out, err = process.communicate()
    assert process.returncode == 0, (out, err)
    assert [len(killer.killed) for killer in killers] == [1, 1, 1]
    large.assert_all_is_there(repeated=BATCH)
    assert "nothing new" in large.halo_usm("sync").stdout
    large.halo_usm("audit", "--since", "2020-01-01")


@pytest.mark.soak
def test_a_worker_that_is_stopped_ends_its_steps_in_order(small: Cluster) -> None:
    """Its lease is given back, so another worker goes on at once, in the same flow run."""
    for worker in small.dask.workers:
        worker.kill()
    small.dask.start_workers(2, nanny=True)
    small.s3.refuses = killer = Killer(small.s3, "raw", after=2, end=terminate_parent)
    out, err = small.start().communicate(timeout=200)
    assert "loaded sensor: 600 delivered" in out, err
    assert killer.killed
    wait_until(lambda: [worker.poll() for worker in small.dask.workers[2:]].count(0) == 1)
    assert "still alive" not in small.dask.log("worker-2") + small.dask.log("worker-3")
    small.assert_all_is_there()


@pytest.mark.soak
def test_a_flow_run_that_is_stopped_ends_its_steps_on_the_workers(small: Cluster) -> None:
    """They end in order and give their leases back; the next run does the rest."""
    process = small.start()
    wait_until(lambda: small.s3.count(r"PUT .*/raw/.*parquet") > 2, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert "interrupted" in out
    assert holder(small.s3, small.prefix, "account=alpha")["released"]
    small.halo_usm("sync")
    small.assert_all_is_there()


@pytest.mark.soak
def test_a_worker_with_other_settings_does_nothing(small: Cluster) -> None:
    """The run fails with the setting's name, before anything is staged in the wrong place."""
    small.halo_usm.settings["HALO_DEVICE_ADDRESS"] = "192.0.2.1"
    said = small.halo_usm("sync", code=1).stderr
    assert "HALO_DEVICE_ADDRESS is '50.57.180.190', and '192.0.2.1' where the flow run is" in said
    assert small.s3.count("^PUT .*/raw/") == small.halo.counters.requests == 0


@pytest.mark.soak
def test_an_account_that_kills_each_worker_fails_alone(small: Cluster) -> None:
    """Its step is given up and named; the other accounts are delivered."""
    for worker in small.dask.workers:
        worker.kill()
    small.dask.start_workers(2, nanny=True)
    killer = Killer(small.s3, "raw/account(?:=|%3D)alpha", after=0)

    def always(method: str, path: str) -> bool:
        killer.killed.clear()
        with suppress(ProcessLookupError):
            killer(method, path.replace("/date", "/account=alpha/date"))
        return False

    small.s3.refuses = always
    process = small.start()
    out, err = process.communicate(timeout=250)
    assert process.returncode == 1, (out, err)
    assert "error: extract alpha: the Dask cluster gave no result" in err
    assert "loaded sensor: 400 delivered" in out


@pytest.mark.soak
def test_a_scheduler_that_dies(small: Cluster) -> None:
    """The run fails and says why, the workers end their steps, and the next run does the rest."""
    process = small.start()
    wait_until(lambda: small.s3.count(r"PUT .*/raw/.*parquet") > 2, process)
    small.dask.scheduler.kill()
    out, err = process.communicate(timeout=250)
    assert process.returncode == 1, (out, err)
    assert "the Dask cluster gave no result" in err or "has had no worker" in err
    assert "Traceback" not in err
    wait_until(lambda: all(worker.poll() is not None for worker in small.dask.workers))
    del small.halo_usm.settings["HALO_TASK_RUNNER"]
    wait_until(lambda: "is held by another run" not in small.halo_usm("sync").stderr)
    small.assert_all_is_there(repeated=BATCH)


@pytest.mark.soak
def test_without_any_worker(small: Cluster) -> None:
    """The run fails after a minute and says what to start; with one again, the next does it all."""
    for worker in small.dask.workers:
        worker.kill()
    said = small.halo_usm("sync", code=1).stderr
    assert "has had no worker for 60 seconds; start some" in said
    small.dask.start_workers(1)
    small.halo_usm("sync")
    small.assert_all_is_there()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HALO_DASK_ADDRESS": ""}, "set HALO_DASK_ADDRESS, such as tcp://scheduler:8786"),
        ({"HALO_STAGING": "folder"}, "needs a staging on object storage"),
        ({"HALO_STAGING_LOCKS": "none"}, "unset HALO_STAGING_LOCKS"),
        ({}, "pip install 'halo-usm[dask]'"),
    ],
    ids=["no address", "a folder", "no leases", "without the extra"],
)
def test_what_cannot_be_used(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    """It is said with its remedy."""
    usable = {
        "HALO_STAGING": "s3://bucket/prefix",
        "HALO_TASK_RUNNER": "dask",
        "HALO_DASK_ADDRESS": "tcp://scheduler:8786",
    }
    for name, value in (usable | settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SettingsError, match=re.escape(said)):
        scheduler_address(read_settings())


@pytest.mark.soak
def test_without_a_scheduler(small: Cluster) -> None:
    """Both `check` and `sync` say that none answers, and nothing hangs."""
    small.halo_usm.settings["HALO_DASK_ADDRESS"] = "tcp://127.0.0.1:1"
    said = "HALO_DASK_ADDRESS: no Dask scheduler answers at tcp://127.0.0.1:1 ("
    assert f"FAIL task runner dask: {said}" in small.halo_usm("check", code=1).stdout
    assert said in small.halo_usm("sync", code=1).stderr
    assert not small.s3.count("^PUT .*/raw/")
