"""The staging that ships, `data/sample`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.reports.audit import audit_range
from tasks.reports.status import status
from tasks.staging.store import open_store
from tasks.time_window import Window
from tests.sample import ACCOUNTS, GAP, RANGE, SAMPLE, write

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 2_000_000
EVENTS = 2_057
PENDING = 40


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_it_is_what_the_product_stages(tmp_path: Path) -> None:
    """Written anew it is the same, byte for byte, and small."""
    write(tmp_path / "sample")
    there, anew = _files(SAMPLE), _files(tmp_path / "sample")
    assert sorted(there) == sorted(anew)
    assert [name for name in there if there[name] != anew[name]] == []
    assert sum(map(len, there.values())) < LARGEST


def test_status_and_audit() -> None:
    """A gap, rejected events, an unknown type, events that a destination lacks: it adds up."""
    store = open_store(str(SAMPLE))
    found = status(store)
    assert found.problems == []
    production, other = (found.accounts[name] for name in ACCOUNTS)
    assert (production.gaps, production.rejected) == ([], 3)
    assert other.gaps == [Window(GAP.since.replace(minute=0, second=4), GAP.until)]
    assert list(found.unknown_types) == ["quantum_scan_completed"]
    usm, siem = found.destinations["usm"], found.destinations["siem"]
    assert (usm.delivered, usm.pending, usm.failed) == (EVENTS - PENDING, PENDING, PENDING)
    assert (siem.delivered, siem.pending) == (EVENTS, 0)
    audit = audit_range(store, RANGE)
    assert (audit.consistent, audit.staged, audit.normalized) == (True, EVENTS, EVENTS)
