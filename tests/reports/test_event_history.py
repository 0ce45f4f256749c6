from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tasks.reports.event_history import audit_event
from tasks.staging.known_ids import KnownIds
from tasks.staging.raw import stage_window
from tests.load.helpers import closed_port, load, replay
from tests.reports.shown import shown
from tests.staging.staged_data import (
    at,
    broken,
    malformed,
    normalized,
    raw,
    stage,
    transform,
    window,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store
    from tests.staging.rejecting_receiver import RejectingReceiver


DAY = window(0, 24)


def test_life_of_an_event(store: Store, receiver: RejectingReceiver) -> None:
    """An event's whole life: staged when, normalized to what, each attempt with its outcome."""
    events = normalized(store, 10)
    normalized(store, 10, account="beta", day=1)
    load(store, f"tcp://127.0.0.1:{closed_port()}?name=away")
    load(store, receiver.url(name="sensor"))
    replay(store, receiver.url(name="sensor"), DAY, "all")
    found = shown(audit_event(store, events[3]))
    assert list(found) == [
        "event_id", "account", "staged", "normalized", "rejected", "deliveries",
    ]  # fmt: skip
    assert (found["event_id"], found["account"], found["rejected"]) == (events[3], "alpha", None)
    assert found["staged"]["created_at"] == "2026-03-01T00:03:00Z"
    assert found["staged"]["event"] == raw([(events[3], at(0))])["event"][0].as_py()
    assert found["staged"]["file"].startswith("raw/account=alpha/date=2026-03-01/")
    assert found["normalized"]["event_description"] == f"event {events[3]}"
    assert [
        (row["destination"], row["status"], row["attempt"], row["run_id"])
        for row in found["deliveries"]
    ] == [
        ("away", "failed", 1, "run"),
        ("away", "failed", 2, "run"),
        ("away", "failed", 3, "run"),
        ("sensor", "confirmed", 1, "run"),
        ("sensor", "confirmed", 2, "replay"),
    ]


@pytest.mark.parametrize("kept", ["all", "not of its file", "wrong", "damaged", "nothing"])
def test_event_is_found_whatever_is_kept_of_ids(store: Store, tmp_path: Path, kept: str) -> None:
    """Only its file is opened where hashes tell which; else all, until it is found."""
    [event] = normalized(store, 1)
    others = [normalized(store, 1, day=day) for day in (1, 2)]
    KnownIds(store, "alpha").renew()
    [path] = tmp_path.glob(".ids/*.parquet")
    table = pq.read_table(path)
    its = pc.match_substring(table["file"], "2026-03-01")
    if kept == "not of its file":
        table = table.filter(pc.invert(its))
    elif kept == "wrong":
        hashes = [[0] for _ in range(table.num_rows)]
        table = table.set_column(1, "ids", pa.array(hashes, pa.list_(pa.uint64())))
    pq.write_table(table, path)
    if kept == "damaged":
        path.write_bytes(b"PAR1")
    elif kept == "nothing":
        path.unlink()
    [newest] = tmp_path.glob("raw/*/date=2026-03-03/*")
    newest.write_bytes(b"damaged, which is seen by who opens it")
    found = audit_event(store, event)
    assert found.staged is not None
    assert found.normalized is not None
    opened_all = kept in {"wrong", "damaged", "nothing"}
    assert bool(found.problems) == opened_all
    assert audit_event(store, others[0][0]).account == "alpha"


def test_rejected_event(store: Store) -> None:
    """A rejected event is found with its reason, whichever stage rejected it."""
    stage(store, window(2, 3), broken(raw([("a", at(2))]), "a"))
    transform(store)
    stage_window(store, "alpha", window(2, 3), raw([]), malformed((None, None, "?")), "run")
    found = shown(audit_event(store, "a"))
    assert (found["normalized"], found["rejected"]["stage"]) == (None, "transform")
    assert found["staged"]["event"] == "{"
    found = shown(audit_event(store, hashlib.sha256(b"?").hexdigest()))
    assert (found["account"], found["staged"], found["rejected"]["stage"]) == (
        "alpha",
        None,
        "extract",
    )


def test_unknown_event(store: Store) -> None:
    """An event that nobody knows has no life and no account."""
    normalized(store, 3)
    found = audit_event(store, "nobody")
    assert shown(found) == {
        "event_id": "nobody",
        "account": None,
        "staged": None,
        "normalized": None,
        "rejected": None,
        "deliveries": [],
    }
    assert found.problems == ["event nobody is not in this staging"]


def test_event_beyond_retention(store: Store, receiver: RejectingReceiver, tmp_path: Path) -> None:
    """The ledger outlives raw: what it remembers of an event is still told."""
    events = normalized(store, 3)
    load(store, receiver.url())
    for path in [*tmp_path.glob("raw/*/*/*"), *tmp_path.glob("normalized/*/*/*")]:
        path.unlink()
    found = audit_event(store, events[0])
    assert (found.account, found.staged, len(found.deliveries)) == ("alpha", None, 1)


def test_event_of_two_accounts(store: Store) -> None:
    """An event that an account had under another name before is shown once, and the other named."""
    for account in ("alpha", "beta"):
        stage(store, window(2, 3), [("a", at(2))], account)
    found = audit_event(store, "a")
    [other] = {"alpha", "beta"} - {found.account}
    [note] = found.notes
    assert f"is in account {other} too" in note
