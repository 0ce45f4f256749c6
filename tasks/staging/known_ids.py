"""Which raw file has an event, so that it is staged once, whatever date it is listed with.

Files about the time of an event are read in any case (`tasks.staging.raw`). An id that
was staged with another `created_at` may lie in any file of the account, and to open them all for
every new event would cost seconds. So 8-byte hashes of all ids tell which file may have it, and
only that is opened. They are kept beside raw, one row a file:

    <staging>/.ids/account=<account>.parquet

It holds nothing that raw does not: files that it lacks are read, those that are gone don't count,
and where it is missing or damaged it is made anew. It is read only where events are new; then it
takes 8 bytes an event of memory.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import date
from hashlib import blake2b
from itertools import accumulate, groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import StagingError
from tasks.staging.day_cache import DayCache
from tasks.staging.names import file_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from tasks.staging.store import Store

FOLDER = ".ids"
_SCHEMA = pa.schema([("file", pa.string()), ("ids", pa.list_(pa.uint64()))])
_DAY = slice(10)
"""The part of a file's path, as it is kept, that is its day."""
_FEW_FILES = 8
_USUAL_LENGTH = 32
_FACTORS = np.array(
    [0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93], np.uint64
)
"""Odd numbers of no pattern, by which the 8-byte words of an id are multiplied."""
_WRITTEN_MEANWHILE = 4_000
"""Hashes that are written in about half the time in which one more file is read."""


