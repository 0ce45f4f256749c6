"""Names: what a staged file is, whose it is and how much it holds is read from its path alone.

    raw         {since}-{until}-{unique}-{rows}[-part|-beside|-lost|-begin|-range][-a{n}]
                {since}-{until}-{unique}-{rows}-c{n}, or -0-dropped-{from}
    normalized  {name of the raw file}-g{generation}-{rows}[-x{lost}][u|-gone]
    rejected    {name of the raw file}-g{generation}-{rows}                   (stage transform)
                extract-{unique}-{rows}[-a{n}|-c{n}]                          (stage extract)
    deliveries  {attempted at}-{unique}-{since}-{until}-{rows}-{delta}[-a{n}|-c{n}]
                settled-{since}-{until}-{events}-{total}-{ledger rows}-{takes from}-{delivered}
                       [-f{fingerprint}]-{unique}                             (a note, no rows)

all of them followed by `.parquet`. `since` and `until` are `HHMMSSffffff` in the UTC day of the
folder, half-open, and bound the `created_at` of every row; midnight at the day's end is
`240000000000`. Times of this form compare as text; a name with any other time is not one of ours.
`-c{n}` and `-a{n}` say which files a compaction replaced: `compacted_names` beside this module. The
forms of all four trees stand together here, because none of them may be taken for another;
`rejected_file_names` and `ledger_file_names` read and make those of `rejected` and `deliveries`.
Nothing here touches a disk. The `folder` that functions take is where the names lie in their tree:
messages show it.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, cast

from tasks.staging.names.compacted_names import (
    AFTER,
    COMPACTED,
    compacted_of,
    not_replaced,
    numbered,
)
from tasks.staging.names.name_search import find_all
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    RawParts = tuple[str, str, str, str, str, str]
    """Since, until, rows, compaction, mark and after, as in the name; empty what it lacks."""

SUFFIX = ".parquet"
TREES = ("raw", "normalized", "rejected", "deliveries")
"""The four trees of a staging."""

MARKS = ("part", "beside", "lost", "begin", "range")
"""What a raw file's name may say in addition to its window; see `RawFile`."""

END_OF_DAY = "240000000000"


def name_pattern(name: str) -> re.Pattern[str]:
    """A pattern of whole file names, without their suffix."""
    return re.compile(name + re.escape(SUFFIX), re.ASCII)


def names_pattern(name: str) -> re.Pattern[str]:
    """A pattern that finds such names among others, each followed by a slash; see `find_all`."""
    return re.compile(f"(?<![^/]){name}{re.escape(SUFFIX)}/", re.ASCII)


CLOCK = r"(?:(?:[01]\d|2[0-3])[0-5]\d[0-5]\d{7}|240000000000)"
SPAN = rf"(?P<since>{CLOCK})-(?P<until>{CLOCK})"
_MARK = rf"(?:-(?P<mark>{'|'.join(MARKS)}|dropped-\d{{8}}T\d{{12}}))?"
_SOURCE = rf"{SPAN}-[0-9a-f]{{8}}-(?P<raw_rows>\d+)(?:{COMPACTED}|{_MARK}{AFTER})"
_RESULT = (
    rf"(?P<key>{_SOURCE})-g(?P<generation>\d+)-(?P<rows>\d+)"
    r"(?:-x(?P<lost>\d+))?(?:(?P<unknown>u)|(?P<gone>-gone))?"
)
_RAW = names_pattern(_SOURCE)
_NORMALIZED = names_pattern(_RESULT)
NORMALIZED = name_pattern(_RESULT)


def unique() -> str:
    """Eight random hexadecimal digits: two writers never make the same name."""
    return secrets.token_hex(4)


def clock(moment: datetime, day: date) -> str:
    """`HHMMSSffffff` of a UTC time in `day`, or of the midnight that ends it."""
    if moment.date() > day:
        return END_OF_DAY
    return moment.strftime("%H%M%S%f")


def moment(clock_text: str, day: date) -> datetime:
    """The UTC time that `clock` wrote."""
    if clock_text == END_OF_DAY:
        return datetime.combine(day, time(), UTC) + timedelta(days=1)
    hour, minute, second = int(clock_text[:2]), int(clock_text[2:4]), int(clock_text[4:6])
    return datetime(
        day.year, day.month, day.day, hour, minute, second, int(clock_text[6:]), tzinfo=UTC
    )


def clock_from(since: datetime | None, day: date) -> str:
    """The clock text from which on `since` admits events of `day`; `240000000000` for none."""
    if since is None or since.date() < day:
        return "000000000000"
    return clock(since, day) if since.date() == day else END_OF_DAY


def span(window: Window) -> str:
    """The part of a name that says which window of its day a file is about.

    Raises:
        ValueError: The window reaches over the end of its UTC day.
    """
    day = window.day
    if window.until - Window.of_day(day).since > timedelta(days=1):
        raise ValueError(f"window {window} is not within one UTC day")
    return f"{clock(window.since, day)}-{clock(window.until, day)}"


@dataclass(frozen=True, slots=True)
class SpannedFile:
    """A file about a window of its day. `since` and `until` are clock texts."""

    name: str
    since: str
    until: str
    rows: int

    def window(self, day: date) -> Window:
        """The window its name tells, in the day of its folder."""
        return Window(moment(self.since, day), moment(self.until, day))

    def overlaps(self, since: str, until: str) -> bool:
        """Whether a moment lies in both."""
        return self.since < until and since < self.until


