from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tasks.staging import layout
from tasks.staging.ledger import ALONE, DELIVERIES_SCHEMA, Ledger
from tasks.staging.normalized import current_files
from tasks.staging.segments import Segment, surely_settled
from tasks.staging.store import Store, open_store
from tasks.staging.survey import Survey, survey
from tests.staging.material import DAY, at, normalized, window

if TYPE_CHECKING:
    from pathlib import Path

TODAY = DAY.date()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty staging."""
    return open_store(str(tmp_path))


@pytest.fixture
def ledger(store: Store) -> Ledger:
    """The ledger of a destination and day."""
    return Ledger(store, "sensor", "alpha", TODAY)


def attempts(
    events: list[tuple[str, datetime]],
    status: str,
    attempt: int,
    error: str | None = None,
    attempted_at: datetime | None = None,
) -> pa.Table:
    """Ledger rows of one batch."""
    return pa.Table.from_pylist(
        [
            {
                "event_id": event_id,
                "created_at": created,
                "status": status,
                "attempt": attempt,
                "attempted_at": attempted_at or at(30 + attempt),
                "transport": "tcp",
                "bytes": 100,
                "truncated": False,
                "line_sha256": "0" * 64,
                "error": error,
                "run_id": "run",
            }
            for event_id, created in events
        ],
        DELIVERIES_SCHEMA,
    )


def segments(ledger: Ledger, since: datetime | None = None) -> list[Segment]:
    """The day's segments as the staging has them."""
    files = current_files(ledger.store.files("normalized", "alpha", TODAY))
    return ledger.segments(files, ledger.names(), since)


def test_last_attempt_decides(ledger: Ledger) -> None:
    """The last attempt of an event says whether it is delivered, whatever came before."""
    a, b, c = ("a", at(1)), ("b", at(2)), ("c", at(3))
    ledger.append(attempts([a, b, c], "unconfirmed", 1, "reset"), 0)
    ledger.append(attempts([a, b], "confirmed", 2), 2)
    ledger.append(attempts([b], "failed", 3, "refused"), -1)
    events = pa.table(
        {"event_id": ["a", "b", "c", "d"], "created_at": [at(n) for n in range(1, 5)]}
    )
    files, _ = layout.deliveries_files(ledger.names())
    last = ledger.last_attempts(files, events)
    assert last.number.tolist() == [2, 3, 1, 0]
    assert last.delivered.tolist() == [True, False, False, False]
    assert last.failed.tolist() == [False, True, True, False]


def test_clock_that_went_back(ledger: Ledger) -> None:
    """Attempts are told apart by their number: a clock set back changes nothing."""
    a = [("a", at(1))]
    ledger.append(attempts(a, "failed", 1, "refused", at(40)), 0)
    ledger.append(attempts(a, "confirmed", 2, None, at(35)), 1)
    files, _ = layout.deliveries_files(ledger.names())
    last = ledger.last_attempts(files, pa.table({"event_id": ["a"], "created_at": [at(1)]}))
    assert (last.number.tolist(), last.delivered.tolist()) == ([2], [True])


def test_event_at_fault(ledger: Ledger) -> None:
    """An event that its last attempt showed to be at fault is known with the time of it."""
    a, b = ("a", at(1)), ("b", at(1))
    ledger.append(attempts([a, b], "unconfirmed", 1, ALONE + "reset", at(40)), 0)
    ledger.append(attempts([b], "unconfirmed", 2, "reset", at(50)), 0)
    files, _ = layout.deliveries_files(ledger.names())
    events = pa.table({"event_id": ["a", "b"], "created_at": [at(1), at(1)]})
    last = ledger.last_attempts(files, events)
    assert last.alone[0] == np.datetime64("2026-03-02T16:00:00", "us")
    assert np.isnat(last.alone[1])