class KnownIds:
    """The ids of an account's raw events, by their hashes.

    The caller holds the account's lock, and adds every file that is published.

    Args:
        store: The staging.
        account: Whose ids.
        cached: Whether days that did not change need not be listed.

    Attributes:
        unreadable: What is wrong with files that cannot be read; an event in one is not known.
    """

    def __init__(self, store: Store, account: str, *, cached: bool = False) -> None:
        self.unreadable: list[str] = []
        self._store = store
        self._account = account
        self._cached = cached
        self._loaded = False
        self._files: list[str] = []
        self._ends: list[int] = []
        self._hashes: list[pa.Array] = []
        self._not_saved = 0

    def staged(self, event_ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """All ids of the files that may hold one of these; none where no file may.

        Raises:
            StagingError: A file that may hold one cannot be read.
        """
        if not len(event_ids):
            return event_ids
        self._load()
        hashes = pa.chunked_array(self._hashes, pa.uint64())
        found = pc.indices_nonzero(pc.is_in(hashes, value_set=pa.array(id_hashes(event_ids))))
        files = {self._files[bisect_right(self._ends, at)] for at in found.to_pylist()}
        columns = [self._read(file) for file in sorted(files)]
        return pa.chunked_array([part for column in columns for part in column.chunks], pa.string())

    def add(self, day: date, name: str, event_ids: pa.ChunkedArray) -> None:
        """Take note of a file that was published."""
        self._load()
        self._add([f"{day}/{name}"], [len(event_ids)], pa.array(id_hashes(event_ids)))
        self._not_saved += 1

    def save(self) -> None:
        """Write what is known, where enough is new to be worth the time.

        Raises:
            StagingError: It cannot be written.
        """
        if not self._ends or self._not_saved < _FEW_FILES:
            return
        if self._not_saved < math.isqrt(self._ends[-1] // _WRITTEN_MEANWHILE):
            return
        self._save()

    def renew(self) -> None:
        """Write what is known of the files that are there now, for example after a compaction.

        Raises:
            StagingError: It cannot be written.
        """
        self._load()
        if self._ends:
            self._save()

    def _save(self) -> None:
        import pyarrow.parquet as pq

        ids = pa.ListArray.from_arrays(
            pa.array([0, *self._ends], pa.int32()), pa.concat_arrays(self._hashes)
        )
        owner = f"account={self._account}"
        with self._store.backend.create(FOLDER, owner) as file:
            table = pa.table([pa.array(self._files), ids], schema=_SCHEMA)
            pq.write_table(table, file.sink, compression="none", use_dictionary=False)
            file.name = f"{owner}{file_names.SUFFIX}"
        self._not_saved = 0

    def _load(self) -> None:
        """Take what is kept of the files that are there, and read the others."""
        if self._loaded:
            return
        self._loaded = True
        kept = _kept(self._store, self._account)
        known = sorted(kept["file"].to_pylist())
        there = self._there(known)
        if not there.issuperset(known):
            kept = kept.filter(pc.is_in(kept["file"], value_set=pa.array(there, pa.string())))
        lists = kept["ids"].combine_chunks()
        counts = pc.list_value_length(lists).to_pylist()
        self._add(kept["file"].to_pylist(), counts, lists.flatten())
        for path in sorted(there.difference(known)):
            try:
                hashes = id_hashes(self._read(path))
            except StagingError as fault:
                self.unreadable.append(str(fault))
                continue
            self._add([path], [len(hashes)], pa.array(hashes))
            self._not_saved += 1

    def _there(self, known: list[str]) -> set[str]:
        """The files with rows that are there; `known` are those whose hashes are kept, sorted.

        A day that did not change is not listed where exactly its files are known.
        """
        ours = {day: [*files] for day, files in groupby(known, itemgetter(_DAY))}
        parent = self._store.folder("raw", self._account)
        cache = DayCache(self._store, f"account={self._account}", "ids", [parent], use=self._cached)

        def wanted(day: date) -> bool:
            return cache.must_list(day) or cache.unchanged[day] != _digest(ours.get(str(day), []))

        there: set[str] = set()
        listed = self._store.names_by_day("raw", self._account, wanted=wanted)
        for day, names in listed.items():
            folder = file_names.partition(self._account, day)
            files = [f"{day}/{name}" for name in file_names.raw_with_rows(names, folder)]
            cache.keep(day, _digest(files))
            there.update(files)
        cache.save()
        for day in cache.unchanged.keys() - listed.keys():
            there.update(ours.get(str(day), []))
        return there

    def _add(self, files: list[str], counts: list[int], hashes: pa.Array) -> None:
        self._files += files
        last = self._ends[-1] if self._ends else 0
        self._ends += list(accumulate(counts, initial=last))[1:]
        self._hashes.append(hashes)
        # few arrays, of which no event is copied more often than the logarithm of their number
        while len(self._hashes) > 1 and len(self._hashes[-2]) < 2 * len(self._hashes[-1]):
            self._hashes[-2:] = [pa.concat_arrays(self._hashes[-2:])]

    def _read(self, file: str) -> pa.ChunkedArray:
        day, _, name = file.partition("/")
        folder = f"{self._store.folder('raw', self._account)}/date={day}"
        return self._store.read(f"{folder}/{name}", ["event_id"])["event_id"]


class Candidates:
    """The raw files of an account that may have an event, by the hashes that are kept.

    It takes no lock, because what is kept of an existing file is always right.

    Attributes:
        days: The days of the files that have its hash, whether these are still there or not.
    """

    def __init__(self, store: Store, account: str, event_id: str) -> None:
        kept = _kept(store, account)
        lists = kept["ids"].combine_chunks()
        [wanted] = id_hashes(pa.chunked_array([[event_id]], pa.string()))
        at = pc.indices_nonzero(pc.equal(lists.flatten(), pa.scalar(wanted, pa.uint64())))
        rows = np.searchsorted(lists.offsets.to_numpy(), at.to_numpy(), side="right") - 1
        self._files = {*kept["file"].take(pa.array(rows)).to_pylist()}
        self._others = {*kept["file"].to_pylist()} - self._files
        self.days = {date.fromisoformat(file.partition("/")[0]) for file in self._files}

    def may_have(self, day: date, name: str) -> bool:
        """Whether a file may have the event: one of its hash, or of which nothing is kept."""
        return f"{day}/{name}" not in self._others


def _kept(store: Store, account: str) -> pa.Table:
    """What is kept of an account: files and their hashes; nothing where it cannot be read."""
    import pyarrow.parquet as pq

    try:
        with store.backend.open(f"{FOLDER}/account={account}{file_names.SUFFIX}") as source:
            table = pq.ParquetFile(source).read()
    except StagingError:
        return _SCHEMA.empty_table()
    return table if table.schema.equals(_SCHEMA) else _SCHEMA.empty_table()


def _digest(files: Iterable[str]) -> str:
    """Stands for the names of a day's files, which are sorted."""
    return blake2b("/".join(files).encode(), digest_size=16).hexdigest()


def id_hashes(event_ids: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """A hash of each id; of Halo's own, 32 characters long, by arithmetic on all at once."""
    ids = event_ids.combine_chunks()
    usual = pc.equal(pc.binary_length(ids), _USUAL_LENGTH)
    hashes = np.empty(len(ids), np.uint64)
    where = usual.to_numpy(zero_copy_only=False)
    words = np.frombuffer(ids.filter(usual).buffers()[2] or b"", "<u8")
    hashes[where] = words[: 4 * where.sum()].reshape(-1, 4) @ _FACTORS
    others = (i.encode() for i in ids.filter(pc.invert(usual)).to_pylist())
    hashes[~where] = [int.from_bytes(blake2b(i, digest_size=8).digest()) for i in others]
    return hashes
