"""Days of small files to be compacted, and what every reader has to see of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.load.destination import load_destination
from tasks.maintain.compaction import CompactionResult, compact_account
from tasks.maintain.maintenance_run import MaintenanceRun
from tasks.notebook import Staging
from tasks.reports.audit import RangeAudit, audit_range
from tasks.reports.export import export_to
from tasks.reports.status import Status, status
from tasks.staging.raw import stage_window
from tests.staging.staged_data import at, broken, malformed, raw, transform, window

if TYPE_CHECKING:
    from datetime import datetime

    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination

BATCH = 4
EVENTS_A_FILE = 3


def dense_day(
    store: Store, day: int = 0, *, files: int = 6, first: float = 0, prefix: str = "e"
) -> list[str]:
    """Stage and normalize a whole day, several events a file and one of them bad; their ids."""
    hours = (24 - first) / files
    found = []
    now = at(23.5, day)
    for number in range(files):
        since = first + number * hours
        events = [
            (f"{prefix}{day}-{number}-{n}", at(since + hours * n / EVENTS_A_FILE, day))
            for n in range(EVENTS_A_FILE)
        ]
        found += [event_id for event_id, _ in events]
        bad = malformed(
            (f"bad{day}-{number}", at(since, day), "{}"), (f"dateless{day}-{number}", None, "{}")
        )
        rows = broken(raw(events), f"{prefix}{day}-{number}-1")
        stage_window(store, "alpha", window(since, since + hours, day), rows, bad, "run", now)
        transform(store)
    return found


def load(store: Store, destination: Destination) -> Any:
    """Deliver what is pending."""
    return load_destination(store, destination, run_id="run", pauses=(0.0, 0.0))


def compact(
    store: Store,
    *destinations: Destination,
    now: datetime | None = None,
    grace: float = 0.0,
    dry_run: bool = False,
    wait: float = 30.0,
) -> CompactionResult:
    """Compact what is over 60 days later."""
    now = now or at(0, 60)
    run = MaintenanceRun(store, "alpha", destinations, now, dry_run=dry_run, wait=wait)
    return compact_account(run, grace=grace)


def files(store: Store, tree: str, day: int = 0, destination: str = "") -> list[str]:
    """Names of a day's files."""
    return store.files(tree, "alpha", at(0, day).date(), destination)


def look(
    store: Store, destination: Destination, output: Path
) -> tuple[RangeAudit, Status, dict[str, list[str]]]:
    """What every reader says of the staging."""
    export_to(store, window(0, 24 * 60), "json", output)
    frames = Staging(store)
    ids = {
        "raw": frames.raw(),
        "normalized": frames.events(),
        "rejected": frames.rejected(),
        "deliveries": frames.deliveries(),
    }
    found = {tree: sorted(frame["event_id"]) for tree, frame in ids.items()}
    found["export"] = sorted(output.read_text().splitlines())
    return (
        audit_range(store, window(0, 24 * 60), [destination]),
        status(store, [destination]),
        found,
    )


def on_disk(store: Store, tree: str, destination: str = "", account: str = "alpha") -> Path:
    """The folder of the first day."""
    return Path(str(store)) / store.folder(tree, account, at(0).date(), destination)