def test_only_ledger_files_of_the_time_are_opened(ledger: Ledger, tmp_path: Path) -> None:
    """The state of some events is read from files that reach into their time, no others."""
    ledger.append(attempts([("a", at(1))], "confirmed", 1), 1)
    [path] = tmp_path.rglob("*-1-+1.parquet")
    path.write_bytes(b"cannot be opened")
    ledger.append(attempts([("b", at(2))], "confirmed", 1), 1)
    files, _ = layout.deliveries_files(ledger.names())
    events = pa.table({"event_id": ["b"], "created_at": [at(2)]})
    assert ledger.last_attempts(files, events).delivered.tolist() == [True]


def test_segments(store: Store, ledger: Ledger) -> None:
    """What touches is apart; what a batch reaches across is one segment."""
    normalized(store, 10)
    normalized(store, 10, first=10)
    normalized(store, 10, first=600)
    assert [(part.rows, part.settled) for part in segments(ledger)] == [(10, False)] * 3
    ledger.append(attempts([(f"alpha-0-{n:05}", at(n / 60)) for n in range(20)], "sent", 1), 20)
    found = [(part.rows, part.counted, part.settled) for part in segments(ledger)]
    assert found == [(20, 20, True), (10, 0, False)]


def test_untouched_segment(store: Store, ledger: Ledger) -> None:
    """Where nothing was ever tried, everything is pending and only the oldest time is read."""
    normalized(store, 10, first=5)
    [part] = segments(ledger)
    assert survey(ledger, part, None) == Survey(0, 10, 0, at(5 / 60))


def test_survey(store: Store, ledger: Ledger) -> None:
    """Counts of a segment where something failed come from its files."""
    events = [(event_id, at(n / 60)) for n, event_id in enumerate(normalized(store, 10))]
    ledger.append(attempts(events[:4], "confirmed", 1), 4)
    ledger.append(attempts(events[4:6], "failed", 1, "refused"), 0)
    [part] = segments(ledger)
    assert survey(ledger, part, None) == Survey(4, 6, 2, at(4 / 60))
    assert survey(ledger, part, at(5 / 60)) == Survey(4, 5, 1, at(5 / 60))


def test_note(store: Store, ledger: Ledger) -> None:
    """A note settles a segment for one `since` until anything new appears, and replaces older."""
    events = [(event_id, at(n / 60)) for n, event_id in enumerate(normalized(store, 10))]
    ledger.append(attempts(events[6:], "confirmed", 1), 4)
    since = at(6 / 60)
    [part] = segments(ledger, since)
    assert (part.settled, part.sums_tell) == (False, False)
    ledger.note_settled(part, 4)
    [part] = segments(ledger, since)
    ledger.note_settled(part, 4)
    assert len(ledger.names()) == 2
    [part] = segments(ledger, since)
    assert part.settled
    assert survey(ledger, part, since) == Survey(delivered=4)
    [for_all] = segments(ledger)
    assert not for_all.settled, "without `since` six events are pending"
    ledger.append(attempts(events[9:], "failed", 2, "refused"), -1)
    [part] = segments(ledger, since)
    assert not part.settled


def test_before_since(store: Store, ledger: Ledger) -> None:
    """What ends before a destination's `since` is none of its business."""
    normalized(store, 10)
    assert segments(ledger, at(1)) == []


@dataclass
class Event:
    """An event of the model: when it was created, and whether it is normalized and delivered."""

    created: datetime
    normalized: bool = True
    delivered: bool = False


@dataclass
class File:
    """A normalized file of the model; it owns the events of its raw file for good."""

    key: str
    events: list[int]
    generation: int = 1
    lost: int = 0
    name: str = field(default="")


