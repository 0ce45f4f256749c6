"""Names: what a staged file is, whose it is and how much it holds is read from its path alone.

    raw         {since}-{until}-{unique}-{rows}[-part|-beside|-lost|-begin|-range]
    normalized  {since}-{until}-{unique}-{raw rows}-g{generation}-{rows}[-x{lost}][u|-gone]
    rejected    {since}-{until}-{unique}-{raw rows}-g{generation}-{rows}      (stage transform)
                extract-{unique}-{rows}                                       (stage extract)
    deliveries  {attempted at}-{unique}-{since}-{until}-{rows}-{delta}
                settled-{since}-{until}-{events}-{total}-{ledger rows}-{after}-{delivered}-{unique}
                                                                              (a note, no rows)

all of them with `.parquet` behind. `since` and `until` are `HHMMSSffffff` in the UTC day of the
folder, half-open, and bound the `created_at` of every row; midnight at the day's end is
`240000000000`. Times of this form compare as text; a name with any other is not one of ours.
Nothing here touches a disk; who knows the `folder` in its tree that names lie in gives it along,
for messages. The names of all four trees stand together, long as that makes the module: each must
not be taken for another.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from tasks.errors import StagingError
from tasks.time_window import MICROSECOND, Window

if TYPE_CHECKING:
    from collections.abc import Iterable

SUFFIX = ".parquet"
STAGES = ("raw", "normalized", "rejected", "deliveries")
"""The four trees of a staging."""

MARKS = ("part", "beside", "lost", "begin", "range")
"""What a raw file's name may say beside its window; see `RawFile`."""

END_OF_DAY = "240000000000"


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(name + re.escape(SUFFIX), re.ASCII)


_CLOCK = r"(?:(?:[01]\d|2[0-3])[0-5]\d[0-5]\d{7}|240000000000)"
_SPAN = rf"(?P<since>{_CLOCK})-(?P<until>{_CLOCK})"
_MARK = rf"(?:-(?P<mark>{'|'.join(MARKS)}))?"
_RAW = _pattern(rf"{_SPAN}-(?P<unique>[0-9a-f]{{8}})-(?P<rows>\d+){_MARK}")
_NORMALIZED = _pattern(
    rf"(?P<key>{_SPAN}-[0-9a-f]{{8}}-(?P<raw_rows>\d+){_MARK})-g(?P<generation>\d+)-(?P<rows>\d+)"
    r"(?:-x(?P<lost>\d+))?(?:(?P<unknown>u)|(?P<gone>-gone))?"
)
_EXTRACT = _pattern(r"extract-[0-9a-f]{8}-(?P<rows>\d+)")
_ATTEMPTS = _pattern(
    rf"(?P<at>\d{{8}}T\d{{12}})-[0-9a-f]{{8}}-{_SPAN}-(?P<rows>\d+)-(?P<delta>[+-]\d+)"
)
_SETTLED = _pattern(
    rf"settled-{_SPAN}-(?P<events>\d+)-(?P<total>\d+)-(?P<rows>\d+)"
    rf"-(?P<after>all|{_CLOCK})-(?P<delivered>\d+)-[0-9a-f]{{8}}"
)


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


def after(since: datetime | None, day: date) -> str:
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


def around(first: datetime, last: datetime) -> Window:
    """The smallest window that holds both times."""
    return Window(first, last + MICROSECOND)


@dataclass(frozen=True, slots=True)
class _Spanned:
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
class RawFile(_Spanned):
    """A window of raw events; of no rows where Halo had none.

    `mark` is empty where the window is covered. It is not where Halo has more of it than it
    shows, or than was held at once (`part`), nor where the listing of another window or a later
    look showed something of it (`beside`), nor where Halo has dropped it before it was read
    (`lost`), nor in the microsecond in which an account begins (`begin`) or a range of it that was
    extracted before its first sync (`range`), be that covered or could it not be read.
    """

    mark: str = ""

    @property
    def key(self) -> str:
        """What its normalized and rejected files' names begin with."""
        return self.name.removesuffix(SUFFIX)


@dataclass(frozen=True, slots=True)
class NormalizedFile(_Spanned):
    """What became of the raw file `key` when it was normalized the `generation`th time.

    `lost` counts the events that earlier generations had and the one after them had no more;
    `unknown` tells that the file has events of types the catalogue does not know. `gone` tells
    that the raw file was moved out of the staging: the file has no rows, and only counts `lost`.
    """

    key: str
    raw_rows: int
    generation: int
    lost: int
    unknown: bool
    gone: bool = False

    def without_raw(self) -> NormalizedFile:
        """What counts of it when its raw file is gone."""
        lost = self.lost + self.rows
        return replace(self, rows=0, lost=lost, unknown=False, gone=True)


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """Rejected events: `key` and `generation` are those of the normalized file beside it.

    A file of stage `extract` has no key and generation 0.
    """

    name: str
    rows: int
    key: str | None = None
    generation: int = 0


@dataclass(frozen=True, slots=True)
class AttemptsFile(_Spanned):
    """One row an attempt; `delta` is how many more events are delivered since."""

    at: str
    delta: int


@dataclass(frozen=True, slots=True)
class SettledNote:
    """Says without rows that `span` had nothing left to deliver, where sums don't show it.

    It holds as long as names tell `events` normalized events, `total` of them with those that
    once were, and `rows` attempts there, for a destination that takes events from `after` on
    (`all`: the whole span).
    """

    name: str
    span: str
    events: int
    total: int
    rows: int
    after: str
    delivered: int


