"""Load, and the stages around it, on a file system of pyarrow's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyarrow import fs

from tasks.load.destination import load_destination
from tasks.load.replay import replay_destination
from tasks.reports.audit import audit_range
from tasks.reports.event_history import audit_event
from tasks.reports.export import export_to
from tasks.reports.status import status
from tasks.staging.storage.remote_files import RemoteFiles
from tasks.staging.store import Store
from tests.staging.staged_data import normalized, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.receiver import Receiver


def test_object_storage(tmp_path: Path, receiver: Receiver) -> None:
    """All stages work the same where pyarrow's file systems hold the staging."""
    (tmp_path / "bucket").mkdir()
    bucket = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())
    store = Store(RemoteFiles(bucket, "prefix"))
    events = normalized(store, 30)
    stage(store, window(1, 2))
    stage(store, window(2, 3))
    transform(store, anew=window(0, 24))
    sensor = destination(receiver.url("tcp", batch=10, name="sensor"))
    assert load_destination(store, sensor, run_id="run").delivered == 30
    assert load_destination(store, sensor, run_id="run").batches == 0
    assert (
        replay_destination(store, sensor, window(0, 24), only="all", run_id="run").delivered == 30
    )
    found = status(store, [sensor])
    assert found.accounts["alpha"].normalized == 30
    assert found.destinations["sensor"].delivered == 30
    assert len(audit_event(store, events[0]).deliveries) == 2
    assert audit_range(store, window(0, 24), [sensor]).consistent
    assert export_to(store, window(0, 24), "cef", tmp_path / "out") == 30
    assert {path.name for path in (tmp_path / "bucket" / "prefix").iterdir()} == {
        "raw",
        "normalized",
        "deliveries",
    }
