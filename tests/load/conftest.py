"""What the tests of load start from: an empty staging, and an honest receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.receiver import Receiver
from tests.load.helpers import CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

EIGHT_IN_SOAK = pytest.param(8, marks=pytest.mark.soak)
FAULTS = {
    "test_failing_receivers": (1, 8),
    "test_full_disk": (1, 8),
    "test_runs": (1, 8),
    "test_ledger": (1, 8),
    "test_anew": (1, EIGHT_IN_SOAK),
    "test_events_at_fault": (1, EIGHT_IN_SOAK),
    "test_relp": (1, EIGHT_IN_SOAK),
    "test_replay_cut_short": (1, EIGHT_IN_SOAK),
}
"""The modules whose tests are run with these numbers of connections."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Meet faults with one connection and with several."""
    if counts := FAULTS.get(metafunc.module.__name__.rpartition(".")[2]):
        metafunc.parametrize("connections", counts, indirect=True)


@pytest.fixture(autouse=True)
def connections(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many connections loads and replays have."""
    CONNECTIONS.append(getattr(request, "param", 1))
    yield CONNECTIONS[-1]
    CONNECTIONS.pop()


@pytest.fixture
def no_close_grace(short_close_grace: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait for an early end, where each receiver reads to the end before it does anything."""
    monkeypatch.setattr("tasks.syslog.end_delay.UNPROVEN_SECONDS", 0.0)
    monkeypatch.setattr("tasks.syslog.end_delay.DOUBTED_SECONDS", 0.0)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An honest receiver."""
    with Receiver("udp", "tcp") as receiver:
        yield receiver
