"""Days that are normalized anew, between loads and under a load's hands."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tasks.load.result import LoadResult
from tasks.reports.audit import audit_range
from tests.load.helpers import load, replay
from tests.staging.rejecting_receiver import RejectingReceiver, ids_in
from tests.staging.staged_data import at, normalized, stage, transform, window
from tests.syslog.helpers import destination
from tests.transform.strict import Strict

if TYPE_CHECKING:
    from sandbox.receiver import Receiver
    from tasks.staging.store import Store


def test_normalizing_anew_sends_nothing_again(store: Store, receiver: Receiver) -> None:
    """What was delivered stays so when its range is normalized anew."""
    normalized(store, 30)
    url = receiver.url("tcp")
    load(store, url)
    transform(store, anew=window(0, 24))
    assert load(store, url).batches == 0


def test_events_that_come_and_go(
    store: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost and found by other versions of the mapping, each event is still delivered once."""
    strict = Strict(monkeypatch)
    normalized(store, 10)
    url = receiver.url("tcp")
    strict.refused = {"alpha-0-00000"}
    transform(store, anew=window(0, 24))
    load(store, url)
    strict.refused = {"alpha-0-00009"}
    transform(store, anew=window(0, 24))
    stage(store, window(0, 1), [("new", at(0.01))])
    transform(store)
    assert load(store, url).delivered == 2
    strict.refused = set()
    transform(store, anew=window(0, 24))
    assert load(store, url).pending == 0
    received = ids_in(b"\n".join(receiver.messages("tcp")))
    assert sorted(received) == sorted([*(f"alpha-0-{n:05}" for n in range(10)), "new"])
    assert load(store, url) == LoadResult(destination(url).name)


def test_normalized_anew_while_loading(store: Store, connections: int) -> None:
    """A file that is normalized anew under the load's hands is read from its successor."""
    events = normalized(store, 30)
    more = normalized(store, 30, first=60)
    with RejectingReceiver(lambda _: True) as receiver:
        renewed: list[object] = []

        def renew(*_: object) -> None:
            if not renewed:
                renewed.append(transform(store, anew=window(0, 24)))

        done = load(store, receiver.url(batch=10), progress=renew)
    assert (done.pending, done.problems) == (0, [])
    received = receiver.received if connections == 1 else sorted(receiver.received)
    assert received == [*events, *more]


@pytest.fixture
def files_of_20(monkeypatch: pytest.MonkeyPatch, store: Store) -> list[str]:
    """A day of three normalized files, opened one after the other while batches of 20 go out."""
    for module in ("batches", "selected_rows"):
        monkeypatch.setattr(f"tasks.load.{module}.ROWS_AT_A_TIME", 20)
    return [event_id for first in (0, 60, 120) for event_id in normalized(store, 20, first=first)]


def test_put_aside_and_normalized_anew(store: Store, files_of_20: list[str]) -> None:
    """A batch put aside is not sent from there, too, once its day is read again."""
    with RejectingReceiver(lambda _: True) as receiver:

        def accept(_: list[str]) -> bool:
            if len(receiver.offered) == 1:
                transform(store, anew=window(0, 24))
            return len(receiver.offered) > 10  # two batches: three attempts and two alone each

        receiver.accept = accept
        done = load(store, receiver.url(batch=20))
        audit = audit_range(store, window(0, 24), [destination(receiver.url())])
    assert audit.problems == []
    assert (done.delivered, done.failed, done.pending, done.problems) == (60, 0, 0, [])
    assert sorted(receiver.received) == sorted(files_of_20)


def test_replay_of_all_and_normalized_anew(store: Store, files_of_20: list[str]) -> None:
    """A replay of everything goes on where it was when files are replaced under its hands."""
    with RejectingReceiver(lambda _: True) as receiver:
        load(store, receiver.url(batch=20))

        def accept(_: list[str]) -> bool:
            if len(receiver.offered) == 4:
                transform(store, anew=window(0, 24))
            return True

        receiver.accept = accept
        done = replay(store, receiver.url(batch=20), window(0, 24), "all")
    assert (done.delivered, done.pending, done.problems) == (60, 0, [])
    assert Counter(receiver.received) == dict.fromkeys(files_of_20, 2)
