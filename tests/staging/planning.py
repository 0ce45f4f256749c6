"""What each stage plans to do with a staging, with what is kept of its days and without."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks.load.pending_days import now, pending_days
from tasks.staging import coverage, day_files
from tasks.staging.deliveries.pending import Selection
from tasks.staging.known_ids import KnownIds
from tasks.staging.unfinished import unfinished

if TYPE_CHECKING:
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination

DAYS = 4
QUIET = 0.02
"""Seconds; more than a tick of any kernel's clock."""


def plan(store: Store, *sensors: Destination, cached: bool) -> list[Any]:
    """What is to be done by all that is staged, in the words of each stage."""
    if cached:
        days = unfinished(store, "alpha")
    else:
        days = {
            day: state
            for day, state in day_files.days(store, "alpha").items()
            if state.waiting or state.leftovers or state.orphans
        }
    return [
        coverage.read_coverage(store, "alpha", cached=cached),
        days,
        [
            (to.name, day.ledger.day, [file.name for file in day.normalized], day.events)
            for to in sensors
            for day in pending_days(
                store,
                to.name,
                "alpha",
                Selection("undelivered", to.takes, None, now()),
                cached=cached,
            )
        ],
    ]


def known_ids(store: Store, *, cached: bool) -> list[Any]:
    """Which ids are staged in the files that may have some."""
    known = KnownIds(store, "alpha", cached=cached)
    ids = pa.chunked_array([[f"e{day}-1" for day in range(DAYS)]], pa.string())
    return [sorted(known.staged(ids).to_pylist()), known.unreadable]


def fill(store: Store, *sensors: Destination) -> None:
    """Have everything kept that may be."""
    time.sleep(1.5 * QUIET)
    plan(store, *sensors, cached=True)
    known_ids(store, cached=True)
