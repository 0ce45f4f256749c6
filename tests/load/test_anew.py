"""Days that are normalized anew, between loads and under a load's hands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.load import Loaded
from tests.load.helpers import load
from tests.staging.fussy import Fussy, ids_in
from tests.staging.material import at, normalized, stage, transform, window
from tests.syslog.helpers import destination
from tests.test_transform import Strict

if TYPE_CHECKING:
    import pytest

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
    assert load(store, url) == Loaded(destination(url).name)


def test_normalized_anew_while_loading(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is normalized anew under the load's hands is read from its successor."""
    events = normalized(store, 30)
    more = normalized(store, 30, first=60)
    with Fussy(lambda _: True) as receiver:
        renewed: list[object] = []

        def renew(*_: object) -> None:
            if not renewed:
                renewed.append(transform(store, anew=window(0, 24)))

        done = load(store, receiver.url(batch=10), progress=renew)
    assert (done.pending, done.problems) == (0, [])
    assert receiver.received == [*events, *more]
