"""The servers that flows speak to: Prefect's, Halo's stand-in, a sensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flows.prefect_server import prefect_server, wait_until_ready
from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tests.flows.command import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server of these tests' own.

    What uses it is among `SHARING_SERVERS`, so that one process runs it all.
    """
    with prefect_server(tmp_path_factory.mktemp("prefect")) as environment:
        wait_until_ready(environment)
        yield environment


@pytest.fixture
def on_server(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """This process uses the server."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    return server


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
