"""What takes every event, an S3 server, and a Halo API with a staging beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.extract.conftest import halo, harness, running
from tests.maintain.days import BATCH
from tests.staging.conftest import s3, server, staging
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.syslog.destination import Destination

__all__ = ["halo", "harness", "running", "s3", "server", "staging"]


@pytest.fixture
def receiver() -> Iterator[RejectingReceiver]:
    """A receiver."""
    with RejectingReceiver(lambda _: True) as listening:
        yield listening


@pytest.fixture
def sensor(receiver: RejectingReceiver) -> Destination:
    """It as a destination."""
    return destination(receiver.url(batch=BATCH))
