"""Which files count, by names alone, in any history of writing, compacting, dying and removing."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tasks.maintain.compaction_plan import plan_day
from tasks.staging import day_files
from tasks.staging.names import file_names, ledger_file_names, rejected_file_names
from tasks.staging.names.compacted_names import highest
from tasks.staging.raw import covered_by
from tasks.time_window import Window
from tests.staging.staged_data import DAY, at, window

TODAY = DAY.date()


@dataclass
class Trees:
    """Names of files, and the events in each."""

    raw: dict[str, set[int]] = field(default_factory=dict)
    normalized: dict[str, set[int]] = field(default_factory=dict)
    rejected: dict[str, set[int]] = field(default_factory=dict)
    deliveries: dict[str, set[int]] = field(default_factory=dict)


class Histories(RuleBasedStateMachine):
    """However a day's files come and go, each event counts once in each tree, and none is lost."""

    @initialize(whole=st.booleans())
    def start(self, *, whole: bool) -> None:
        """Start with a day that is covered, perhaps from where its account begins."""
        self.trees = Trees()
        self.events: set[int] = set()
        self.sent: set[int] = set()
        self.malformed = 0
        self.begin = at(0 if whole else 5)
        if not whole:
            mark = Window.around(self.begin, self.begin)
            self.trees.raw[file_names.raw_name(mark, 0, "begin")] = set()
        self._write(window(0 if whole else 5, 24), "", 3)

    def _write(self, where: object, mark: str, count: int) -> None:
        number = highest(file_names.raw_files(self.trees.raw))
        new = set(range(len(self.events), len(self.events) + count))
        self.events |= new
        name = file_names.raw_name(where, count, mark, number)  # type: ignore[arg-type]
        self.trees.raw[name] = new
        if count:
            self._normalize(name.removesuffix(file_names.SUFFIX), new)

    def _normalize(self, key: str, events: set[int], generation: int = 1) -> None:
        bad = {event for event in events if event % 3 == 2}
        if bad:
            name = rejected_file_names.rejected_name(key, generation, len(bad))
            self.trees.rejected[name] = bad
        good = events - bad
        name = file_names.normalized_name(key, generation, len(good), lost=0)
        self.trees.normalized[name] = good

    @rule(
        since=st.integers(0, 22),
        length=st.integers(1, 20),
        count=st.integers(0, 4),
        mark=st.sampled_from(["beside", "part", "", "lost"]),
    )
    def write(self, since: int, length: int, count: int, mark: str) -> None:
        """Events appear, of a window that may lie partly before what is covered."""
        if mark == "lost":
            count = 0
        if mark == "" and at(since) < self.begin:
            return
        self._write(window(since, min(since + length, 24)), mark, count)

    @rule(count=st.integers(1, 3))
    def reject(self, count: int) -> None:
        """Malformed events are put aside."""
        number = highest(day_files.sort_names((), (), self.trees.rejected).malformed)
        name = rejected_file_names.extract_name(count, number)
        self.trees.rejected[name] = {-1 - self.malformed - n for n in range(count)}
        self.malformed += count

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Some events are tried."""
        batch = data.draw(st.sets(st.sampled_from(sorted(self.events)), min_size=1))
        delta = len(batch - self.sent)
        self.sent |= batch
        files, _ = ledger_file_names.deliveries_files(self.trees.deliveries)
        name = ledger_file_names.attempts_name(
            at(30), window(0, 24), len(batch), delta, highest(files)
        )
        self.trees.deliveries[name] = batch

    @rule()
    def compact_ledger(self) -> None:
        """The ledger is compacted."""
        files, _ = ledger_file_names.deliveries_files(self.trees.deliveries)
        if not files:
            return
        rows = set().union(*(self.trees.deliveries[file.name] for file in files))
        name = ledger_file_names.attempts_name(
            at(31),
            window(0, 24),
            len(rows),
            sum(file.delta for file in files),
            1 + highest(files),
            compacted=True,
        )
        self.trees.deliveries[name] = rows

    @rule(published=st.integers(0, 3), malformed=st.booleans())
    def compact(self, published: int, *, malformed: bool) -> None:
        """The day is compacted, or the compaction is killed between two of its renames."""
        state = self._state()
        if malformed and state.malformed:
            names = [file.name for file in state.malformed]
            events = set().union(*(self.trees.rejected[name] for name in names))
            number = 1 + highest(state.malformed)
            name = rejected_file_names.extract_name(len(events), number, compacted=True)
            self.trees.rejected[name] = events
        plan = plan_day(TODAY, state, self.begin)
        assert not plan.obstacle
        events = set().union(*(self.trees.raw[file.name] for file in plan.raw))
        name = file_names.raw_name(plan.window, len(events), number=plan.number, compacted=True)
        new = Histories.__new__(Histories)
        new.trees = Trees()
        new._normalize(name.removesuffix(file_names.SUFFIX), events)  # noqa: SLF001
        if published >= 1:
            self.trees.rejected |= new.trees.rejected
        if published >= 2:
            self.trees.normalized |= new.trees.normalized
        if published >= 3:
            self.trees.raw[name] = events

    @rule(data=st.data())
    def transform(self, data: st.DataObject) -> None:
        """What is left over and orphaned is removed, and a file may be normalized anew."""
        state = self._state()
        for stage, name in state.leftovers:
            del getattr(self.trees, stage)[name]
        for orphan, refused in state.orphans.items():
            del self.trees.normalized[orphan.name]
            for beside in refused:
                del self.trees.rejected[beside.name]
        keys = {file.key: file for file in state.current.values() if file not in state.orphans}
        ours = sorted(keys.keys() & {file.key for file in state.raw})
        if ours:
            file = keys[data.draw(st.sampled_from(ours))]
            events = self.trees.raw[file.key + file_names.SUFFIX]
            self._normalize(file.key, events, file.generation + 1)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Some of what is replaced is removed."""
        replaced = self._state().replaced
        kept = ledger_file_names.not_replaced_names([*self.trees.deliveries])
        replaced += [("deliveries", name) for name in self.trees.deliveries if name not in kept]
        for stage, name in replaced:
            if data.draw(st.booleans()):
                del getattr(self.trees, stage)[name]

    def _state(self) -> day_files.DayFiles:
        return day_files.sort_names(self.trees.raw, self.trees.normalized, self.trees.rejected)

    @invariant()
    def every_event_counts_once(self) -> None:
        """In raw, in normalized and rejected together, among the malformed, and in the ledger."""
        if not hasattr(self, "trees"):
            return
        state = self._state()
        trees = self.trees
        assert not state.waiting
        assert not state.compacted_meanwhile
        raw = [event for file in state.raw for event in trees.raw[file.name]]
        assert sorted(raw) == sorted(self.events)
        current = [file for file in state.current.values() if file.rows]
        done = [event for file in current for event in trees.normalized[file.name]]
        done += [event for file in state.rejected for event in trees.rejected[file.name]]
        assert sorted(done) == sorted(self.events)
        malformed = [event for file in state.malformed for event in trees.rejected[file.name]]
        assert sorted(malformed) == sorted(-1 - n for n in range(self.malformed))
        files, _ = ledger_file_names.deliveries_files(trees.deliveries)
        assert set().union(*(trees.deliveries[file.name] for file in files)) == self.sent
        assert sum(file.delta for file in files) == len(self.sent)

    @invariant()
    def coverage_survives(self) -> None:
        """What is covered, where the account begins, and what is lost."""
        if hasattr(self, "trees"):
            raw = file_names.raw_files(self.trees.raw)
            [covered] = covered_by(raw, TODAY)
            assert (covered.since, covered.until) == (self.begin, at(24))
            assert self.begin == at(0) or [f.mark for f in raw].count("begin") == 1


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
