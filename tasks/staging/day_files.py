"""The files of a day by their names: which count, which are to be normalized, which are left over.

A normalized file means that its raw file is done, whatever became of the events. Normalizing
anew makes a new generation: its rejected file is published first, its normalized file second,
then the older generation is removed. So the newest normalized file of a raw file is the one
that counts, and a rejected file counts with the normalized file of its own generation. A crash
in between leaves files that do not count, for the next transform to remove.

A raw file of no rows needs no normalized one: its name says that there is nothing to normalize.

A raw file that a compacted one replaces does not count, and neither does what came of it
(`tasks.staging.names.compacted_names`). Compaction publishes rejected, then normalized, then raw:
the name of the compacted raw file makes the change. A compacted normalized file without its raw
file was published by a compaction that is still at work, or was killed: its events still count
through the files that it was to replace.

Where the raw file is gone because somebody moved it out of the staging, neither its normalized nor
its rejected file counts: once the range is extracted anew, its events come from the new raw files.
How many they were still counts in the sums of names (`lost`), because they may have been delivered;
see `tasks.staging.names.segments` for why, and `tasks.staging.orphans` for how such files are
dropped.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from typing import TYPE_CHECKING

from tasks.staging.day_folders import every_day
from tasks.staging.dropped import runs_by_names
from tasks.staging.names import file_names, rejected_file_names
from tasks.staging.names.compacted_names import compacted_of, not_replaced, not_replaced_in_folder
from tasks.staging.names.file_names import SUFFIX
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    from tasks.staging.names.compacted_names import R
    from tasks.staging.names.file_names import NormalizedFile, RawFile
    from tasks.staging.names.rejected_file_names import RejectedFile
    from tasks.staging.store import Store

    DayNames = tuple[Sequence[str], Sequence[str], Sequence[str]]
    """Names of a day in raw, normalized and rejected."""

_EMPTY = re.compile(rf"-0(?:-(?:{'|'.join(file_names.MARKS)}))?(?:-[ac]\d+)?$")
_LISTINGS = 4

_ORDER = ("normalized", "rejected", "raw")
"""The order in which trees are listed: opposite to that in which files come into being.

