"""A stand-in that is as new for each test, with one account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.halo_api import HaloStandIn
from tests.extract.harness import NOW, START, events

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def running() -> Iterator[HaloStandIn]:
    """An API with one account, for every test in turn."""
    with HaloStandIn(1) as standin:
        yield standin


@pytest.fixture
def halo(running: HaloStandIn) -> HaloStandIn:
    """That API as new, with 250 events."""
    running.renew()
    running.clock.set(NOW)
    running["alpha"].add(events(250, START, NOW))
    return running