class Sums(RuleBasedStateMachine):
    """Normalizing, losing, recovering, delivering and replaying, by names alone.

    What names call settled must be so, and what sums tell must be exact, in any order of events.
    """

    @initialize()
    def start(self) -> None:
        """Start with an empty day."""
        self.events: list[Event] = []
        self.files: list[File] = []
        self.deliveries: list[str] = []
        self.ledger = Ledger(open_store("/nonexistent"), "sensor", "alpha", TODAY)

    def _rename(self, file: File) -> None:
        rows = sum(self.events[number].normalized for number in file.events)
        file.name = layout.normalized_name(
            file.key, file.generation, rows, lost=file.lost, unknown=False
        )

    @rule(
        since=st.integers(0, 22),
        length=st.integers(1, 3),
        minutes=st.lists(st.integers(0, 59), min_size=1, max_size=4),
    )
    def normalize(self, since: int, length: int, minutes: list[int]) -> None:
        """A window with new events is normalized; windows may overlap."""
        where = window(since, min(since + length, 24))
        numbers = []
        for minute in minutes:
            numbers.append(len(self.events))
            self.events.append(Event(where.since + timedelta(minutes=minute)))
        [raw] = layout.raw_files([layout.raw_name(where, len(numbers))])
        file = File(raw.key, numbers)
        self._rename(file)
        self.files.append(file)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def normalize_anew(self, data: st.DataObject) -> None:
        """A file is normalized anew: some events are lost, some come back."""
        file = data.draw(st.sampled_from(self.files))
        for number in file.events:
            event, keep = self.events[number], data.draw(st.booleans())
            file.lost += event.normalized and not keep
            event.normalized = keep
        file.generation += 1
        self._rename(file)

    @precondition(lambda self: self.events)
    @rule(data=st.data(), delivered=st.booleans(), stale=st.booleans())
    def deliver(self, data: st.DataObject, *, delivered: bool, stale: bool) -> None:
        """A batch is tried, perhaps of events that were lost while it was under way."""
        able = [number for number, event in enumerate(self.events) if event.normalized or stale]
        if not able:
            return
        batch = data.draw(st.lists(st.sampled_from(able), min_size=1, max_size=5, unique=True))
        times = [self.events[number].created for number in batch]
        delta = sum(delivered - self.events[number].delivered for number in batch)
        for number in batch:
            self.events[number].delivered = delivered
        bounds = layout.around(min(times), max(times))
        self.deliveries.append(layout.attempts_name(at(30), bounds, len(batch), delta))

    @precondition(lambda self: self.events)
    @rule(hour=st.none() | st.integers(0, 23))
    def note(self, hour: int | None) -> None:
        """A load finds that nothing is left in some segments, and notes it."""
        since = None if hour is None else at(hour)
        for part, pending, delivered in self._found(since):
            if not pending and not part.settled:
                span = f"{part.since}-{part.until}"
                sums = part.rows, part.total, part.ledger_rows
                self.deliveries.append(
                    layout.settled_name(span, *sums, after=part.after, delivered=delivered)
                )

    def _found(self, since: datetime | None) -> list[tuple[Segment, int, int]]:
        """Segments with what is really pending and delivered in them."""
        files = layout.normalized_files(file.name for file in self.files)
        found = []
        for part in self.ledger.segments(files, self.deliveries, since):
            inside = [
                event
                for event in self.events
                if event.normalized
                and part.since <= layout.clock(event.created, TODAY) < part.until
            ]
            pending = sum(
                not event.delivered and (since is None or event.created >= since)
                for event in inside
            )
            found.append((part, pending, sum(event.delivered for event in inside)))
        return found

    @invariant()
    def names_never_promise_too_much(self) -> None:
        """No segment is called settled that has something pending; sums that tell are exact."""
        if not hasattr(self, "ledger"):
            return
        for hour in (None, 6, 12):
            for part, pending, delivered in self._found(None if hour is None else at(hour)):
                assert not (part.settled and pending)
                if part.settled:
                    assert delivered == (part.note.delivered if part.note else part.rows)
                if part.sums_tell and not part.settled:
                    assert part.total - part.counted == pending
        if surely_settled([file.name for file in self.files], self.deliveries):
            assert all(part.settled for part, _, _ in self._found(None))


Sums.TestCase.settings = settings(max_examples=150, stateful_step_count=15, deadline=None)
TestSums = Sums.TestCase
