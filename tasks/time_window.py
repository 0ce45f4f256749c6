"""Time windows: half-open ranges of UTC time, with union and difference for planning.

Everything that is fetched, staged or replayed is a window `since <= t < until`. A window in a
file's name lies within one UTC day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Self

from tasks.errors import SettingsError
from tasks.redaction import foreign_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MICROSECOND = timedelta(microseconds=1)
"""The smallest window: times in Parquet and Halo are no finer."""
_MOST_DESCRIBED = 3


@dataclass(frozen=True, order=True, slots=True)
class Window:
    """The half-open range `[since, until)`, both aware and in UTC.

    Raises:
        ValueError: The range is empty or backward, or a bound is not in UTC.
    """

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        if self.since.utcoffset() != timedelta(0) or self.until.utcoffset() != timedelta(0):
            raise ValueError(f"window bounds are in UTC, not {self.since} to {self.until}")
        if self.since >= self.until:
            raise ValueError(f"window {self} is empty or backward")

    def __str__(self) -> str:
        return f"[{isoformat(self.since)}, {isoformat(self.until)})"

    @classmethod
    def of_day(cls, day: date) -> Self:
        """The whole UTC day."""
        start = datetime.combine(day, time(), UTC)
        return cls(start, start + timedelta(days=1))

    @classmethod
    def around(cls, first: datetime, last: datetime) -> Self:
        """The smallest window that holds both times."""
        return cls(first, last + MICROSECOND)

    @property
    def duration(self) -> timedelta:
        """Its length in time."""
        return self.until - self.since

    @property
    def day(self) -> date:
        """The UTC date of its start: the `date=` folder of what it stages."""
        return self.since.date()

    def __contains__(self, moment: datetime) -> bool:
        return self.since <= moment < self.until

    def overlaps(self, other: Window) -> bool:
        """Whether a moment lies in both."""
        return self.since < other.until and other.since < self.until

    def reaches(self, day: date) -> bool:
        """Whether a moment of a UTC day lies in it."""
        return self.since.date() <= day <= (self.until - MICROSECOND).date()

    def days(self) -> Iterator[Window]:
        """The window split at each UTC midnight inside it, in order of time."""
        since = self.since
        while since.date() < self.until.date():
            until = Window.of_day(since.date()).until
            yield Window(since, until)
            since = until
        if since < self.until:
            yield Window(since, self.until)

    def count_days(self) -> int:
        """How many windows `days` yields."""
        return ((self.until - MICROSECOND).date() - self.since.date()).days + 1

    def split(self, count: int) -> list[Window]:
        """At most `count` windows of about equal length, none shorter than a microsecond."""
        count = max(1, min(count, self.duration // MICROSECOND))
        cuts = [self.since + self.duration * index // count for index in range(count)]
        return [
            Window(since, until) for since, until in zip(cuts, [*cuts[1:], self.until], strict=True)
        ]


def union(windows: Iterable[Window]) -> list[Window]:
    """The windows, those that overlap or touch merged into one; sorted."""
    merged: list[Window] = []
    for window in sorted(windows):
        if merged and window.since <= merged[-1].until:
            last = merged[-1]
            merged[-1] = Window(last.since, max(last.until, window.until))
        else:
            merged.append(window)
    return merged


def difference(wanted: Window, covered: Iterable[Window]) -> list[Window]:
    """The parts of `wanted` that no window of `covered` contains; sorted."""
    missing, since = [], wanted.since
    for window in union(covered):
        if window.until <= since:
            continue
        if window.since >= wanted.until:
            break
        if window.since > since:
            missing.append(Window(since, window.since))
        since = max(since, window.until)
    if since < wanted.until:
        missing.append(Window(since, wanted.until))
    return missing


def subtract(windows: Iterable[Window], taken: Iterable[Window]) -> list[Window]:
    """The parts of some windows that no window of `taken` contains, window by window."""
    merged = union(taken)
    return [piece for window in windows for piece in difference(window, merged)]


def parse_time(text: str, name: str = "time") -> datetime:
    """An ISO 8601 time in UTC, which it is without an offset; a bare date is its 00:00.

    Raises:
        SettingsError: The text is no ISO 8601 time; the message names the setting `name`.
    """
    try:
        return as_utc(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        raise SettingsError(
            f"{name}: '{foreign_text(text)}' is no ISO 8601 time; "
            "write one such as 2026-03-01 or 2026-03-01T12:30:00Z"
        ) from None


def as_utc(moment: datetime) -> datetime:
    """A time in UTC, which it is without an offset.

    Raises:
        OverflowError: In UTC it lies before year 1 or after year 9999.
    """
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def isoformat(moment: datetime) -> str:
    """A UTC time as Halo writes it: microseconds where there are any, and `Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def to_the_minute(moment: datetime | None) -> str:
    """A UTC time for a table, such as `2026-03-01 12:30`; empty for None."""
    return isoformat(moment)[:16].replace("T", " ") if moment else ""


def describe_windows(windows: Iterable[Window]) -> str:
    """The time of some windows, for a message: its first ranges, and how many more there are."""
    ranges = union(windows)
    more = len(ranges) - _MOST_DESCRIBED
    shown = ", ".join(map(str, ranges[:_MOST_DESCRIBED]))
    return f"{shown} and {more} more" if more > 0 else shown
