"""What the tests of reports deliver to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.staging.rejecting_receiver import RejectingReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def receiver() -> Iterator[RejectingReceiver]:
    """A receiver that takes everything, until told otherwise."""
    with RejectingReceiver(lambda _: True) as receiver:
        yield receiver