So what appears meanwhile may be seen without what comes of it, and nothing is seen without what it
came from: if no raw file is listed after a normalized file, there is none.
"""


@dataclass(frozen=True)
class DayFiles:
    """What the names of an account's day say.

    Attributes:
        raw: Every raw file that counts, in order of windows.
        current: The normalized file that counts for each raw file, by its key; for a raw file that
            is gone, without its rows.
        rejected: The rejected files of stage transform that count.
        malformed: The rejected files of stage extract.
        leftovers: Trees and names of files of older generations, and of those never completed.
        orphans: The newest normalized file of each raw file that is gone, to be dropped with the
            rejected files beside it.
        replaced: Trees and names of files that compacted ones replace, to be removed by
            `tasks.maintain` alone: readers may still be about to open them.
        dropped: Whether retention has dropped the day. What it left there when it was killed is
            among the leftovers, and no orphan.
    """

    raw: list[RawFile] = field(default_factory=list)
    current: dict[str, NormalizedFile] = field(default_factory=dict)
    rejected: list[RejectedFile] = field(default_factory=list)
    malformed: list[RejectedFile] = field(default_factory=list)
    leftovers: list[tuple[str, str]] = field(default_factory=list)
    orphans: dict[NormalizedFile, list[RejectedFile]] = field(default_factory=dict)
    replaced: list[tuple[str, str]] = field(default_factory=list)
    dropped: bool = False

    @property
    def compacted_meanwhile(self) -> bool:
        """Whether a compaction changed the day while it was listed: list again.

        What it published before its raw file was not there yet when the tree was listed.
        """
        return _compacted_meanwhile(self.raw, self.current)

    @property
    def waiting(self) -> list[RawFile]:
        """Raw files that have rows and no normalized file."""
        done = {key for key, file in self.current.items() if not file.gone}
        return [file for file in self.raw if file.rows and file.key not in done]


def sort_names(
    raw: Iterable[str],
    normalized: Iterable[str],
    rejected: Iterable[str],
    folder: str = "",
    *,
    dropped: bool = False,
) -> DayFiles:
    """Sort out the names of one account and day, whose `folder` it is. No file is opened.

    Raises:
        StagingError: A name is not one of ours.
    """
    all_raw = file_names.all_raw_files(raw, folder)
    all_normalized = file_names.normalized_files(normalized, folder)
    all_rejected = rejected_file_names.rejected_files(rejected, folder)
    of_transform = [file for file in all_rejected if file.key is not None]
    of_extract = [file for file in all_rejected if file.key is None]
    compacted = compacted_of(all_raw)
    raw_files = not_replaced(all_raw, compacted)
    generations = not_replaced(all_normalized, compacted)
    refused = not_replaced(of_transform, compacted)
    malformed = not_replaced_in_folder(of_extract)
    newest = _newest(generations)
    current = _without_rows_of_gone(newest, {file.key for file in raw_files})
    old = [file for file in generations if newest[file.key] is not file]
    stale: list[RejectedFile] = []
    beside: defaultdict[str | None, list[RejectedFile]] = defaultdict(list)
    for file in refused:
        if file.key in newest and newest[file.key].generation == file.generation:
            beside[file.key].append(file)
        else:
            stale.append(file)
    gone = [file for key, file in newest.items() if current[key] is not file]
    orphans = {file: beside.pop(file.key, []) for file in gone}
    if dropped:
        old += orphans
        stale += chain.from_iterable(orphans.values())
        orphans = {}
    return DayFiles(
        raw=raw_files,
        current=current,
        rejected=[*chain.from_iterable(beside.values())],
        malformed=malformed,
        leftovers=[
            *(("normalized", file.name) for file in old),
            *(("rejected", file.name) for file in stale),
        ],
        orphans=orphans,
        replaced=[
            *_left_out("normalized", all_normalized, generations),
            *_left_out("rejected", of_transform, refused),
            *_left_out("rejected", of_extract, malformed),
            *_left_out("raw", all_raw, raw_files),
        ],
        dropped=dropped,
    )


def _left_out(tree: str, files: Sequence[R], count: Sequence[R]) -> list[tuple[str, str]]:
    """The tree and the name of each file that is not among those that count."""
    names = {file.name for file in count}
    return [(tree, file.name) for file in files if file.name not in names]


def _compacted_meanwhile(raw: Iterable[RawFile], current: Container[str]) -> bool:
    return any(file.compacted and file.rows and file.key not in current for file in raw)


def _newest(generations: Iterable[NormalizedFile]) -> dict[str, NormalizedFile]:
    return {file.key: file for file in generations}  # ascending: the newest stays


def _without_rows_of_gone(
    newest: dict[str, NormalizedFile], raw_keys: Container[str]
) -> dict[str, NormalizedFile]:
    """The newest normalized files, each without its rows where its raw file is gone."""
    return {
        key: file if file.gone or key in raw_keys else file.without_raw()
        for key, file in newest.items()
    }


def days(store: Store, account: str, within: Window | None = None) -> dict[date, DayFiles]:
    """The days of an account, oldest first, by names alone; within a window only its days."""
    return {
        day: day_from_listing(store, account, day, names, dropped=dropped)
        for day, dropped, names in list_days(store, account, within)
    }


def day_of(store: Store, account: str, day: date, *, dropped: bool = False) -> DayFiles:
    """One day of an account, by names alone; `dropped` where retention has dropped it.

    Raises:
        StagingError: A name is not one of ours.
    """
    return day_from_listing(store, account, day, _names(store, account, day), dropped=dropped)


def day_from_listing(
    store: Store, account: str, day: date, names: DayNames, *, dropped: bool
) -> DayFiles:
    """A day by its names in raw, normalized and rejected, as `list_days` tells them.

    It is listed again where a compaction changed it meanwhile.

    Raises:
        StagingError: A name is not one of ours.
    """
    for _ in range(_LISTINGS):
        state = sort_names(*names, file_names.partition(account, day), dropped=dropped)
        if not state.compacted_meanwhile:
            break
        names = _names(store, account, day)
    return state


def _names(store: Store, account: str, day: date) -> DayNames:
    normalized, rejected, raw = (store.files(tree, account, day) for tree in _ORDER)
    return raw, normalized, rejected


def list_days(
    store: Store,
    account: str,
    within: Window | None = None,
    changed: Callable[[date], bool] = every_day,
) -> Iterator[tuple[date, bool, DayNames]]:
    """Every day, whether it was dropped, and its names in raw, normalized and rejected.

    The oldest day comes first. Within a window, only its days are yielded; later days of raw are
    listed, too, because the mark that a day was dropped may lie on any of them. Days that are not
    `changed` are left out; none of them may have such a mark.
    """
    wanted = within.reaches if within else changed
    first = within.since.date() if within else date.min
    normalized, rejected = (store.names_by_day(tree, account, wanted=wanted) for tree in _ORDER[:2])
    raw = store.names_by_day("raw", account, wanted=lambda day: day >= first and changed(day))
    runs = runs_by_names(raw)
    for day in sorted({*filter(wanted, raw), *normalized, *rejected}):
        dropped = any(run.overlaps(Window.of_day(day)) for run in runs)
        yield day, dropped, (raw.get(day, ()), normalized.get(day, ()), rejected.get(day, ()))


def plainly_done(raw: Sequence[str], normalized: Sequence[str]) -> bool:
    """Whether each raw file with rows has one normalized file, and each of those its raw file."""
    done = [name.rpartition("-g")[0] for name in normalized]
    keys = [name[: -len(SUFFIX)] for name in raw]
    if done == keys:
        return True
    rest = {*keys}.difference(done)
    return len(keys) == len(done) + len(rest) and all(_EMPTY.search(key) for key in rest)


def current_files(
    store: Store, account: str, day: date, names: Iterable[str] | None = None
) -> list[NormalizedFile]:
    """The normalized files of a day that count, in order of windows; by names alone.

    Args:
        store: The staging.
        account: Whose they are.
        day: The day.
        names: Names of its normalized files, where they were listed before.

    Raises:
        StagingError: A name is not one of ours.
    """
    folder = file_names.partition(account, day)
    for _ in range(_LISTINGS):
        if names is None:
            names = store.files("normalized", account, day)
        # in this order: see `_ORDER`
        raw = file_names.all_raw_files(store.files("raw", account, day), folder)
        compacted = compacted_of(raw)
        newest = _newest(not_replaced(file_names.normalized_files(names, folder), compacted))
        names = None
        if not _compacted_meanwhile(not_replaced(compacted, compacted), newest):
            break
    return list(_without_rows_of_gone(newest, {file.key for file in raw}).values())
