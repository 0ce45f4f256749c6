"""The servers that flows speak to: Prefect's, Halo's stand-in, a sensor."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.cli.prefect_server import PrefectServer, prefect_server
from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tests.flows.command import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server of these tests' own; it ends when they do, for it computes while it waits.

    What uses it is among `SHARING_SERVERS`, so that one process runs it all.
    """
    with prefect_server(home=tmp_path_factory.mktemp("prefect")) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture
def prefect_home(prefect: PrefectServer, tmp_path: Path) -> Path:
    """A folder of a test's own with a database for a server, which need not be made anew."""
    home = tmp_path / "prefect-home"
    home.mkdir()
    with (
        closing(
            sqlite3.connect(Path(prefect.environment["PREFECT_HOME"]) / "prefect.db")
        ) as source,
        closing(sqlite3.connect(home / "prefect.db")) as target,
    ):
        source.backup(target)
    return home


@pytest.fixture
def server(prefect: PrefectServer) -> dict[str, str]:
    """The environment variables with which a command uses that server."""
    return prefect.environment


@pytest.fixture
def halo() -> Iterator[HaloStandIn]:
    """Three accounts with some events of two days."""
    with HaloStandIn(accounts=3, events=EVENTS, days=2) as halo:
        yield halo


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A sensor on loopback."""
    with Receiver() as receiver:
        yield receiver
