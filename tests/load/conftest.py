"""What the tests of load start from: an empty staging, and an honest receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An honest receiver."""
    with Receiver("udp", "tcp") as receiver:
        yield receiver
