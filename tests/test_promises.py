"""What the interface promises across all stages."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from sandbox.receiver import Receiver
from tasks.load.destination import load_destination
from tasks.load.replay import replay_destination
from tasks.staging.raw import stage_window
from tests.staging.rejecting_receiver import ids_in
from tests.staging.staged_data import at, malformed, raw, read, realistic, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store


def test_published_files_never_change(store: Store, tmp_path: Path) -> None:
    """Whatever is done to a staging, a file is as it was published, or gone for another one."""
    known: dict[Path, tuple[int, int, bytes]] = {}
    replaced: set[Path] = set()

    def look() -> None:
        there = {
            path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
            for path in tmp_path.rglob("*.parquet")
        }
        assert all(known[path] == file for path, file in there.items() if path in known)
        assert not replaced & there.keys(), "a name is not used twice"
        replaced.update(known.keys() - there.keys())
        known.clear()
        known.update(there)

    with Receiver("tcp") as receiver:
        to = destination(receiver.url("tcp", batch=20, since="2026-03-01T06:00:00Z"))
        for _ in range(2):
            stage(store, window(0, 12), realistic(100, at(0), at(12)))
            look()
            stage(store, window(10, 14), [("late", at(11)), ("new", at(13))])
            stage_window(store, "alpha", window(0, 1), raw([]), malformed((None, None, "?")), "run")
            look()
            for hour in (20, 21, 18, 19):
                stage(store, window(hour, hour + 1))
                look()
            transform(store)
            look()
            load_destination(store, to, run_id="run")
            look()
            transform(store, anew=window(0, 24))
            look()
            load_destination(store, to, run_id="run")
            replay_destination(store, to, window(0, 24), only="all", run_id="run")
            look()
            load_destination(store, to, run_id="run")
            look()
    assert {path.relative_to(tmp_path).parts[0] for path in replaced} == {
        "raw",
        "normalized",
        "deliveries",
    }


def test_same_cef_bytes_for_every_destination(store: Store) -> None:
    """The CEF line of an event is the same whatever carries it, and its hash on record, too."""
    stage(store, window(0, 24), realistic(100, at(0), at(24)))
    transform(store)
    options: dict[str, dict[str, Any]] = {
        "plain": {"scheme": "tcp"},
        "framed": {"scheme": "tcp", "format": "rfc5424", "facility": "local3", "batch": 7},
        "named": {"scheme": "tcp", "host": "collector", "severity": "alert"},
        "datagrams": {"scheme": "udp", "format": "rfc5424", "rate": 100_000},
    }
    found: list[dict[str, bytes]] = []
    for name, option in options.items():
        scheme = option.pop("scheme")
        with Receiver(scheme) as receiver:
            to = destination(receiver.url(scheme, name=name, **option))
            assert load_destination(store, to, run_id="run").delivered == 100
            lines = [
                message[message.index(b"CEF:0|") :].rstrip(b"\n")
                for message in receiver.wait_for(100, scheme)
            ]
        by_id = {event_id: line for line in lines for event_id in ids_in(line)}
        ledger = read(store, "deliveries", destination=name).to_pylist()
        assert {row["event_id"]: row["line_sha256"] for row in ledger} == {
            event_id: hashlib.sha256(line).hexdigest() for event_id, line in by_id.items()
        }
        found.append(by_id)
    assert len(found[0]) == 100
    assert all(lines == found[0] for lines in found)
