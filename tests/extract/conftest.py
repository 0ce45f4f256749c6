"""A stand-in whose clock stands still, and a staging beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.halo_api import HaloStandIn
from sandbox.halo_state import Clock
from tests.extract.site import NOW, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def halo() -> Iterator[HaloStandIn]:
    """An API whose time is `NOW`, with two accounts, alpha and beta."""
    with HaloStandIn(2, clock=Clock(NOW)) as standin:
        yield standin


@pytest.fixture
def site(halo: HaloStandIn, tmp_path: Path) -> Site:
    """A staging of that API's accounts."""
    return Site(halo, tmp_path)
