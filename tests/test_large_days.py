from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.receiver import Receiver
from tasks.staging.store import open_store
from tests.flows.command import Command
from tests.large_days import DESTINATION, write_day
from tests.peak import peak_of

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024
GIB = 1024 * MIB
DAY = date(2026, 3, 1)


def staged(folder: Path, events: int, days: int = 1, *, only_raw: bool = False) -> Command:
    """A command for a staging of so many days, each of so many events."""
    store = open_store(str(folder / "staging"))
    for number in range(days):
        write_day(store, DAY + timedelta(days=number), events, only_raw=only_raw)
    url = f"tcp://127.0.0.1:9?name={DESTINATION}"
    return Command(folder, {"HALO_STAGING": str(folder / "staging"), "USM_SENSOR": url})


def audited(halo_usm: Command, days: int = 1, limits: dict[str, int] | None = None) -> int:
    """The peak of an audit of all days."""
    until = DAY + timedelta(days=days)
    return peak_of(halo_usm, "audit", "--since", f"{DAY}", "--until", f"{until}", limits=limits)


def test_memory_of_an_audit_does_not_grow_with_the_events_of_a_day(tmp_path: Path) -> None:
    """An eighth of the events at a time: eight times as many, about the same memory."""
    limits = {"tasks.reports.reconciliation:EVENTS_AT_ONCE": 30_000}
    few, many = (
        audited(staged(tmp_path / str(events), events), limits=limits)
        for events in (30_000, 240_000)
    )
    assert many - few < 40 * MIB


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_audit_of_ten_million_events(tmp_path: Path) -> None:
    """Days of 2,000,000 events: below 1 GiB."""
    halo_usm = staged(tmp_path, 2_000_000, days=5)
    peak = audited(halo_usm, days=5)
    print(peak // MIB)
    assert peak < GIB


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_replay_of_ten_million_events(tmp_path: Path) -> None:
    """Days of 2,000,000 events: below 1 GiB."""
    halo_usm = staged(tmp_path, 2_000_000, days=5)
    with Receiver("tcp", keep=False) as receiver:
        halo_usm.settings["USM_SENSOR"] = receiver.url("tcp", name=DESTINATION, batch=20_000)
        span = ("--since", f"{DAY}", "--until", f"{DAY + timedelta(days=5)}")
        peak = peak_of(halo_usm, "replay", *span, "--only", "all")
    print(peak // MIB)
    assert peak < GIB


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_transform_of_a_day_of_two_million_events(tmp_path: Path) -> None:
    """Below 1 GiB, the first time and anew."""
    halo_usm = staged(tmp_path, 2_000_000, only_raw=True)
    auth = tmp_path / "haloEvents.auth"
    auth.write_text("key|secret|alpha\n")
    auth.chmod(0o600)
    halo_usm.settings["HALO_AUTH_FILE"] = str(auth)
    first = peak_of(halo_usm, "transform")
    anew = peak_of(halo_usm, "transform", "--since", f"{DAY}", "--until", f"{DAY}T23:59:59")
    print(first // MIB, anew // MIB)
    assert max(first, anew) < GIB
