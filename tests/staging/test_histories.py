"""What raw holds after any history of looks, cut off by crashes."""

from __future__ import annotations

import contextlib
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tasks.staging.coverage import read_coverage
from tasks.staging.names import file_names
from tasks.staging.raw import stage_window
from tasks.staging.store import Store, open_store
from tasks.time_window import Window, difference, union
from tests.staging.staged_data import DAY, at, ids, malformed, raw, read, window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


class Crash(BaseException):
    """The process ends here, as far as the disk can tell."""


class Staging(RuleBasedStateMachine):
    """Any looks at any windows of a day, any of them cut off by a crash at any of its writes.

    The model is the set of events in the order they became visible; what was returned to a look
    that was finished must be staged once, and its window covered.
    """

    @initialize()
    def start(self) -> None:
        """Start with an empty staging."""
        self.folder = TemporaryDirectory()
        self.store = open_store(self.folder.name)
        self.visible: dict[str, datetime] = {}
        self.broken: dict[str, datetime | None] = {}
        self.staged: set[str] = set()
        self.rejected: set[str] = set()
        self.looked_at: list[Window] = []

    def teardown(self) -> None:
        """Remove the staging."""
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(quarters=st.lists(st.integers(0, 95), min_size=1, max_size=8))
    def appear(self, quarters: list[int]) -> None:
        """Events become visible, late or not."""
        for quarter in quarters:
            self.visible[f"e{len(self.visible):04}"] = at(quarter / 4)

    @rule(quarter=st.none() | st.integers(0, 95))
    def appear_malformed(self, quarter: int | None) -> None:
        """A malformed event becomes visible, with or without a date."""
        created = None if quarter is None else at(quarter / 4)
        self.broken[f"m{len(self.broken):04}"] = created

    @rule(
        bounds=st.tuples(st.integers(0, 96), st.integers(0, 96)).filter(lambda b: b[0] < b[1]),
        crash=st.none() | st.integers(0, 5),
        later=st.integers(0, 1),
    )
    def look(self, bounds: tuple[int, int], crash: int | None, later: int) -> None:
        """A window is read and staged, or the process dies while it is."""
        where = window(bounds[0] / 4, bounds[1] / 4)
        events = raw(self.visible.items())
        rows = malformed(*((event_id, made, "{") for event_id, made in self.broken.items()))
        before = read_coverage(self.store, "alpha").covered
        try:
            with crashing(self.store, crash):
                stage_window(self.store, "alpha", where, events, rows, "run", at(30 + 24 * later))
        except Crash:
            return
        finally:
            self.newly_covered_is_staged(before)
        self.staged |= {event_id for event_id, made in self.visible.items() if made in where}
        self.rejected |= {
            event_id for event_id, made in self.broken.items() if made is None or made in where
        }
        self.looked_at.append(where)

    def newly_covered_is_staged(self, before: list[Window]) -> None:
        """What became covered just now, by a finished look or not, has all its events."""
        staged, rejected = set(ids(self.store, "raw")), set(ids(self.store, "rejected"))
        for covered in read_coverage(self.store, "alpha").covered:
            for new in difference(covered, before):
                assert {name for name, made in self.visible.items() if made in new} <= staged
                assert {
                    name for name, made in self.broken.items() if made and made in new
                } <= rejected

    @invariant()
    def staged_once(self) -> None:
        """Raw has what finished looks returned, nothing twice, and nothing that was never there."""
        if hasattr(self, "store"):
            found = ids(self.store, "raw")
            assert len(found) == len(set(found))
            assert self.staged <= set(found) <= set(self.visible)

    @invariant()
    def rejected_once(self) -> None:
        """So has rejected."""
        if hasattr(self, "store"):
            found = ids(self.store, "rejected")
            assert len(found) == len(set(found))
            assert self.rejected <= set(found) <= set(self.broken)

    @invariant()
    def covered(self) -> None:
        """Every finished look is covered."""
        if hasattr(self, "store"):
            covered = read_coverage(self.store, "alpha").covered
            assert union([*covered, *self.looked_at]) == covered

    @invariant()
    def names_tell_the_truth(self) -> None:
        """Every file has the rows its name tells, created in the window its name tells."""
        if hasattr(self, "store"):
            for row in (
                read(self.store, "raw").select(["created_at", "file"]).to_pylist()
                if ids(self.store, "raw")
                else []
            ):
                [file] = file_names.raw_files([row["file"]])
                assert row["created_at"] in file.window(DAY.date())


class crashing:  # noqa: N801 - reads as the context manager it is
    """Within this, the process dies at the n-th write or removal, before or after it."""

    def __init__(self, store: Store, at_step: int | None) -> None:
        self.backend = store.backend
        self.left = at_step

    def _step(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Crash

    def __enter__(self) -> None:
        create, remove = self.backend.create, self.backend.remove

        def create_and_die(path: str, owner: str, expected: object = None) -> Iterator[object]:
            self._step()
            with create(path, owner, expected) as pending:
                yield pending
            self._step()

        def remove_and_die(path: str) -> None:
            self._step()
            remove(path)

        vars(self.backend)["create"] = contextlib.contextmanager(create_and_die)
        vars(self.backend)["remove"] = remove_and_die

    def __exit__(self, *_: object) -> None:
        del vars(self.backend)["create"], vars(self.backend)["remove"]


Staging.TestCase.settings = settings(max_examples=25, stateful_step_count=12)
TestStaging = Staging.TestCase
