from __future__ import annotations

import hashlib
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import fs

from sandbox.receiver import Receiver
from tasks.audit import audit_event, audit_range
from tasks.export import export_to
from tasks.load import Loaded, load_destination, replay_destination
from tasks.staging import ledger as ledgers
from tasks.staging.files import RemoteFiles
from tasks.staging.ledger import ALONE, DELIVERIES_SCHEMA
from tasks.staging.locks import hold
from tasks.staging.store import Store, open_store
from tasks.status import status
from tasks.syslog.destination import parse_destinations
from tasks.syslog.transport import Outcome
from tasks.windows import Window
from tests.staging.fussy import Fussy, ids_in
from tests.staging.material import DAY, at, normalized, read, realistic, stage, transform, window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.choice import Only
    from tasks.syslog.destination import Destination

NO_PAUSES = (0.0, 0.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty staging."""
    return open_store(str(tmp_path))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An honest receiver."""
    with Receiver("udp", "tcp") as receiver:
        yield receiver


def destination(url: str) -> Destination:
    """The destination of a sensor URL."""
    [parsed] = parse_destinations(url, Path())
    return parsed


def load(store: Store, url: str, run_id: str = "run", **options: Any) -> Loaded:
    """Load without pauses."""
    return load_destination(
        store, destination(url), run_id=run_id, **{"pauses": NO_PAUSES, **options}
    )


def replay(store: Store, url: str, where: Window, only: Only = "failed") -> Loaded:
    """Replay without pauses."""
    return replay_destination(
        store, destination(url), where, only=only, run_id="replay", pauses=NO_PAUSES
    )


def rows(store: Store, name: str = "fussy", account: str = "alpha") -> list[dict[str, Any]]:
    """The ledger's rows, in the order of the attempts."""
    table = read(store, "deliveries", account, name)
    found = table.to_pylist() if "attempt" in table.column_names else []
    return sorted(found, key=lambda row: (row["attempted_at"], row["event_id"]))


def closed_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_delivers_once(store: Store, receiver: Receiver) -> None:
    """Everything normalized is delivered once, oldest first; a second load sends nothing."""
    expected = [
        *normalized(store, 30, account="beta"),
        *normalized(store, 25, day=1),
        *normalized(store, 20, day=1, account="beta"),
    ]
    url = receiver.url("tcp", batch=10)
    done = load(store, url)
    assert (done.delivered, done.failed, done.pending, done.problems) == (75, 0, 0, [])
    assert ids_in(b"\n".join(receiver.messages("tcp"))) == expected
    assert load(store, url) == Loaded(done.subject)
    assert receiver.counts()["tcp"] == 75


def test_ledger_rows(store: Store, receiver: Receiver) -> None:
    """The ledger proves which bytes went out: hash of the CEF text, length of the whole message."""
    stage(store, window(0, 24), realistic(200, at(0), at(24)))
    transform(store)
    load(store, receiver.url("tcp", name="sensor", batch=50), "this run")
    table = read(store, "deliveries", "alpha", "sensor").drop(["file"])
    assert table.schema.equals(DELIVERIES_SCHEMA)
    by_id = {row["event_id"]: row for row in table.to_pylist()}
    messages = receiver.messages("tcp")
    assert len(by_id) == len(messages) == 200
    for message in messages:
        cef = message[message.index(b"CEF:0|") :]
        [event_id] = ids_in(cef)
        row = by_id[event_id]
        assert row["line_sha256"] == hashlib.sha256(cef).hexdigest()
        assert row["bytes"] == len(message) + 1, "the newline is a part of the framed message"
        assert (row["status"], row["attempt"], row["error"]) == ("confirmed", 1, None)
        assert (row["transport"], row["truncated"], row["run_id"]) == ("tcp", False, "this run")
        assert abs(datetime.now(UTC) - row["attempted_at"]) < timedelta(minutes=1)


def test_batches(store: Store, tmp_path: Path) -> None:
    """A batch is of one account and day, in order of creation, and one ledger file."""
    normalized(store, 25)
    normalized(store, 5, account="beta")
    stage(store, window(0, 1), [("late", at(0.1))])
    transform(store)
    with Fussy(lambda _: True) as receiver:
        load(store, receiver.url(batch=10))
    assert [len(batch) for batch in receiver.batches] == [10, 10, 6, 5]
    assert receiver.batches[0][7] == "late"
    assert len(list(tmp_path.glob("deliveries/*/*/*/*.parquet"))) == 4


def test_batch_beyond_what_is_rendered_at_once(store: Store) -> None:
    """A batch may be larger than what is rendered at a time, and is still one batch."""
    normalized(store, 1)
    events = [(f"e{n:06}", at(12 + n / 10_000)) for n in range(40_000)]
    stage(store, window(12, 18), events)
    transform(store)
    with Fussy(lambda _: True) as receiver:
        done = load(store, receiver.url(batch=30_000))
    assert [len(batch) for batch in receiver.batches] == [30_000, 10_001]
    assert (done.delivered, done.batches) == (40_001, 2)
    assert receiver.received[1:] == [event_id for event_id, _ in events]


def test_settled_days_are_not_opened(store: Store, receiver: Receiver, tmp_path: Path) -> None:
    """A load opens no file of what is settled, even within a day that has something new."""
    normalized(store, 30)
    normalized(store, 30, day=1)
    url = receiver.url("tcp")
    load(store, url)
    for path in tmp_path.rglob("*.parquet"):
        path.write_bytes(b"cannot be opened")
    assert load(store, url).problems == []
    normalized(store, 5, day=1, first=60)
    done = load(store, url)
    assert (done.delivered, done.problems) == (5, [])


def test_late_event_of_a_settled_time(store: Store, receiver: Receiver) -> None:
    """A late event among delivered ones is delivered, and nothing else again."""
    normalized(store, 30)
    url = receiver.url("tcp")
    load(store, url)
    stage(store, window(0, 1), [("late", at(0.2))])
    transform(store)
    assert load(store, url).delivered == 1
    assert ids_in(b"\n".join(receiver.messages("tcp")))[-1] == "late"


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
    from tests.test_transform import Strict

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


def test_since(store: Store, receiver: Receiver, tmp_path: Path) -> None:
    """A destination with `since` takes nothing older; then it is settled, and opens nothing."""
    normalized(store, 30)
    normalized(store, 30, day=1)
    url = receiver.url("tcp", since="2026-03-02T00:20:00Z")
    done = load(store, url)
    assert (done.delivered, done.pending, done.problems) == (10, 0, [])
    for path in tmp_path.glob("normalized/*/*/*.parquet"):
        path.rename(path.with_suffix(".kept"))
        path.write_bytes(b"cannot be opened")
    assert load(store, url) == Loaded(done.subject)
    for path in tmp_path.glob("normalized/*/*/*.kept"):
        path.rename(path.with_suffix(".parquet"))
    assert load(store, receiver.url("tcp")).delivered == 50, "a new destination gets it all"


def test_receiver_that_is_not_there(store: Store) -> None:
    """Nothing reached: three attempts, `failed`; the run gives up with one message; then all go."""
    normalized(store, 30)
    normalized(store, 30, day=1)
    url = f"tcp://127.0.0.1:{closed_port()}?name=fussy&batch=20"
    done = load(store, url)
    assert (done.delivered, done.failed, done.pending, done.batches) == (0, 20, 60, 3)
    assert {row["status"] for row in rows(store)} == {"failed"}
    assert {row["attempt"] for row in rows(store)} == {1, 2, 3}
    assert any("is given up for this run" in problem for problem in done.problems)
    assert any("60 events stay pending" in problem for problem in done.problems)
    with Fussy(lambda _: True) as receiver:
        assert load(store, receiver.url(batch=20)).pending == 0
    assert [len(batch) for batch in receiver.batches] == [20, 10, 20, 10]
    assert max(row["attempt"] for row in rows(store)) == 4


def test_pauses_grow_and_end_with_the_receiver_back(store: Store) -> None:
    """A receiver that is back before the last try costs the run nothing but the pauses."""
    normalized(store, 5)
    refusals = iter([False, False])
    with Fussy(lambda _: next(refusals, True)) as receiver:
        done = load(store, receiver.url(), pauses=(0.01, 0.02))
    assert (done.delivered, done.batches, done.problems) == (5, 3, [])
    assert [row["status"] for row in rows(store)] == ["unconfirmed"] * 10 + ["confirmed"] * 5


@pytest.mark.parametrize("at_fault", [{0}, {24}, {13}, {4, 5, 6}, {0, 1, 12, 24}])
def test_event_at_fault(store: Store, at_fault: set[int]) -> None:
    """Events that the receiver stumbles over are found; all others are delivered, once each."""
    events = normalized(store, 25)
    more = normalized(store, 25, day=1)
    bad = {events[number] for number in at_fault}
    with Fussy(lambda offered: not bad & set(offered)) as receiver:
        done = load(store, receiver.url(batch=25))
        assert (done.delivered, done.pending) == (50 - len(bad), len(bad))
        assert sorted(receiver.received) == sorted({*events, *more} - bad)
        blamed = {row["event_id"] for row in rows(store) if (row["error"] or "").startswith(ALONE)}
        assert blamed == bad
        again = len(receiver.offered)
        done = load(store, receiver.url(batch=25))
        assert (len(receiver.offered), done.pending) == (again, len(bad)), "left alone for a day"
        assert done.problems
        done = replay(store, receiver.url(), window(0, 24))
        assert done.pending == len(bad), "but a replay that is asked for tries at once"


def test_event_at_fault_is_tried_again_after_a_day(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event at fault is sent again a day later, and delivered if the receiver takes it now."""
    events = normalized(store, 25)
    with Fussy(lambda offered: events[3] not in offered) as receiver:
        load(store, receiver.url())
        monkeypatch.setattr("tasks.load._AT_FAULT_FOR", np.timedelta64(0, "D"))
        assert load(store, receiver.url()).pending == 1
        receiver.accept = lambda _: True
        assert load(store, receiver.url()).pending == 0
    assert receiver.received.count(events[3]) == 1


def test_single_event_at_fault_blocks_nobody(store: Store) -> None:
    """An event that is the only one of its day, and at fault, does not hold up the next day."""
    [bad] = normalized(store, 1)
    good = normalized(store, 10, day=1)
    with Fussy(lambda offered: bad not in offered) as receiver:
        done = load(store, receiver.url())
    assert (done.delivered, done.pending) == (10, 1)
    assert receiver.received == good
    assert rows(store)[-1]["event_id"] == bad
    assert rows(store)[-1]["error"].startswith(ALONE), "it failed right after a success"


def test_sick_receiver_does_not_shrink_batches(store: Store) -> None:
    """A receiver that confirms nothing gets a bounded number of attempts; no event is blamed."""
    for day in range(5):
        normalized(store, 20, day=day)
    with Fussy(lambda _: False) as receiver:
        done = load(store, receiver.url(batch=20))
        sizes = [len(batch) for batch in receiver.offered]
        assert sizes == [20, 20, 20, 1, 1] * 3
        assert done.pending == 100
        assert not any(row["error"].startswith(ALONE) for row in rows(store))
        receiver.accept = lambda _: True
        assert load(store, receiver.url(batch=20)).pending == 0
    assert [len(batch) for batch in receiver.batches] == [20] * 5


def test_receiver_that_dies_while_halving(store: Store) -> None:
    """An outage in the middle of a search for the event at fault blames nobody."""
    events = normalized(store, 64)

    with Fussy(lambda _: True) as receiver:
        receiver.accept = lambda offered: len(receiver.offered) <= 6 and events[0] not in offered
        done = load(store, receiver.url(batch=64))
        assert receiver.batches[0], "the receiver worked, and so it came to halves"
        assert not any((row["error"] or "").startswith(ALONE) for row in rows(store))
        assert done.pending == 64 - len(receiver.received)
        assert len(receiver.offered) < 30


def test_udp(store: Store, receiver: Receiver) -> None:
    """Over UDP an event is `sent`, which is all that can be known, and not sent again."""
    normalized(store, 30)
    url = receiver.url("udp", name="fussy", rate=100_000)
    assert load(store, url).delivered == 30
    assert {row["status"] for row in rows(store)} == {"sent"}
    assert len(receiver.wait_for(30, "udp")) == 30
    assert load(store, url).batches == 0


class Scripted:
    """A transport whose statuses are written down before: what no network does on demand."""

    def __init__(self, *outcomes: list[str]) -> None:
        self._outcomes = iter(outcomes)
        self.sizes: list[int] = []

    def deliver(self, messages: Any) -> Outcome:
        """The next outcome; everything is sent where there is none left."""
        self.sizes.append(len(messages))
        statuses = next(self._outcomes, ["sent"] * len(messages))
        return Outcome(pa.array(statuses), "too long" if "failed" in statuses else None)


@pytest.mark.parametrize(
    ("outcomes", "sizes", "blamed"),
    [
        # one that fails between others is at fault, and left alone
        ([["sent", "failed", "sent"]], [3, 2], [1]),
        # the last may be the network's fault; it fails alone, then once more after a success
        (
            [["sent", "sent", "failed"], ["failed"], ["failed"], ["sent", "sent"], ["failed"]],
            [3, 1, 1, 2, 1],
            [2],
        ),
        # a tail that goes at the second attempt was the network's fault
        ([["sent", "failed", "failed"]], [3, 2, 2], []),
    ],
)
def test_datagrams_that_fail(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    outcomes: list[list[str]],
    sizes: list[int],
    blamed: list[int],
) -> None:
    """Over UDP each message has its own outcome: who is at fault shows at once, or alone."""
    events = normalized(store, 3)
    normalized(store, 2, day=1)
    transport = Scripted(*outcomes)
    monkeypatch.setattr("tasks.syslog.transport.open_transport", lambda _: transport)
    done = load(store, "udp://127.0.0.1:514?name=fussy")
    assert transport.sizes == sizes
    found = [row["event_id"] for row in rows(store) if (row["error"] or "").startswith(ALONE)]
    assert found == [events[number] for number in blamed]
    assert done.pending == len(blamed)


def test_refused_udp(store: Store) -> None:
    """A UDP port that refuses fails the batch; the run gives up, and everything stays pending."""
    normalized(store, 30)
    done = load(store, f"udp://127.0.0.1:{closed_port()}?name=fussy&rate=100000")
    assert (done.delivered, done.pending, done.batches) == (0, 30, 3)
    assert {row["status"] for row in rows(store)} == {"failed"}


@pytest.mark.parametrize(
    ("only", "expected"), [("failed", [2, 3]), ("undelivered", [2, 3, 4, 5]), ("all", range(6))]
)
def test_replay(store: Store, only: Only, expected: list[int]) -> None:
    """A replay delivers just what it is asked for, of just the range, without Halo."""
    events = normalized(store, 6)
    normalized(store, 6, first=60)
    with Fussy(lambda _: True) as receiver:
        url = receiver.url()
        _seed(store, events)
        done = replay(store, url, window(0, 1), only)
        assert receiver.received == [events[number] for number in expected]
        assert (done.delivered, done.problems) == (len(expected), [])
        assert load(store, url).delivered == 12 - len({0, 1, *expected})


def _seed(store: Store, events: list[str]) -> None:
    """Two events delivered, one failed, one unconfirmed; the rest never tried."""
    from tests.staging.test_ledger import attempts

    ledger = ledgers.Ledger(store, "fussy", "alpha", DAY.date())
    timed = [(event_id, at(number / 60)) for number, event_id in enumerate(events)]
    ledger.append(attempts(timed[:2], "confirmed", 1), 2)
    ledger.append(attempts(timed[2:3], "failed", 1, "refused"), 0)
    ledger.append(attempts(timed[3:4], "unconfirmed", 1, "reset"), 0)


def test_replayed_events_that_fail_are_pending(store: Store) -> None:
    """A delivered event whose replay fails is pending again, and the next load delivers it."""
    normalized(store, 6)
    with Fussy(lambda _: True) as receiver:
        url = receiver.url()
        load(store, url)
        receiver.accept = lambda _: False
        done = replay(store, url, window(0, 24), "all")
        assert (done.delivered, done.pending) == (0, 6)
        receiver.accept = lambda _: True
        assert load(store, url).delivered == 6
        assert load(store, url).batches == 0
    assert [row["status"] for row in rows(store)[-6:]] == ["confirmed"] * 6


def test_replay_before_since(store: Store, receiver: Receiver) -> None:
    """A replay leaves out what is older than the destination's `since`, and says so."""
    normalized(store, 30)
    url = receiver.url("tcp", since="2026-03-01T00:20:00Z")
    done = replay(store, url, window(0, 24), "all")
    assert (done.delivered, done.problems) == (10, [])
    assert "nothing older is delivered than its since=2026-03-01T00:20:00Z" in done.notes[0]


def test_same_bytes_at_every_replay(store: Store, receiver: Receiver) -> None:
    """A replay sends the same bytes."""
    stage(store, window(0, 24), realistic(200, at(0), at(24)))
    transform(store)
    url = receiver.url("tcp")
    load(store, url)
    first = receiver.messages("tcp")
    replay(store, url, window(0, 24), "all")
    assert receiver.messages("tcp")[200:] == first


def test_two_loads_at_once(store: Store) -> None:
    """A destination in the hands of another run is left to it, with a note and no problem."""
    normalized(store, 30)
    with hold(store, "destination", "fussy"), Fussy(lambda _: True) as receiver:
        done = load(store, receiver.url())
        assert (done.batches, done.problems) == (0, [])
        assert "destination fussy is in the hands of another run" in done.notes[0]
        assert load(store, receiver.url(name="other")).delivered == 30


def test_loads_in_threads_send_nothing_twice(store: Store) -> None:
    """However many loads of a destination run at once, each event is sent once."""
    events = normalized(store, 200)
    with Fussy(lambda _: True) as receiver:
        threads = [
            threading.Thread(target=load, args=(store, receiver.url(batch=10))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        load(store, receiver.url())
    assert receiver.received == events


def test_stop(store: Store) -> None:
    """Asked to stop, a load finishes the batch in hand, writes it down, and says it is not done."""
    normalized(store, 100)
    stop = threading.Event()
    with Fussy(lambda _: True) as receiver:
        done = load(store, receiver.url(batch=10), stop=stop, progress=lambda *_: stop.set())
        assert (done.delivered, done.pending, done.interrupted) == (10, 90, True)
        assert len(receiver.received) == 10
        assert load(store, receiver.url(batch=10)).delivered == 90


def test_stop_ends_a_pause(store: Store) -> None:
    """A run that is asked to stop does not wait for a sick destination."""
    normalized(store, 5)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    done = load(store, f"tcp://127.0.0.1:{closed_port()}", stop=stop, pauses=(60.0, 60.0))
    assert done.interrupted


def test_interrupt_within_a_batch(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch given up in the middle is `unconfirmed` in the ledger before the run ends."""
    normalized(store, 5)

    class Interrupted:
        def deliver(self, _messages: Any) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr("tasks.syslog.transport.open_transport", lambda _: Interrupted())
    with pytest.raises(KeyboardInterrupt):
        load(store, "tcp://127.0.0.1:1?name=fussy")
    assert [row["status"] for row in rows(store)] == ["unconfirmed"] * 5
    assert rows(store)[0]["error"] == "the run was interrupted"


def test_ledger_that_cannot_be_written(store: Store, tmp_path: Path) -> None:
    """Where the ledger cannot be written nothing more is sent: what goes out must be on record."""
    normalized(store, 30)
    (tmp_path / "deliveries").touch()
    with Fussy(lambda _: True) as receiver:
        done = load(store, receiver.url(batch=10))
    assert len(receiver.batches) <= 1
    assert "cannot be loaded" in done.problems[0]


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


def test_order_of_creation_within_overlapping_windows(store: Store) -> None:
    """Late files do not upset the order of creation within a batch."""
    normalized(store, 60)
    stage(store, window(0, 1), [(f"late{n:02}", at(n / 60 + 0.001)) for n in range(60)])
    transform(store)
    with Fussy(lambda _: True) as receiver:
        load(store, receiver.url(batch=1000))
    table = read(store, "normalized")
    order = table.take(pc.sort_indices(table, [("created_at", "ascending")]))
    assert receiver.received == order["event_id"].to_pylist()


def test_unusable_certificates(store: Store, tmp_path: Path) -> None:
    """A destination whose transport cannot be opened is a problem, and what waits stays pending."""
    normalized(store, 5)
    (tmp_path / "ca.pem").write_text("no certificate")
    done = load(store, f"tls://127.0.0.1:1?ca={tmp_path}/ca.pem")
    assert done.pending == 5
    assert len(done.problems) == 1


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
    assert found["accounts"]["alpha"]["normalized"] == 30
    assert found["destinations"]["sensor"]["delivered"] == 30
    assert len(audit_event(store, events[0])["deliveries"]) == 2
    assert audit_range(store, window(0, 24), [sensor])["consistent"]
    assert export_to(store, window(0, 24), "cef", tmp_path / "out") == 30
    assert {path.name for path in (tmp_path / "bucket" / "prefix").iterdir()} == {
        "raw",
        "normalized",
        "deliveries",
    }


def test_nothing_normalized(store: Store) -> None:
    """An empty staging has nothing to deliver, and no transport is opened for it."""
    assert load(store, "tls://sensor.example.com:6514") == Loaded("tls-sensor_example_com-6514")


def test_folder_of_the_day(store: Store, receiver: Receiver, tmp_path: Path) -> None:
    """The ledger lies under destination, account and date, where the interface says."""
    normalized(store, 3, day=1)
    load(store, receiver.url("tcp", name="sensor"))
    [path] = tmp_path.glob("deliveries/destination=sensor/account=alpha/date=2026-03-02/*.parquet")
    assert Window.of_day(DAY.date()).until.date().isoformat() in str(path)
