"""Who follows the messages about damaged files exactly gets a healthy staging."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from sandbox import odd_events
from sandbox.halo_api import HaloStandIn
from tasks.reports.audit import audit_range
from tasks.reports.status import status
from tasks.staging.store import open_store
from tasks.time_window import Window
from tests.flows.command import Command, command_for
from tests.staging.rejecting_receiver import ids_in
from tests.staging.staged_data import at, broken, ids, raw, stage, window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.receiver import Receiver


@pytest.fixture
def halo() -> Iterator[HaloStandIn]:
    """An account with some events of two days, and some malformed ones."""
    with HaloStandIn(accounts=1, events=300, days=2) as halo:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        halo["alpha"].add(odd_events.malformed(yesterday).values(), created_at=yesterday)
        yield halo


@pytest.fixture
def halo_usm(tmp_path: Path, halo: HaloStandIn, receiver: Receiver) -> Command:
    """The command line, after a first sync; beside it an account of long ago with a reject."""
    store = open_store(str(tmp_path / "staging"))
    stage(store, window(2, 3), broken(raw([("a", at(2)), ("b", at(2.5))]), "b"), "old")
    command = command_for(tmp_path, halo, receiver.url("tcp", name="sensor"), days=3)
    command("sync")
    return command


def audit(halo_usm: Command) -> list[str]:
    """What is wrong by an audit of everything."""
    store = open_store(str(halo_usm.folder / "staging"))
    return audit_range(store, Window(at(0), datetime.now(UTC))).problems


def repair(halo_usm: Command, file: Path) -> None:
    """Damage a file and follow the audit: move the file out, run the command, if it says so."""
    file.write_bytes(b"PAR1 or so")
    [said] = [problem for problem in audit(halo_usm) if str(file) in problem]
    if "move it out of the staging" in said:
        file.rename(halo_usm.folder / "damaged")
    for command in re.findall(r"`halo-usm (.*?)`", said):
        halo_usm(*shlex.split(command))


def assert_healthy(halo_usm: Command) -> None:
    """A sync finds nothing wrong and nothing new, and all adds up."""
    assert "delivered" not in halo_usm("sync").stdout
    found = status(open_store(str(halo_usm.folder / "staging")))
    sensor = found.destinations["sensor"]
    assert (sensor.pending, sensor.failed) == (0, 0)
    assert found.accounts["alpha"].gaps == []
    assert audit(halo_usm) == []


def largest(halo_usm: Command, tree: str) -> Path:
    """The file of a tree with the most in it."""
    found = halo_usm.folder.glob(f"staging/{tree}/**/*.parquet")
    return max(found, key=lambda path: pq.read_metadata(path).num_rows)


@pytest.mark.parametrize(
    "tree",
    ["raw/account=alpha", "normalized/account=alpha", "rejected/account=old"],
)
def test_repaired_file_sends_nothing_again(
    halo_usm: Command, receiver: Receiver, tree: str
) -> None:
    """A damaged raw, normalized or rejected file costs no event, and none goes out twice."""
    repair(halo_usm, largest(halo_usm, tree))
    assert_healthy(halo_usm)
    store = open_store(str(halo_usm.folder / "staging"))
    normalized = ids(store, "normalized") + ids(store, "normalized", "old")
    assert len(normalized) == 301
    assert Counter(ids_in(b"\n".join(receiver.messages("tcp")))) == Counter(normalized)
    assert ids(store, "rejected", "old") == ["b"]


def test_repaired_file_of_malformed_events(halo_usm: Command, receiver: Receiver) -> None:
    """What could not be staged is put apart again, with or without a date."""
    store = open_store(str(halo_usm.folder / "staging"))
    before = ids(store, "rejected")
    assert len(before) == len(odd_events.malformed(datetime.now(UTC)))
    for file in halo_usm.folder.glob("staging/rejected/account=alpha/*/extract-*"):
        repair(halo_usm, file)
    assert_healthy(halo_usm)
    assert ids(store, "rejected") == before
    assert len(receiver.messages("tcp")) == 301


def test_repaired_ledger_sends_what_it_told_of(halo_usm: Command, receiver: Receiver) -> None:
    """Only the events of a damaged ledger file are sent again."""
    file = largest(halo_usm, "deliveries")
    told = Counter(pq.read_table(file, partitioning=None)["event_id"].to_pylist())
    repair(halo_usm, file)
    halo_usm("sync")
    assert_healthy(halo_usm)
    sent = Counter(ids_in(b"\n".join(receiver.messages("tcp"))))
    assert sent.total() == 301 + told.total()
    assert {event_id for event_id, times in sent.items() if times > 1} == told.keys()


def test_damaged_normalized_file_and_a_late_event(
    halo_usm: Command, halo: HaloStandIn, receiver: Receiver
) -> None:
    """What appears late beside events that were delivered from a damaged file goes out, too."""
    repair(halo_usm, largest(halo_usm, "normalized/account=alpha"))
    late = datetime.now(UTC) - timedelta(minutes=5)
    halo["alpha"].add([{"id": "late", "created_at": late.isoformat(), "type": "?"}])
    halo_usm("sync")
    assert_healthy(halo_usm)
    sent = Counter(ids_in(b"\n".join(receiver.messages("tcp"))))
    assert (sent["late"], sent.total()) == (1, 302)
