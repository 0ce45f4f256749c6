"""Merging sorted files into one, some rows of each at a time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tasks.errors import StagingError
from tasks.staging.storage.repair import how_to_repair
from tasks.staging.storage.writer import ROW_GROUP, ROW_GROUP_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy.typing as npt

_ROWS = 16_384
"""Rows of a file in memory at a time."""


@dataclass(frozen=True)
class Source:
    """A file to be merged.

    Attributes:
        path: Its path in the staging.
        since: No row of it was created before this time (microseconds since 1970).
        rows: How many it has by its name.
        in_order: Whether its rows are in order of creation; if not, they are held all at once.
    """

    path: str
    since: int
    rows: int
    in_order: bool = True


def merged(
    sources: Iterable[Source],
    read: Callable[[str, int], Iterator[pa.Table]],
    order: tuple[str, ...],
) -> Iterator[pa.Table]:
    """The rows of some files in order of creation, in tables of a row group each.

    Files are opened when their time has come. What is in memory is a row group, and `_ROWS` rows of
    each file that is open: of those whose times overlap.

    Args:
        sources: The files.
        read: The rows of a file, some at a time.
        order: The columns that say in which order rows follow that were created at the same time.

    Raises:
        FileGone: A file is not there any more.
        StagingError: A file cannot be read, or is not as its name says.
    """
    waiting = deque(sorted(sources, key=lambda source: source.since))
    cursors: list[_Cursor] = []
    ready: list[pa.Table] = []
    rows = size = 0
    while waiting or cursors:
        bounds = [cursor.complete_until for cursor in cursors if cursor.more]
        bounds += [waiting[0].since] if waiting else []
        bound = min(bounds, default=None)
        parts = [part for cursor in cursors if (part := cursor.take(bound)).num_rows]
        if parts:
            ready.append(_in_order(parts, order))
            rows, size = rows + ready[-1].num_rows, size + ready[-1].nbytes
        cursors = [cursor for cursor in cursors if cursor.advance()]
        while waiting and bound is not None and waiting[0].since <= bound:
            cursors.append(_Cursor(waiting.popleft(), read, order))
        if rows >= ROW_GROUP or size >= ROW_GROUP_BYTES:
            *groups, rest = _row_groups(pa.concat_tables(ready))
            yield from groups
            ready, rows, size = [rest], rest.num_rows, rest.nbytes
    if ready:
        yield from _row_groups(pa.concat_tables(ready))


class _Cursor:
    """The rows of a file that were read and not taken yet."""

    def __init__(
        self,
        source: Source,
        read: Callable[[str, int], Iterator[pa.Table]],
        order: tuple[str, ...],
    ) -> None:
        self._source = source
        self._batches = iter(read(source.path, _ROWS))
        if not source.in_order and (all_rows := [*self._batches]):
            self._batches = iter([_in_order(all_rows, order, always=True)])
        self._count = 0
        self._created: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._start = 0
        self._rows = pa.table({})
        self._next = next(self._batches, None)
        self.more = True
        self.advance()

    @property
    def complete_until(self) -> int:
        """No row that comes later was created before this time."""
        return int(self._created[-1])

    def take(self, bound: int | None) -> pa.Table:
        """The rows in hand that were created at `bound` or before; all without one."""
        end = len(self._created)
        if bound is not None:
            end = int(np.searchsorted(self._created, bound, side="right"))
        start, self._start = self._start, max(self._start, end)
        return self._rows.slice(start, self._start - start)

    def advance(self) -> bool:
        """Go on to the next rows where those in hand are taken; False where there are none."""
        while self._start == len(self._created):
            last = self._created[-1:]
            if self._next is None:
                self._require(self._count == self._source.rows, f"has {self._count:,} rows")
                return False
            self._rows, self._next = self._next, next(self._batches, None)
            self._start = 0
            self._created = self._rows["created_at"].cast(pa.int64()).to_numpy()
            self._count += self._rows.num_rows
            times = np.concatenate([[self._source.since], last, self._created])
            self._require(bool((times[1:] >= times[:-1]).all()), "is not in order of creation")
            self.more = self._next is not None
        return True

    def _require(self, sound: bool, fault: str) -> None:  # noqa: FBT001
        if not sound:
            path = self._source.path
            raise StagingError(
                f"{path} {fault}, against its name: the file was altered; {how_to_repair(path)}"
            )


def _in_order(parts: list[pa.Table], order: tuple[str, ...], *, always: bool = False) -> pa.Table:
    if len(parts) == 1 and not always:
        return parts[0]
    keys = [(name, "ascending") for name in ("created_at", *order)]
    return pa.concat_tables(parts).sort_by(keys)


def _row_groups(table: pa.Table) -> Iterator[pa.Table]:
    """A table in as many rows as make a row group; the last may have fewer."""
    mean = max(table.nbytes // max(table.num_rows, 1), 1)
    rows = max(min(ROW_GROUP, ROW_GROUP_BYTES // mean), 1)
    for start in range(0, max(table.num_rows, 1), rows):
        yield table.slice(start, rows)
