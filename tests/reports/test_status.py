from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tasks.reports.status import status
from tasks.staging.raw import stage_window
from tests.load.helpers import closed_port, load
from tests.reports.shown import shown
from tests.staging.rejecting_receiver import RejectingReceiver
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
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store


def of_alpha(store: Store) -> dict[str, Any]:
    """What status says of the account alpha."""
    found: dict[str, Any] = shown(status(store))["accounts"]["alpha"]
    return found


def test_empty_staging(store: Store) -> None:
    """A staging where nothing happened yet has nothing to say."""
    assert shown(status(store)) == {"accounts": {}, "destinations": {}, "unknown_types": {}}


def test_account(store: Store) -> None:
    """Covered ranges and the gaps between them, and counts of each stage."""
    stage(store, window(2, 3), broken(raw([("a", at(2)), ("b", at(2.5))]), "b"))
    stage(store, window(23, 24), [("c", at(23.25)), ("d", at(23.75))])
    stage(store, window(0, 4, day=1))
    transform(store)
    stage(store, window(3, 4), [("waits", at(3.5))])
    stage_window(store, "alpha", window(3, 4), raw([]), malformed((None, None, "?")), "run")
    assert of_alpha(store) == {
        "covered": [
            ["2026-03-01T02:00:00Z", "2026-03-01T04:00:00Z"],
            ["2026-03-01T23:00:00Z", "2026-03-02T04:00:00Z"],
        ],
        "gaps": [["2026-03-01T04:00:00Z", "2026-03-01T23:00:00Z"]],
        "staged": 5,
        "normalized": 3,
        "rejected": 2,
        "newest_event": "2026-03-01T23:45:00Z",
        "dropped": [],
        "sealed_until": None,
    }


def test_newest_event(store: Store) -> None:
    """The newest event may be a late one, in a file of an earlier extract."""
    stage(store, window(2, 10), [("a", at(2))])
    stage(store, window(4, 6), [("newest", at(5.5))])
    assert of_alpha(store)["newest_event"] == "2026-03-01T05:30:00Z"


def test_destinations(store: Store) -> None:
    """Delivered, pending and failed, per destination and account, and the oldest that waits."""
    normalized(store, 10)
    normalized(store, 4, account="beta", day=1)
    with RejectingReceiver(lambda _: True) as receiver:
        works = destination(receiver.url(name="works"))
        load(store, receiver.url(name="works"))
    normalized(store, 3, first=60)
    broken_one = f"tcp://127.0.0.1:{closed_port()}?name=fails&batch=6"
    load(store, broken_one)
    [note] = status(store, [works]).notes
    assert "USM_SENSOR does not name fails" in note
    found = status(store, [works, destination(broken_one)])
    assert not found.notes
    assert shown(found)["destinations"] == {
        "works": {
            "delivered": 14,
            "pending": 3,
            "failed": 0,
            "excluded": 0,
            "oldest_pending": "2026-03-01T01:00:00Z",
            "accounts": {
                "alpha": {
                    "delivered": 10,
                    "pending": 3,
                    "failed": 0,
                    "excluded": 0,
                    "oldest_pending": "2026-03-01T01:00:00Z",
                },
                "beta": {
                    "delivered": 4,
                    "pending": 0,
                    "failed": 0,
                    "excluded": 0,
                    "oldest_pending": None,
                },
            },
        },
        "fails": {
            "delivered": 0,
            "pending": 17,
            "failed": 6,
            "excluded": 0,
            "oldest_pending": "2026-03-01T00:00:00Z",
            "accounts": {
                "alpha": {
                    "delivered": 0,
                    "pending": 13,
                    "failed": 6,
                    "excluded": 0,
                    "oldest_pending": "2026-03-01T00:00:00Z",
                },
                "beta": {
                    "delivered": 0,
                    "pending": 4,
                    "failed": 0,
                    "excluded": 0,
                    "oldest_pending": "2026-03-02T00:00:00Z",
                },
            },
        },
    }


def test_without_settings_the_ledgers_are_shown(store: Store) -> None:
    """Where no sensor is set up, the destinations are those that have a ledger."""
    normalized(store, 10)
    with RejectingReceiver(lambda _: True) as receiver:
        load(store, receiver.url(name="once"))
    assert status(store).destinations["once"].delivered == 10


@pytest.mark.parametrize(("since", "pending"), [("2026-03-01T00:06:00Z", 4), ("2026-03-02", 0)])
def test_since(store: Store, since: str, pending: int) -> None:
    """What is older than a destination's `since` is not pending for it, but excluded."""
    normalized(store, 10)
    sensor = destination(f"tcp://127.0.0.1:601?name=new&since={since}")
    found = status(store, [sensor]).destinations["new"]
    assert (found.delivered, found.pending, found.excluded) == (0, pending, 10 - pending)


def test_new_destination_opens_one_file(store: Store, tmp_path: Path) -> None:
    """For a destination that got nothing yet, only the file with the oldest event is opened."""
    for day in range(2):
        for first in (0, 60):
            normalized(store, 5, day=day, first=first)
    for path in tmp_path.glob("normalized/*/*/*.parquet"):
        if not path.match("*/date=2026-03-01/0000*"):
            path.write_bytes(b"cannot be opened")
    found = status(store, [destination("tcp://127.0.0.1:601?name=new")]).destinations["new"]
    assert (found.pending, found.oldest_pending) == (20, at(0))


def test_unknown_types(store: Store) -> None:
    """Unknown types are named with their counts, the most frequent first."""
    texts = [json.dumps({"type": kind, "id": "x"}) for kind in ("b", "a", "a", "server_restarted")]
    events = raw([(f"e{n}", at(2)) for n in range(4)]).set_column(5, "event", pa.array(texts))
    stage(store, window(2, 3), events)
    transform(store)
    found = status(store).unknown_types
    assert list(found.items()) == [("a", 2), ("b", 1)]


def test_settled_days_are_not_opened(store: Store, tmp_path: Path) -> None:
    """Status opens no file of what is settled but the one with the newest event."""
    normalized(store, 10)
    normalized(store, 10, day=1)
    with RejectingReceiver(lambda _: True) as receiver:
        load(store, receiver.url())
        sensor = destination(receiver.url())
    before = status(store, [sensor])
    for path in tmp_path.rglob("*.parquet"):
        if not path.match("raw/*/date=2026-03-02/*"):
            path.write_bytes(b"cannot be opened")
    assert status(store, [sensor]) == before
