"""A staging on object storage: an S3 server on loopback, where only a Prefect server has locks."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pyarrow.dataset as ds
import pytest
from pyarrow import fs

from sandbox.halo_api import HaloStandIn
from tests.flows.command import EVENTS, Command, command_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.receiver import Receiver

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


def on_object_storage(
    folder: Path, prefix: str, address: str, halo: HaloStandIn, receiver: Receiver
) -> Command:
    """The command line with its staging in the bucket."""
    halo_usm = command_for(folder, halo, receiver.url("tcp", name="sensor"), days=3)
    halo_usm.settings |= KEYS | {
        "HALO_STAGING": f"s3://staging/{prefix}?endpoint_override={address}",
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
