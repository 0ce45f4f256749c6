"""Ranges that are normalized again, by the same or another version."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from tasks.staging import day_files
from tasks.staging.names import file_names
from tests.staging.staged_data import (
    DAY,
    at,
    ids,
    stage,
    transform,
    window,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.staging.store import Store
    from tests.transform.strict import Strict

TODAY = DAY.date()
EVENTS = [("a", at(2)), ("b", at(2.2)), ("c", at(2.4))]


def test_only_the_range_is_normalized_anew(store: Store) -> None:
    """Only raw files that reach into the range are normalized anew; others, even new ones, wait."""
    for hour in (2, 3, 4):
        stage(store, window(hour, hour + 1), [(f"e{hour}", at(hour))])
    transform(store)
    stage(store, window(5, 6), [("new", at(5))])
    assert transform(store, anew=window(3, 4)).files == 1
    generations = [file.generation for file in day_files.current_files(store, "alpha", TODAY)]
    assert generations == [1, 2, 1]


def test_what_succeeds_leaves_rejected(store: Store, strict: Strict) -> None:
    """After a fix, what was rejected is normalized, and rejected no longer."""
    stage(store, window(2, 3), EVENTS)
    strict.refused = {"a", "c"}
    transform(store)
    assert (ids(store, "normalized"), ids(store, "rejected")) == (["b"], ["a", "c"])
    strict.refused = {"c"}
    transform(store, anew=window(0, 24))
    assert (ids(store, "normalized"), ids(store, "rejected")) == (["a", "b"], ["c"])
    strict.refused = set()
    transform(store, anew=window(0, 24))
    assert (ids(store, "normalized"), ids(store, "rejected")) == (["a", "b", "c"], [])


def test_lost_events_are_counted(store: Store, strict: Strict) -> None:
    """Events that a later generation rejects are counted in its name, and stay so."""
    stage(store, window(2, 3), EVENTS)
    transform(store)
    for refused, lost in (({"a", "c"}, 2), ({"a"}, 2), ({"a", "b"}, 3), (set(), 3)):
        strict.refused = set(refused)
        transform(store, anew=window(2, 3))
        [file] = file_names.normalized_files(store.files("normalized", "alpha"))
        assert (file.rows, file.lost) == (3 - len(refused), lost)


def test_damaged_normalized_file_is_replaced(store: Store, strict: Strict, tmp_path: Path) -> None:
    """What cannot be read any more is normalized anew in place, and counted as lost."""
    stage(store, window(2, 3), EVENTS)
    transform(store)
    strict.refused = {"a"}
    transform(store, anew=window(2, 3))
    [path] = (tmp_path / "normalized").rglob("*.parquet")
    path.write_bytes(b"PAR1 or so")
    done = transform(store, anew=window(2, 3))
    assert (done.normalized, done.problems) == (2, [])
    [file] = file_names.normalized_files(store.files("normalized", "alpha"))
    assert (file.generation, file.rows, file.lost) == (3, 2, 3)
    assert ids(store, "normalized") == ["b", "c"]


@pytest.mark.parametrize("step", ["rejected", "normalized", "older normalized"])
def test_crash_while_normalizing_anew(
    store: Store, strict: Strict, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off at any step, a new generation counts whole or not at all; what is over goes."""
    stage(store, window(2, 3), EVENTS)
    strict.refused = {"a"}
    transform(store)
    strict.refused = {"b"}
    with monkeypatch.context() as patch:
        _crash_after(patch, store, step)
        with pytest.raises(KeyboardInterrupt):
            transform(store, anew=window(2, 3))
    day = day_files.days(store, "alpha")[TODAY]
    renewed = step != "rejected"
    assert [file.generation for file in day.current.values()] == [2 if renewed else 1]
    assert [file.generation for file in day.rejected] == [2 if renewed else 1]
    strict.refused = set()
    assert transform(store).files == 0
    assert ids(store, "rejected") == (["b"] if renewed else ["a"])
    assert ids(store, "normalized") == (["a", "c"] if renewed else ["b", "c"])


def _crash_after(patch: pytest.MonkeyPatch, store: Store, step: str) -> None:
    """Interrupt the transform when a step is done."""
    if step == "older normalized":
        remove = store.backend.remove

        def remove_and_crash(path: str) -> None:
            remove(path)
            raise KeyboardInterrupt

        patch.setattr(store.backend, "remove", remove_and_crash)
        return
    create = store.backend.create

    @contextlib.contextmanager
    def create_and_crash(path: str, owner: str, expected: object = None) -> Any:
        with create(path, owner, expected) as pending:
            yield pending
        if path.startswith(step):
            raise KeyboardInterrupt

    patch.setattr(store.backend, "create", create_and_crash)