@dataclass(frozen=True, slots=True)
class RawFile(SpannedFile):
    """A window of raw events; of no rows where Halo had none.

    Only a file without a `mark` covers its window. The marks of the others:

    - `part`: Halo has more of the window than it shows, or than could be held in memory.
    - `beside`: the events were in the listing of another window, or appeared late.
    - `lost`: Halo had dropped the window before it was read.
    - `begin`: the account begins in this microsecond.
    - `range`: a range that was extracted before the account's first sync begins in it.
    - `dropped-…`: retention dropped all up to its end; see `tasks.staging.dropped`.

    A `compacted` one has the events of those that it replaces; see `compacted_names` for `number`.
    """

    mark: str = ""
    number: int = 0
    compacted: bool = False

    @property
    def key(self) -> str:
        """What its normalized and rejected files' names begin with."""
        return self.name.removesuffix(SUFFIX)


@dataclass(frozen=True, slots=True)
class NormalizedFile(SpannedFile):
    """What became of the raw file `key` when it was normalized the `generation`th time.

    `lost` counts the events that earlier generations had and the one after them had no more;
    `unknown` tells that the file has events of types the catalogue does not know. `gone` tells
    that the raw file was moved out of the staging: the file has no rows, and only counts `lost`.
    `mark`, `number` and `compacted` are the raw file's.
    """

    key: str
    generation: int
    lost: int
    unknown: bool
    gone: bool
    mark: str
    number: int
    compacted: bool

    def without_raw(self) -> NormalizedFile:
        """What counts of it when its raw file is gone."""
        lost = self.lost + self.rows
        return replace(self, rows=0, lost=lost, unknown=False, gone=True)


def window_of(name: str, day: date) -> Window | None:
    """The window that a name of raw, normalized or rejected begins with; None where none does."""
    match = re.match(SPAN, name, re.ASCII)
    if match is None or match["since"] >= match["until"]:
        return None
    return Window(moment(match["since"], day), moment(match["until"], day))


def partition(account: str, day: date, destination: str = "") -> str:
    """The folder of an account's day in its tree; in that of deliveries, of a destination's."""
    ours = f"account={account}/date={day.isoformat()}"
    return f"destination={destination}/{ours}" if destination else ours


def match_spanned(pattern: re.Pattern[str], name: str) -> re.Match[str] | None:
    """The match of a name that tells a window, which must not be empty or backward."""
    match = pattern.fullmatch(name)
    return match if match and match["since"] < match["until"] else None


def raw_name(
    window: Window, rows: int, mark: str = "", number: int = 0, *, compacted: bool = False
) -> str:
    """A new name for a raw file; see `RawFile` for its mark, `compacted_names` for its number."""
    place = numbered(number, compacted=compacted)
    return f"{span(window)}-{unique()}-{rows}{'-' if mark else ''}{mark}{place}{SUFFIX}"


def raw_parts(names: Sequence[str], folder: str = "") -> list[RawParts]:
    """The parts of raw files' names, in order of windows, those of replaced ones too.

    Where they suffice, they cost a fifth of what `RawFile` does.

    Raises:
        StagingError: A name is not one of ours.
    """
    return cast("list[RawParts]", find_all(_RAW, sorted(names), "raw", folder))


def raw_with_rows(names: Iterable[str], folder: str = "") -> list[str]:
    """The names of the raw files that count and have rows, in order of their windows.

    Raises:
        StagingError: A name is not one of ours.
    """
    ours = sorted(names)
    parts = raw_parts(ours, folder)
    if any(compaction for _, _, _, compaction, _, _ in parts):
        return [file.name for file in raw_files(ours, folder) if file.rows]
    return [name for name, part in zip(ours, parts, strict=True) if int(part[2])]


def raw_files(names: Iterable[str], folder: str = "") -> list[RawFile]:
    """The raw files that count, by their names, in order of their windows.

    Raises:
        StagingError: A name is not one of ours.
    """
    files = all_raw_files(names, folder)
    return not_replaced(files, compacted_of(files))


def all_raw_files(names: Iterable[str], folder: str = "") -> list[RawFile]:
    """Raw files by their names, those that compacted ones replace too, in order of their windows.

    Raises:
        StagingError: A name is not one of ours.
    """
    ours = sorted(names)  # by their windows: these come first in a name, and are of one length
    return [
        RawFile(
            name, since, until, int(rows), mark, int(compaction or after or 0), bool(compaction)
        )
        for name, (since, until, rows, compaction, mark, after) in zip(
            ours, raw_parts(ours, folder), strict=True
        )
    ]


def normalized_name(
    key: str, generation: int, rows: int, *, lost: int, unknown: bool = False, gone: bool = False
) -> str:
    """The name of a normalized file."""
    losses = f"-x{lost}" if lost else ""
    return (
        f"{key}-g{generation}-{rows}{losses}{'u' if unknown else '-gone' if gone else ''}{SUFFIX}"
    )


def normalized_files(names: Iterable[str], folder: str = "") -> list[NormalizedFile]:
    """Normalized files by their names, replaced ones and every generation too, by their windows.

    Raises:
        StagingError: A name is not one of ours.
    """
    ours = sorted(names)
    files = []
    for name, groups in zip(ours, find_all(_NORMALIZED, ours, "normalized", folder), strict=True):
        key, since, until, _, compaction, mark, after, *numbers, unknown, gone = groups
        generation, rows, lost = (int(number or 0) for number in numbers)
        of_result = (key, generation, lost, bool(unknown), bool(gone))
        of_raw = (mark, int(compaction or after or 0), bool(compaction))
        files.append(NormalizedFile(name, since, until, rows, *of_result, *of_raw))
    return sorted(files, key=lambda file: (file.since, file.until, file.key, file.generation))
