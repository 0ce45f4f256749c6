"""The stagings that benchmarks grow are as real syncs leave them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

from flows import pipeline
from flows.context import prepare
from sandbox.events import generate
from sandbox.halo_api import Clock, HaloStandIn
from sandbox.receiver import Receiver
from tasks.reports.audit import audit_range
from tasks.reports.event_history import audit_event
from tasks.reports.status import status
from tasks.staging.known_ids import Candidates
from tasks.staging.store import open_store
from tasks.time_window import Window
from tests.bench.grown_staging import DESTINATION, EVENTS, SYNC, GrownStaging, syncs
from tests.same_every_time import NoWait, OneByOne, same_every_time
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = datetime(2026, 3, 1, 8, tzinfo=UTC)
COUNT = 12
TREES = ("raw", "normalized", "deliveries")


def really_sync(folder: Path) -> None:
    """An hour of syncs, the whole product against the stand-in."""
    clock = Clock(at=BEGIN)
    with (
        HaloStandIn(1, clock=clock) as halo,
        Receiver("tcp", keep=False) as receiver,
        same_every_time(clock),
    ):
        settings: dict[str, Any] = {
            "halo_api_url": halo.url,
            "halo_auth_file": halo.write_auth(folder / "haloEvents.auth"),
            "halo_staging": str(folder / "staging"),
            "halo_start": BEGIN.isoformat(),
            "usm_sensor": receiver.url("tcp", name=DESTINATION),
        }
        for number in range(COUNT):
            since = BEGIN + number * SYNC
            halo["alpha"].add(generate(EVENTS, since, since + SYNC, account="alpha"))
            clock.set(since + SYNC)
            work = prepare(flags=settings, accounts=True, sensors=True, stop=NoWait())
            assert not [p for done in pipeline.sync(work, OneByOne()) for p in done.problems]


def shapes(staging: Path, tree: str) -> list[str]:
    """The names of a tree's files, without what differs from file to file."""
    names = [path.name for path in staging.glob(f"{tree}/**/*.parquet")]
    plain = [re.sub(r"-[0-9a-f]{8}-", "-unique-", name) for name in names]
    return sorted(re.sub(r"\d{12}", "clock", re.sub(r"\d{8}T", "", name)) for name in plain)


def test_files_are_those_of_real_syncs(tmp_path: Path) -> None:
    """As many, under names of the same form, and about as large."""
    really_sync(tmp_path)
    syncs(open_store(str(tmp_path / "made")), "alpha", BEGIN, COUNT)
    for tree in TREES:
        [*real] = (tmp_path / "staging").glob(f"{tree}/**/*.parquet")
        [*made] = (tmp_path / "made").glob(f"{tree}/**/*.parquet")
        begins = [path for path in real if path.stem.endswith("-begin")]
        assert len(real) - len(begins) == len(made) == COUNT
        found = shapes(tmp_path / "staging", tree)
        assert [name for name in found if "-begin" not in name] == shapes(tmp_path / "made", tree)
        bytes_made, bytes_real = (
            sum(path.stat().st_size for path in paths if path not in begins)
            for paths in (made, real)
        )
        assert abs(bytes_made / bytes_real - 1) < 0.05, tree


def test_grown_days_are_whole(tmp_path: Path) -> None:
    """Nothing is pending or missing, by names on all days and by content on those made first."""
    days = [BEGIN.date() + timedelta(days=number) for number in range(3)]
    with (
        mock.patch("tests.bench.grown_staging.SYNCS", 12),
        mock.patch("tests.bench.grown_staging.SYNC", timedelta(hours=2)),
    ):
        grown = GrownStaging(tmp_path, days)
    sensor = destination(f"tcp://127.0.0.1:9?name={DESTINATION}")
    for kind, make in {"unmaintained": grown.unmaintained, "maintained": grown.maintained}.items():
        make(tmp_path / kind)
        store = open_store(str(tmp_path / kind))
        counted = status(store, [sensor])
        assert counted.destinations[DESTINATION].delivered == 3 * 12 * EVENTS
        [covered] = counted.accounts["alpha"].covered
        assert covered.count_days() == 3
        for day in (days[0], days[-1]):
            assert audit_range(store, Window.of_day(day), [sensor]).consistent
        [first, *_] = store.files("raw", "alpha", days[0])
        assert len(store.files("raw", "alpha", days[1])) == (1 if kind == "maintained" else 12)
        path = f"{store.folder('raw', 'alpha', days[0])}/{first}"
        event = store.read(path, ["event_id"])["event_id"][0].as_py()
        assert Candidates(store, "alpha", event).days == {days[0]}
        assert len(audit_event(store, event).deliveries) == 1
