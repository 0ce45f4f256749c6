"""Which days are compacted, and why others are left: by names alone where these tell enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.maintain.left_days import GAP, NOT_NORMALIZED
from tasks.staging.names import file_names
from tasks.staging.names.compacted_names import MERGED, highest
from tasks.staging.raw import covered_by
from tasks.time_window import Window

if TYPE_CHECKING:
    from datetime import date, datetime

    from tasks.staging.day_files import DayFiles
    from tasks.staging.names.file_names import NormalizedFile, RawFile
    from tasks.staging.names.rejected_file_names import RejectedFile


@dataclass(frozen=True)
class DayPlan:
    """The files of an account's day that are merged, into one of each kind.

    Attributes:
        day: The day.
        window: What the compacted raw file covers.
        number: The number of this compaction.
        raw: The raw files that it replaces, those without rows too.
        normalized: The normalized files that count for these.
        rejected: The rejected files of stage transform that do.
        malformed: The day's rejected files of stage extract, which have nothing to do with these.
        obstacle: Why nothing can be merged; empty where nothing stands in the way.
    """

    day: date
    window: Window
    number: int
    raw: list[RawFile]
    normalized: list[NormalizedFile]
    rejected: list[RejectedFile]
    malformed: list[RejectedFile]
    obstacle: str = ""

    @property
    def of_events(self) -> bool:
        """Whether raw, normalized and rejected are to be merged; not where no event is."""
        several = max(len(self.raw), len(self.normalized), len(self.rejected)) > 1
        return several and any(file.rows for file in self.raw)

    @property
    def of_malformed(self) -> bool:
        """Whether the malformed events are to be merged."""
        return len(self.malformed) > 1

    @property
    def worth_it(self) -> bool:
        """Whether anything is to be merged."""
        return self.of_events or self.of_malformed


def plan_day(day: date, state: DayFiles, begin: datetime | None) -> DayPlan:
    """Which files of a day are to be merged; `begin` is where its account begins."""
    covered = _covered(day, state.raw, begin)
    window = covered or Window.of_day(day)
    since, until = file_names.span(window).split("-")

    def ours(file: RawFile | NormalizedFile | RejectedFile) -> bool:
        return file.mark in MERGED and since <= file.since and file.until <= until

    obstacle = ""
    if covered is None and any(file.mark in MERGED for file in state.raw):
        obstacle = GAP
    elif state.waiting or any(not file.compacted for file in state.orphans):
        obstacle = NOT_NORMALIZED
    return DayPlan(
        day,
        window,
        # what is gone may have a higher number than any raw file
        1 + highest([*state.raw, *state.current.values(), *state.rejected]),
        [file for file in state.raw if ours(file)],
        [file for file in state.current.values() if ours(file)],
        [file for file in state.rejected if ours(file)],
        state.malformed,
        obstacle,
    )


def _covered(day: date, raw: list[RawFile], begin: datetime | None) -> Window | None:
    """What is covered up to a day's end, if all before is lost or older than the account."""
    whole = Window.of_day(day)
    covered = covered_by(raw, day)
    if len(covered) != 1 or covered[0].until != whole.until:
        return None
    lost = {window.until for window in covered_by(raw, day, "lost")}
    return covered[0] if covered[0].since in {whole.since, begin, *lost} else None
