"""A staging on object storage: an S3 server on loopback, where only a Prefect server has locks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pyarrow.dataset as ds
import pytest
from pyarrow import fs

from flows.server_locks import ServerLocks
from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tasks.errors import InUseError, StagingError
from tests.flows.command import Command, command_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("prefect")

EVENTS = 90
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of an S3 server with a bucket `staging` in it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx.put(f"{url}/staging").raise_for_status()
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def halo() -> Iterator[HaloStandIn]:
    """Three accounts with some events."""
    with HaloStandIn(accounts=3, events=EVENTS, days=2) as halo:
        yield halo


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A sensor on loopback."""
    with Receiver("tcp") as receiver:
        yield receiver


def on_object_storage(
    folder: Path, prefix: str, address: str, halo: HaloStandIn, receiver: Receiver
) -> Command:
    """The command line with its staging in the bucket."""
    halo_usm = command_for(folder, halo, receiver.url("tcp", name="sensor"))
    halo_usm.settings |= KEYS | {
        "HALO_STAGING": f"s3://staging/{prefix}?endpoint_override={address}",
        "HALO_START": (datetime.now(UTC) - timedelta(days=3)).isoformat(),
    }
    return halo_usm


def staged(prefix: str, address: str) -> list[str]:
    """The ids in raw."""
    bucket = fs.S3FileSystem(
        access_key=KEYS["AWS_ACCESS_KEY_ID"],
        secret_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        endpoint_override=address,
    )
    raw = ds.dataset(f"staging/{prefix}/raw", filesystem=bucket, partitioning="hive")
    ids: list[str] = raw.to_table(columns=["event_id"])["event_id"].to_pylist()
    return ids


def test_every_stage_works_on_object_storage(
    tmp_path: Path, address: str, halo: HaloStandIn, receiver: Receiver
) -> None:
    """Events are staged and delivered once, a second sync sends nothing, the audit adds up."""
    halo_usm = on_object_storage(tmp_path, "stages", address, halo, receiver)
    assert "keeps no locks" in halo_usm("check").stdout
    halo_usm("sync")
    halo_usm("sync")
    ids = staged("stages", address)
    assert len(set(ids)) == len(ids) == len(receiver.messages("tcp")) == EVENTS
    halo_usm("transform", "--since", "2020-01-01")
    halo_usm("replay", "--since", "2020-01-01", "--only", "all")
    assert len(receiver.messages("tcp")) == 2 * EVENTS
    halo_usm("audit", "--since", "2020-01-01")
    assert halo_usm.status()["destinations"]["sensor"]["delivered"] == EVENTS


def test_two_flow_runs_on_object_storage_leave_accounts_to_each_other(
    tmp_path: Path, address: str, server: dict[str, str], receiver: Receiver
) -> None:
    """Of two syncs at once one works on an account, the other says that it leaves it."""
    with HaloStandIn(accounts=1, events=EVENTS, days=2, latency_ms=4000) as halo:
        halo_usm = on_object_storage(tmp_path, "two", address, halo, receiver)
        halo_usm.settings |= server
        first = halo_usm.popen("sync")
        while not halo.counters.requests:
            assert first.poll() is None
            time.sleep(0.1)
        assert "account alpha is in the hands of another run" in halo_usm("sync").stderr
        halo.switches.latency_ms = 0
        _, said = first.communicate(timeout=100)
    assert first.returncode == 0, said
    assert "in the hands of" not in said
    ids = staged("two", address)
    assert len(set(ids)) == len(ids) == len(receiver.messages("tcp")) == EVENTS


@pytest.fixture
def on_server(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """This process uses the server."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("on_server")
def test_a_lock_of_the_server_has_one_holder() -> None:
    """While it is held others are refused; other locks and other stagings are free."""
    held, other = (ServerLocks(staging, threading.Event()) for staging in ("s3://a", "s3://b"))
    with held("account=alpha"):
        with (
            pytest.raises(InUseError, match="account alpha is in the hands of another run"),
            held("account=alpha"),
        ):
            pass
        with held("account=beta"), other("account=alpha"):
            pass
    with held("account=alpha"):
        pass


@pytest.mark.usefixtures("on_server")
def test_a_lock_that_is_renewed_does_not_lapse() -> None:
    """A holder that lives keeps its lock for longer than a lease."""
    locks = ServerLocks("s3://renewed", threading.Event(), lease=3)
    with locks("account=alpha"):
        time.sleep(6)
        with pytest.raises(InUseError), locks("account=alpha"):
            pass
    assert not locks.stop.is_set()


def test_a_killed_holder_stops_nobody_for_longer_than_a_lease(
    server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of a process ended by SIGKILL is refused at first, and taken over in the end."""
    program = (
        "import threading, time\n"
        "from flows.server_locks import ServerLocks\n"
        "with ServerLocks('s3://killed', threading.Event())('account=alpha'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(100)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | server,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate()
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    locks = ServerLocks("s3://killed", threading.Event(), lease=4)
    with pytest.raises(InUseError), locks("account=alpha"):
        pass
    until = time.monotonic() + 30
    while True:
        try:
            with locks("account=alpha"):
                break
        except InUseError:
            assert time.monotonic() < until
            time.sleep(0.5)


@pytest.mark.usefixtures("on_server")
def test_a_holder_that_lost_its_lock_ends_its_run_in_order(server: dict[str, str]) -> None:
    """Where somebody else has removed it, the run is told to stop, and the fault is said."""
    locks = ServerLocks("s3://lost", threading.Event(), lease=3)
    url = f"{server['PREFECT_API_URL']}/variables"

    def lose() -> None:
        with locks("account=alpha"):
            for row in httpx.post(f"{url}/filter", json={}).json():
                httpx.delete(f"{url}/{row['id']}").raise_for_status()
            assert locks.stop.wait(10)

    with pytest.raises(StagingError, match="could not be renewed"):
        lose()
