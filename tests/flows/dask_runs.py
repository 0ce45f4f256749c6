"""A command whose flow runs use a Dask cluster, and what kills its workers or listens to them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import socketserver
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pyarrow.dataset as ds
from pyarrow import fs

from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tests.dask_cluster import DaskCluster, dask_cluster
from tests.flows.command import Command, command_for
from tests.flows.test_object_storage import WITH_SHORT_LEASES
from tests.object_storage import BUCKET, KEYS, Proxy, s3_proxy
from tests.staging.rejecting_receiver import ids_in

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    import pytest

BATCH = 100
KEYS_OF_STORAGE = KEYS | {"AWS_SECRET_ACCESS_KEY": "never-pickled-key"}


@dataclass
class Killer:
    """Kills the process that holds a lease, once so many files of a stage were put.

    Attributes:
        s3: Where it looks.
        owner: Of which lease; the path's own account by default.
        tree: The stage.
        after: How many files.
        end: How.
        killed: The processes.
    """

    s3: Proxy
    tree: str
    after: int
    owner: str = ""
    end: Callable[[int], None] = lambda process: os.kill(process, signal.SIGKILL)
    killed: list[int] = field(default_factory=list)
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, method: str, path: str) -> bool:
        """What the proxy asks of each request, in threads; none is refused."""
        found = re.search(rf"/{self.tree}/.*?(account(?:=|%3D)[^/]+)/.*\.parquet", path)
        if method == "PUT" and found:
            with self._counting:
                self.after -= 1
                if self.after < 0 and not self.killed:
                    owner = self.owner or found[1].replace("%3D", "=")
                    self.killed.append(holder(self.s3, path.split("/")[2], owner)["process"])
                    self.end(self.killed[0])
        return False


def terminate_parent(process: int) -> None:
    """Send SIGTERM to the nanny of a worker, which is what `dask worker` starts."""
    os.kill(
        int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGTERM
    )


def holder(s3: Proxy, prefix: str, owner: str) -> dict[str, int]:
    """Who holds a lease, as its object says."""
    with opened(s3).open_input_file(f"{BUCKET}/{prefix}/.locks/{owner}.json") as file:
        said: dict[str, int] = json.loads(file.readall())
    return said


def opened(s3: Proxy) -> fs.S3FileSystem:
    """The storage itself, not by its proxy."""
    return fs.S3FileSystem(
        access_key=KEYS["AWS_ACCESS_KEY_ID"],
        secret_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        endpoint_override=s3.server,
    )


@dataclass
class Cluster:
    """A command whose flow runs use a cluster, and what it reads, stages and sends to."""

    halo_usm: Command
    halo: HaloStandIn
    receiver: Receiver
    s3: Proxy
    prefix: str
    dask: DaskCluster

    def start(self) -> subprocess.Popen[str]:
        """Start a sync."""
        return self.halo_usm.popen("sync")

    def assert_all_is_there(self, repeated: int = 0) -> None:
        """Parquet, ledger and receiver have each event that Halo has; none is there twice.

        The receiver may have some again.
        """
        served = sorted(
            orjson.loads(event)["id"]
            for account in self.halo.accounts.values()
            for event in account.visible()
        )
        assert sorted(self.column("raw", "event_id")) == served
        assert sorted(self.column("normalized", "event_id")) == served
        assert sorted(self.column("deliveries", "event_id")) == served
        assert set(self.column("deliveries", "status")) == {"confirmed"}
        arrived = Counter(ids_in(b"\n".join(self.receiver.messages("tcp"))))
        assert sorted(arrived) == served
        assert arrived.total() - len(served) <= repeated

    def column(self, stage: str, name: str) -> list[str]:
        """A column of what is staged."""
        table = ds.dataset(f"{BUCKET}/{self.prefix}/{stage}", filesystem=opened(self.s3))
        values: list[str] = table.to_table(columns=[name])[name].to_pylist()
        return values


def clusters(
    request: pytest.FixtureRequest, accounts: int, events: int, latency_ms: float
) -> Iterator[Cluster]:
    """Two workers, so many accounts, and a Prefect server."""
    folder: Path = request.getfixturevalue("tmp_path")
    prefix = re.sub(r"\W", "-", request.node.name)
    with (
        HaloStandIn(accounts=accounts, events=events, days=2, latency_ms=latency_ms) as halo,
        Receiver("tcp") as receiver,
        s3_proxy(request.getfixturevalue("server_of_s3")) as s3,
    ):
        sensor = receiver.url("tcp", name="sensor", batch=BATCH)
        halo_usm = command_for(folder, halo, sensor, days=3)
        halo_usm.program = WITH_SHORT_LEASES
        halo_usm.settings |= KEYS_OF_STORAGE | {"HALO_STAGING": s3.staging(prefix)}
        halo_usm.settings |= request.getfixturevalue("server")
        with dask_cluster(folder / "dask", halo_usm.environment) as dask:
            halo_usm.settings |= {"HALO_TASK_RUNNER": "dask", "HALO_DASK_ADDRESS": dask.address}
            yield Cluster(halo_usm, halo, receiver, s3, prefix, dask)


@dataclass
class Tape:
    """A port before a scheduler, and what has passed through it in both directions."""

    address: str
    passed: bytearray = field(default_factory=bytearray)


@contextmanager
def recorder(scheduler: str) -> Iterator[Tape]:
    """Pass all connections on, and keep what passes."""
    host, _, port = scheduler.removeprefix("tcp://").rpartition(":")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, int(port))) as other:
                back = threading.Thread(target=pump, args=(other, self.request))
                back.start()
                pump(self.request, other)
                back.join()

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                tape.passed += data
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    class Relay(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Relay(("127.0.0.1", 0), Handler) as relay:
        tape = Tape(f"tcp://127.0.0.1:{relay.server_address[1]}")
        thread = threading.Thread(target=relay.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield tape
        finally:
            relay.shutdown()
            thread.join()
