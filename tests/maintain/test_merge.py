from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import StagingError
from tasks.maintain import merge
from tasks.maintain.merge import Source, merged

if TYPE_CHECKING:
    from collections.abc import Iterator

TIME = pa.timestamp("us", tz="UTC")


def table(times: list[int], first: int = 0) -> pa.Table:
    """Rows created at some times, numbered."""
    numbers = pa.array(range(first, first + len(times)), pa.int64())
    return pa.table({"created_at": pa.array(times, TIME), "number": numbers})


@given(
    files=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12), max_size=6),
    rows=st.integers(1, 5),
    group=st.integers(1, 7),
    in_order=st.booleans(),
)
def test_merging(files: list[list[int]], rows: int, group: int, *, in_order: bool) -> None:
    """Files that overlap in any way give every row once, in order of creation, group by group."""
    tables: list[pa.Table] = []
    for times in files:
        ordered = sorted(times) if in_order else times
        tables.append(table(ordered, sum(each.num_rows for each in tables)))
    sources = [
        Source(str(number), min(times), len(times), in_order) for number, times in enumerate(files)
    ]

    def read(path: str, _: int) -> Iterator[pa.Table]:
        whole = tables[int(path)]
        yield from (whole.slice(start, rows) for start in range(0, whole.num_rows, rows))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "ROW_GROUP", group)
        found = list(merged(sources, read, ("number",)))
    assert all(part.num_rows == group for part in found[:-1])
    times = [time for part in found for time in part["created_at"].cast(pa.int64()).to_pylist()]
    assert times == sorted(time for each in files for time in each)
    numbers = [number for part in found for number in part["number"].to_pylist()]
    assert sorted(numbers) == list(range(len(times)))


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (Source("raw/x", 0, 4), "has 3 rows"),
        (Source("raw/x", 2, 3), "is not in order of creation"),
    ],
)
def test_file_that_was_altered(source: Source, fault: str) -> None:
    """A file that is not as its name says is named, and not merged."""
    with pytest.raises(StagingError, match=f"raw/x {fault}, against its name: the file was"):
        list(merged([source], lambda *_: iter([table([1, 2, 3])]), ()))


def test_one_file_at_a_time() -> None:
    """Files that do not overlap are opened one after the other: memory does not grow with them."""
    opened = 0

    def read(path: str, _: int) -> Iterator[pa.Table]:
        nonlocal opened
        opened += 1
        yield table([int(path) * 10] * 4)
        yield table([int(path) * 10 + 9] * 4)

    sources = [Source(str(number), number * 10, 8) for number in range(8)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "ROW_GROUP", 8)
        for given_out, _ in enumerate(merged(sources, read, ())):
            assert opened <= given_out + 2