def window_of(name: str, day: date) -> Window | None:
    """The window that a name of raw, normalized or rejected begins with; None where none does."""
    match = re.match(_SPAN, name, re.ASCII)
    if match is None or match["since"] >= match["until"]:
        return None
    return Window(moment(match["since"], day), moment(match["until"], day))


def partition(account: str, day: date, destination: str = "") -> str:
    """The folder of an account's day in its tree; for the ledger of a destination's."""
    ours = f"account={account}/date={day.isoformat()}"
    return f"destination={destination}/{ours}" if destination else ours


def _spanned(pattern: re.Pattern[str], name: str) -> re.Match[str] | None:
    """The match of a name that tells a window, which must not be empty or backward."""
    match = pattern.fullmatch(name)
    return match if match and match["since"] < match["until"] else None


def _foreign(name: str, stage: str, folder: str) -> StagingError:
    path = f"{stage}/{folder}/{name}" if folder else name
    return StagingError(
        f"{path!r} is no name of a {stage} file of this version; "
        "move it out of the staging, or use the version that wrote it"
    )


def raw_name(window: Window, rows: int, mark: str = "") -> str:
    """A new name for a raw file; see `RawFile` for its mark."""
    return f"{span(window)}-{unique()}-{rows}{'-' if mark else ''}{mark}{SUFFIX}"


def raw_files(names: Iterable[str], folder: str = "") -> list[RawFile]:
    """Raw files by their names, in order of their windows.

    Raises:
        StagingError: A name is not one of ours.
    """
    files = []
    for name in names:
        match = _spanned(_RAW, name)
        if match is None:
            raise _foreign(name, "raw", folder)
        mark = match["mark"] or ""
        files.append(RawFile(name, match["since"], match["until"], int(match["rows"]), mark))
    return sorted(files, key=lambda file: (file.since, file.until, file.name))


def normalized_name(
    key: str, generation: int, rows: int, *, lost: int, unknown: bool = False, gone: bool = False
) -> str:
    """The name of a normalized file."""
    losses = f"-x{lost}" if lost else ""
    return (
        f"{key}-g{generation}-{rows}{losses}{'u' if unknown else '-gone' if gone else ''}{SUFFIX}"
    )


def normalized_files(names: Iterable[str], folder: str = "") -> list[NormalizedFile]:
    """Normalized files by their names, every generation, in order of their windows.

    Raises:
        StagingError: A name is not one of ours.
    """
    files = []
    for name in names:
        match = _spanned(_NORMALIZED, name)
        if match is None:
            raise _foreign(name, "normalized", folder)
        files.append(
            NormalizedFile(
                name,
                match["since"],
                match["until"],
                int(match["rows"]),
                match["key"],
                int(match["raw_rows"]),
                int(match["generation"]),
                int(match["lost"] or 0),
                bool(match["unknown"]),
                bool(match["gone"]),
            )
        )
    return sorted(files, key=lambda file: (file.since, file.until, file.key, file.generation))


def rejected_name(key: str, generation: int, rows: int) -> str:
    """The name of a rejected file of stage transform."""
    return f"{key}-g{generation}-{rows}{SUFFIX}"


def extract_name(rows: int) -> str:
    """A new name for a rejected file of stage extract."""
    return f"extract-{unique()}-{rows}{SUFFIX}"


def rejected_files(names: Iterable[str], folder: str = "") -> list[RejectedFile]:
    """Rejected files by their names, of both stages and every generation.

    Raises:
        StagingError: A name is not one of ours.
    """
    files = []
    for name in sorted(names):
        if match := _EXTRACT.fullmatch(name):
            files.append(RejectedFile(name, int(match["rows"])))
        elif match := _spanned(_NORMALIZED, name):
            rows, generation = int(match["rows"]), int(match["generation"])
            files.append(RejectedFile(name, rows, match["key"], generation))
        else:
            raise _foreign(name, "rejected", folder)
    return files


def attempts_name(attempted_at: datetime, window: Window, rows: int, delta: int) -> str:
    """A new name for a ledger file whose events lie within `window`."""
    stamp = attempted_at.strftime("%Y%m%dT%H%M%S%f")
    return f"{stamp}-{unique()}-{span(window)}-{rows}-{delta:+d}{SUFFIX}"


def settled_name(
    span_text: str, events: int, total: int, rows: int, *, after: str, delivered: int
) -> str:
    """A new name for a note in the ledger; see `SettledNote`."""
    return f"settled-{span_text}-{events}-{total}-{rows}-{after}-{delivered}-{unique()}{SUFFIX}"


def deliveries_files(
    names: Iterable[str], folder: str = ""
) -> tuple[list[AttemptsFile], list[SettledNote]]:
    """A day's ledger by its names: attempts in the order they were made, and notes.

    Raises:
        StagingError: A name is not one of ours.
    """
    attempts, notes = [], []
    for name in sorted(names):
        if match := _spanned(_ATTEMPTS, name):
            attempts.append(
                AttemptsFile(
                    name,
                    match["since"],
                    match["until"],
                    int(match["rows"]),
                    match["at"],
                    int(match["delta"]),
                )
            )
        elif match := _spanned(_SETTLED, name):
            events, total, rows = (int(match[group]) for group in ("events", "total", "rows"))
            delivered = int(match["delivered"])
            span_text = f"{match['since']}-{match['until']}"
            notes.append(
                SettledNote(name, span_text, events, total, rows, match["after"], delivered)
            )
        else:
            raise _foreign(name, "deliveries", folder)
    return attempts, notes
