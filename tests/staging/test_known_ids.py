"""An id is staged once, whatever dates it has in whatever order, and whatever is kept of ids."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.staging.known_ids import KnownIds
from tasks.staging.raw import stage_window
from tasks.staging.store import Store, open_store
from tests.staging.staged_data import MALFORMED, at, raw, read, window


@dataclass(frozen=True)
class Look:
    """A window of three hours of a day that lists events by id and minute.

    Attributes:
        another_run: Whether it is the first one of a run.
    """

    day: int
    hour: int
    events: list[tuple[str, int]]
    another_run: bool


IDS = [f"{number:032x}" for number in range(12)] + ["x", "é" * 16, "0" * 33]
looks = st.builds(
    Look,
    day=st.integers(0, 3),
    hour=st.sampled_from([0, 1, 6, 21]),
    events=st.lists(st.tuples(st.sampled_from(IDS), st.integers(0, 179)), max_size=6),
    another_run=st.booleans(),
)


@settings(max_examples=60)
@given(st.lists(looks, max_size=24))
def test_an_id_is_staged_once_with_the_first_of_its_dates(history: list[Look]) -> None:
    """Over windows, days and runs; each look counts the ids that it shows with another date."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        ids = KnownIds(store, "alpha")
        first: dict[str, object] = {}
        for look in history:
            if look.another_run:
                ids.save()
                ids = KnownIds(store, "alpha")
            listed = [(one, at(look.hour + minute / 60, look.day)) for one, minute in look.events]
            before = set(first)
            for one, moment in listed:
                first.setdefault(one, moment)
            where = window(look.hour, look.hour + 3, look.day)
            found = MALFORMED.empty_table()
            staged = stage_window(store, "alpha", where, raw(listed), found, "run", ids=ids)
            assert staged.new == len(set(first) - before)
            assert staged.redated == len({one for one, moment in listed if moment != first[one]})
        rows = read(store, "raw").to_pylist()
        assert {row["event_id"]: row["created_at"] for row in rows} == first
        assert len(rows) == len(first)


def test_few_files_are_opened_for_a_new_event(store: Store) -> None:
    """Ids that are kept tell that no other file has to be: here all of them are no raw files."""
    ids = KnownIds(store, "alpha")
    for number in range(100):
        events = raw([(f"{number:032x}", at(1, number))])
        table = MALFORMED.empty_table()
        stage_window(store, "alpha", window(0, 24, number), events, table, "run", ids=ids)
    ids.save()
    for day, names in store.names_by_day("raw", "alpha").items():
        for name in names:
            store.remove(f"{store.folder('raw', 'alpha', day)}/{name}")
            store.publish(pa.table({"no": pa.array([], pa.int64())}), "raw", "alpha", day, name)
    ids = KnownIds(store, "alpha")
    assert len(ids.staged(pa.chunked_array([["new"]]))) == 0
    assert ids.unreadable == []
