"""A stand-in whose clock stands still, and a staging beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.halo_api import HaloStandIn
from tests.extract.harness import NOW, Harness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def running() -> Iterator[HaloStandIn]:
    """An API with two accounts, alpha and beta, for every test in turn."""
    with HaloStandIn(2) as standin:
        yield standin


@pytest.fixture
def halo(running: HaloStandIn) -> HaloStandIn:
    """That API as new, its time standing still at `NOW`."""
    running.renew()
    running.clock.set(NOW)
    return running


@pytest.fixture
def harness(halo: HaloStandIn, tmp_path: Path) -> Harness:
    """A staging of that API's accounts."""
    return Harness(halo, tmp_path)
