"""Commands that find nothing to do say why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.load.helpers import load, replay
from tests.staging.rejecting_receiver import RejectingReceiver
from tests.staging.staged_data import normalized, stage, window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.staging.deliveries.pending import Only
    from tasks.staging.store import Store


@pytest.fixture
def receiver() -> Iterator[RejectingReceiver]:
    """A receiver that takes everything."""
    with RejectingReceiver(lambda _: True) as receiver:
        yield receiver


@pytest.mark.parametrize(
    ("only", "why"),
    [("failed", "no event in the range failed"), ("undelivered", "in the range is delivered")],
)
def test_replay_of_what_is_delivered(
    store: Store, receiver: RejectingReceiver, only: Only, why: str
) -> None:
    """Nothing failed, or everything is delivered."""
    normalized(store, 10)
    load(store, receiver.url())
    done = replay(store, receiver.url(), window(0, 24), only)
    [note] = done.notes
    assert "destination rejecting: nothing to do: " in note
    assert why in note
    assert not done.problems


def test_replay_of_what_was_never_tried(store: Store, receiver: RejectingReceiver) -> None:
    """Nothing failed, and the note says which option sends what was never tried."""
    normalized(store, 10)
    [note] = replay(store, receiver.url(), window(0, 24)).notes
    assert "--only undelivered" in note


@pytest.mark.parametrize("only", ["failed", "undelivered", "all"])
def test_replay_of_an_empty_range(store: Store, receiver: RejectingReceiver, only: Only) -> None:
    """No event is in the range, though a file reaches into it."""
    normalized(store, 1)
    normalized(store, 1, first=600)
    stage(store, window(2, 9), [])
    [note] = replay(store, receiver.url(), window(0.001, 9), only).notes
    assert "no event in the range is normalized" in note


def test_replay_before_since(store: Store, receiver: RejectingReceiver) -> None:
    """Everything is older than the destination takes."""
    normalized(store, 10)
    url = receiver.url(since="2026-03-02")
    [note] = replay(store, url, window(0, 24), "all").notes
    assert "every event in the range is older than its since=2026-03-02T00:00:00Z" in note
    [note] = load(store, url, say_why=True).notes
    assert "every event is older than its since=2026-03-02T00:00:00Z" in note


def test_load_of_nothing(store: Store, receiver: RejectingReceiver) -> None:
    """Nothing is normalized, or everything is delivered; only where it is asked."""
    [note] = load(store, receiver.url(), say_why=True).notes
    assert "no event is normalized" in note
    normalized(store, 10)
    assert load(store, receiver.url(), say_why=True).notes == []
    [note] = load(store, receiver.url(), say_why=True).notes
    assert "every event is delivered" in note
    assert load(store, receiver.url()).notes == [], "a part of a sync: it has nothing to do often"
