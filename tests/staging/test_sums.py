"""What names call settled, in any history of normalizing and delivering."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tasks.event_filter import EventFilter
from tasks.staging.deliveries.ledger import Ledger
from tasks.staging.names import file_names, ledger_file_names
from tasks.staging.names.segments import Segment, join, surely_delivered
from tasks.staging.store import open_store
from tasks.time_window import Window
from tests.staging.staged_data import DAY, at, window

TODAY = DAY.date()
FILTERS = [
    EventFilter(None if hour is None else at(hour), types)
    for hour in (None, 6, 12)
    for types in (frozenset[str](), frozenset({"taken"}))
]


@dataclass
class Event:
    """An event of the model; `taken` is whether the filter by content takes it."""

    created: datetime
    taken: bool = False
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
        file.name = file_names.normalized_name(
            file.key, file.generation, rows, lost=file.lost, unknown=False
        )

    @rule(
        since=st.integers(0, 22),
        length=st.integers(1, 3),
        events=st.lists(st.tuples(st.integers(0, 59), st.booleans()), max_size=4),
    )
    def normalize(self, since: int, length: int, events: list[tuple[int, bool]]) -> None:
        """A window with new events is normalized; windows may overlap."""
        where = window(since, min(since + length, 24))
        numbers = []
        for minute, taken in events:
            numbers.append(len(self.events))
            self.events.append(Event(where.since + timedelta(minutes=minute), taken))
        # without events: all of the file's were rejected
        [raw] = file_names.raw_files([file_names.raw_name(where, len(numbers) or 1)])
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
            event.taken = data.draw(st.booleans())
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
        bounds = Window.around(min(times), max(times))
        self.deliveries.append(ledger_file_names.attempts_name(at(30), bounds, len(batch), delta))

    @precondition(lambda self: self.events)
    @rule(takes=st.sampled_from(FILTERS), data=st.data())
    def note(self, takes: EventFilter, data: st.DataObject) -> None:
        """A load finds that nothing is left in segments that follow each other, and notes it."""
        found = [(*each, not each[1]) for each in self._found(takes) if not each[0].left_out]
        runs = [list(run) for done, run in groupby(found, lambda each: each[3]) if done]
        if not runs:
            return
        run = data.draw(st.sampled_from(runs))
        part = join([part for part, *_ in run])
        delivered = sum(delivered for _, _, delivered, _ in run)
        self.deliveries.append(
            ledger_file_names.settled_name(
                part.since,
                part.until,
                part.rows,
                part.total,
                part.ledger_rows,
                part.takes_from,
                delivered,
                part.fingerprint,
            )
        )

    def _found(self, takes: EventFilter) -> list[tuple[Segment, int, int]]:
        """Segments with what is really pending and delivered in them."""
        files = file_names.normalized_files(file.name for file in self.files)
        found = []
        for part in self.ledger.segments(files, self.deliveries, takes):
            inside = [
                event
                for event in self.events
                if event.normalized
                and part.since <= file_names.clock(event.created, TODAY) < part.until
            ]
            pending = sum(
                not event.delivered
                and (takes.since is None or event.created >= takes.since)
                and (event.taken or not takes.types)
                for event in inside
            )
            found.append((part, pending, sum(event.delivered for event in inside)))
        return found

    @invariant()
    def names_never_promise_too_much(self) -> None:
        """No segment is called settled that has something pending; sums that tell are exact."""
        if not hasattr(self, "ledger"):
            return
        for takes in FILTERS:
            found = self._found(takes)
            for part, pending, delivered in found:
                assert not (part.settled and pending)
                if part.sums_tell:
                    assert part.delivered == delivered
                elif part.normalized and part.settled and not part.left_out:
                    assert delivered == (part.note.delivered if part.note else part.rows)
            names = [file.name for file in self.files]
            counted = surely_delivered(TODAY, names, self.deliveries, takes)
            if counted is not None:
                assert not any(pending for _, pending, _ in found)
                assert counted == sum(delivered for _, _, delivered in found)


Sums.TestCase.settings = settings(max_examples=60, stateful_step_count=15)
TestSums = Sums.TestCase
