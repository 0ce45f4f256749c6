"""What names say of a day in sums, for a report that goes through years of days.

Where each raw file with rows was normalized once and all of it, as nearly always, the sums are read
off all names of a day at a time. The files of any other day are sorted out one by one
(`tasks.staging.normalized`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.staging import file_names, normalized
from tasks.staging.clock_spans import merge_spans
from tasks.staging.segments import first_generation_rows, surely_delivered
from tasks.time_window import Window

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date

    from tasks.event_filter import EventFilter
    from tasks.staging.file_names import NormalizedFile, RawParts
    from tasks.staging.normalized import DayFiles
    from tasks.staging.store import Store

_WITH_UNKNOWN = f"u{file_names.SUFFIX}"


@dataclass(frozen=True)
class DaySums:
    """An account's day by names.

    Attributes:
        covered: The time that raw covers.
        read: The time from the first to the last reading, done or not; None where there was none.
        ranges: Whether a range that was extracted before the first sync begins in it.
        staged: Raw events.
        normalized: Normalized events.
        rejected: Rejected events, of both stages.
        current: Names of the normalized files that count.
        unknown: Those of them that have events of unknown types.
        files: Its files, where they had to be sorted out.
    """

    covered: list[Window]
    read: Window | None
    ranges: bool
    staged: int
    normalized: int
    rejected: int
    current: Sequence[str]
    unknown: Sequence[str]
    files: DayFiles | None = None

    def current_files(self, account: str, day: date) -> Collection[NormalizedFile]:
        """The normalized files that count."""
        if self.files:
            return self.files.current.values()
        return file_names.normalized_files(self.current, file_names.partition(account, day))

    def delivered(self, day: date, deliveries: Sequence[str], takes: EventFilter) -> int | None:
        """How many events are delivered, where names show that nothing is left to deliver.

        Args:
            day: The day.
            deliveries: Names of the destination's ledger files.
            takes: What the destination takes.
        """
        if self.files is None:
            return surely_delivered(day, self.current, deliveries, takes, self.normalized)
        if self.files.orphans:  # sums would count their events, too
            return None
        return surely_delivered(day, self.current, deliveries, takes)


def account_sums(store: Store, account: str) -> dict[date, DaySums]:
    """Every day of an account, oldest first. No file is opened.

    Raises:
        StagingError: A name is not one of ours.
    """
    found = {}
    for day, names in normalized.listed(store, account):
        raw, rows, rejected = names
        parts = file_names.raw_parts(raw, file_names.partition(account, day))
        time = _time(parts, day)
        count = first_generation_rows(rows)
        replacing = len(parts) > 1 and any(part[3] for part in parts)
        if count is None or replacing or rejected or not normalized.plainly_done(raw, rows):
            found[day] = _sorted_out(normalized.sorted_out(store, account, day, names), time)
        else:
            staged = sum([int(part[2]) for part in parts])
            unknown = [name for name in rows if name.endswith(_WITH_UNKNOWN)]
            found[day] = DaySums(*time, staged, count, 0, rows, unknown)
    return found


def _time(parts: list[RawParts], day: date) -> tuple[list[Window], Window | None, bool]:
    """What of a day's time is covered, from when to when it was read, and `DaySums.ranges`."""
    covered = merge_spans([part[:2] for part in parts if not part[4]], day)
    marks = {part[4] for part in parts}
    if marks <= {""}:
        read = Window(covered[0].since, covered[-1].until) if covered else None
        return covered, read, False
    spans = [(since, until) for since, until, _, _, mark, _ in parts if mark != "beside"]
    if not spans:
        return covered, None, False
    first, last = spans[0][0], max(until for _, until in spans)
    read = Window(file_names.moment(first, day), file_names.moment(last, day))
    return covered, read, "range" in marks


def _sorted_out(files: DayFiles, time: tuple[list[Window], Window | None, bool]) -> DaySums:
    current = files.current.values()
    return DaySums(
        *time,
        sum(file.rows for file in files.raw),
        sum(file.rows for file in current),
        sum(file.rows for file in (*files.rejected, *files.malformed)),
        [file.name for file in current],
        [file.name for file in current if file.unknown],
        files,
    )
