"""What the tests of load start from: an empty staging, and an honest receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.receiver import Receiver
from tasks.staging.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty staging."""
    return open_store(str(tmp_path))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An honest receiver."""
    with Receiver("udp", "tcp") as receiver:
        yield receiver
