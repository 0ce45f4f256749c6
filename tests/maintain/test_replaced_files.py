from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.staging.raw import stage_window
from tests.maintain.days import compact, dense_day, files, load, look, on_disk
from tests.staging.staged_data import MALFORMED, at, ids, raw, transform, window

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination
    from tests.staging.rejecting_receiver import RejectingReceiver


def test_what_was_written_under_an_old_number(
    store: Store, sensor: Destination, receiver: RejectingReceiver, tmp_path: Path
) -> None:
    """What a run wrote that had lost its lease is replaced by name, then staged anew."""
    events = dense_day(store)
    load(store, sensor)
    attempts = max(on_disk(store, "deliveries", "rejecting").iterdir())
    kept = attempts.read_bytes()
    attempts.unlink()
    assert load(store, sensor).problems == []
    compact(store, sensor)
    # an extract and a load that listed the day before
    other = raw([("stale", at(3))])
    stage_window(store, "beta", window(3, 4), other, MALFORMED.empty_table(), "run", at(30))
    [name] = store.files("raw", "beta")
    (on_disk(store, "raw", account="beta") / name).rename(on_disk(store, "raw") / name)
    attempts.write_bytes(kept)
    assert "stale" not in look(store, sensor, tmp_path / "export")[2]["raw"]
    compact(store, sensor)
    transform(store)
    assert sorted(ids(store, "raw")) == sorted([*events, "stale"])
    load(store, sensor)
    assert receiver.received.count("stale") == 1
    audit, *_ = look(store, sensor, tmp_path / "export")
    assert audit.problems == []
    compact(store, sensor)
    assert len(files(store, "raw")) == len(files(store, "deliveries", destination="rejecting")) == 1
    assert look(store, sensor, tmp_path / "export")[0].problems == []
