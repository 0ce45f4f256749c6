"""What names say of each day of an account, for a report that goes through years of days.

Nearly always, each raw file with rows was normalized once and completely: the sums are then read
from all names of a day at once. The files of any other day are sorted out one by one
(`tasks.staging.day_files`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.staging import day_files
from tasks.staging.coverage import day_coverage
from tasks.staging.names import file_names
from tasks.staging.names.segments import first_generation_rows, surely_delivered

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date

    from tasks.event_filter import EventFilter
    from tasks.staging.coverage import DayCoverage
    from tasks.staging.day_files import DayFiles
    from tasks.staging.names.file_names import NormalizedFile
    from tasks.staging.store import Store

_WITH_UNKNOWN = f"u{file_names.SUFFIX}"


@dataclass(frozen=True)
class DayByNames:
    """An account's day by names.

    Attributes:
        time: What raw tells of its time.
        staged: Raw events.
        normalized: Normalized events.
        rejected: Rejected events, of both stages.
        current: Names of the normalized files that count.
        unknown: Those of them that have events of unknown types.
        files: Its files, where they had to be sorted out.
    """

    time: DayCoverage
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
        if self.files.orphans or self.files.dropped:  # sums would count events that are gone, too
            return None
        return surely_delivered(day, self.current, deliveries, takes)


def days_by_names(store: Store, account: str) -> dict[date, DayByNames]:
    """Every day of an account, oldest first. No file is opened.

    Raises:
        StagingError: A name is not one of ours.
    """
    found = {}
    for day, dropped, names in day_files.list_days(store, account):
        raw, normalized, rejected = names
        parts = file_names.raw_parts(raw, file_names.partition(account, day))
        time = day_coverage(parts, day)
        count = first_generation_rows(normalized)
        replacing = len(parts) > 1 and any(compaction for _, _, _, compaction, _, _ in parts)
        if count is None or replacing or rejected or not day_files.plainly_done(raw, normalized):
            state = day_files.day_from_listing(store, account, day, names, dropped=dropped)
            found[day] = _from_files(state, time)
        else:
            staged = sum([int(rows) for _, _, rows, _, _, _ in parts])
            unknown = [name for name in normalized if name.endswith(_WITH_UNKNOWN)]
            found[day] = DayByNames(time, staged, count, 0, normalized, unknown)
    return found


def _from_files(files: DayFiles, time: DayCoverage) -> DayByNames:
    current = files.current.values()
    return DayByNames(
        time,
        sum(file.rows for file in files.raw),
        sum(file.rows for file in current),
        sum(file.rows for file in (*files.rejected, *files.malformed)),
        [file.name for file in current],
        [file.name for file in current if file.unknown],
        files,
    )
