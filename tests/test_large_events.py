"""Events so large that those of one window don't fit into memory: staged and delivered all."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.halo_api import HaloStandIn
from sandbox.receiver import Receiver
from tests.extract.harness import event, events
from tests.flows.command import command_for
from tests.peak import peak_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.flows.command import Command

KIB, MIB, GIB = 1024, 1024**2, 1024**3
COMMANDS = ("extract", "transform", "load")
LIMITS = {
    "tasks.halo.window_reader:MAX_HELD": 16 * MIB,
    "tasks.halo.window_reader:MAX_IN_FLIGHT": 128 * MIB,
    "tasks.halo.page_budget:UNKNOWN": 32 * MIB,
    "tasks.halo.page_budget:SMALL": MIB,
    "tasks.halo.paginator:SMALL": MIB,
    "tasks.staging.storage.writer:ROW_GROUP_BYTES": 32 * MIB,
    "tasks.load.batches:_BYTES": 32 * MIB,
}
"""What bounds memory."""
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells the peak")


def yesterday() -> datetime:
    """A time in the middle of a day that is over."""
    return (datetime.now(UTC) - timedelta(days=1)).replace(hour=12, minute=0)


def peaks(halo_usm: Command, limits: Mapping[str, int] | None = None) -> dict[str, int]:
    """The peak of memory of each stage."""
    return {name: peak_of(halo_usm, name, limits=limits) for name in COMMANDS}


def check(halo_usm: Command, receiver: Receiver, count: int) -> None:
    """Everything is staged once, normalized and delivered once."""
    status = halo_usm.status()
    assert status["accounts"]["alpha"]["staged"] == count
    assert status["accounts"]["alpha"]["normalized"] == count
    assert status["accounts"]["alpha"]["gaps"] == []
    received = receiver.wait_for(count, "tcp", seconds=60)
    assert len(received) == len({line.partition(b"externalId=")[2][:32] for line in received})


@pytest.mark.timeout(300)
def test_memory_does_not_grow_with_the_text_of_a_window(tmp_path: Path) -> None:
    """All limits and events a tenth of what they are: five times the text, the same memory."""
    limits = {place: limit // 10 for place, limit in LIMITS.items()}
    with HaloStandIn(1, padding=60 * KIB) as halo, Receiver("tcp") as receiver:
        halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=2)
        halo["alpha"].add(events(400, yesterday(), yesterday() + HOUR))
        before = peaks(halo_usm, limits)
        # late ones: the window is read again
        halo["alpha"].add(events(1600, yesterday(), yesterday() + HOUR, first=1000))
        halo_usm.settings["HALO_LOOKBACK_MINUTES"] = "4320"
        after = peaks(halo_usm, limits)
        check(halo_usm, receiver, 2000)
    growth = {name: (after[name] - before[name]) // MIB for name in COMMANDS}
    assert 1600 * 60 * KIB > 90 * MIB
    assert max(growth.values()) < 60, growth


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("quirk", ["as it is", "all at one time", "no count", "not strict"])
def test_two_gibibytes_of_text_in_one_window(tmp_path: Path, quirk: str) -> None:
    """600 KiB an event, as large as an answer may be: below 1 GiB of memory at every stage."""
    many = 3700
    assert many * 600 * KIB > 2 * GIB
    began = yesterday()
    switches: dict[str, Any] = {"count": False} if quirk == "no count" else {}
    with (
        HaloStandIn(1, padding=600 * KIB, **switches) as halo,
        Receiver("tcp") as receiver,
    ):
        halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=2)
        if quirk == "all at one time":
            halo["alpha"].add([event(at, began) for at in range(many)])
        elif quirk == "not strict":
            listed = [event(at, began + at * timedelta(seconds=1)) for at in range(many)]
            texts = (json.dumps(one | {"message": "TAB"}).replace("TAB", "a\tb") for one in listed)
            halo["alpha"].add([text.encode() for text in texts])
        else:
            halo["alpha"].add(events(many, began, began + HOUR))
        found = peaks(halo_usm)
        print({name: peak // MIB for name, peak in found.items()})
        check(halo_usm, receiver, many)
    assert max(found.values()) < GIB


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_large_events_in_many_windows(tmp_path: Path) -> None:
    """Windows read at the same time share what memory there is for large answers."""
    began = yesterday()
    with HaloStandIn(1, padding=600 * KIB) as halo, Receiver("tcp") as receiver:
        halo_usm = command_for(tmp_path, halo, receiver.url("tcp"), days=13)
        halo["alpha"].add(events(2000, began - timedelta(days=10), began))
        found = peaks(halo_usm)
        print({name: peak // MIB for name, peak in found.items()})
        check(halo_usm, receiver, 2000)
    assert max(found.values()) < GIB
