"""What an extraction did, and its problems, warnings and notes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tasks.plurals import counted
from tasks.results import StageResult
from tasks.time_window import describe_windows, isoformat

if TYPE_CHECKING:
    from datetime import datetime

    from tasks.extract.plan import Plan
    from tasks.staging.coverage import Coverage
    from tasks.staging.known_ids import KnownIds
    from tasks.time_window import Window


class FailedWindow(NamedTuple):
    """A window that is not covered, and why; no reason where the account as a whole failed."""

    window: Window
    reason: str
    lost: bool = False


@dataclass(frozen=True)
class Gap:
    """A range that was wanted and could not be read, and why; times are ISO 8601."""

    since: str
    until: str
    reason: str
    lost: bool = False


@dataclass
class ExtractResult(StageResult):
    """What one extraction of one account did.

    Attributes:
        windows: Windows that were read completely and staged.
        new: Events staged.
        known: Events read that were staged before.
        malformed: Events without id or date that were put into rejected.
        redated: Events listed with another `created_at` than they are staged with.
        gaps: What was wanted and could not be read.
    """

    DONE = "extracted"

    windows: int = 0
    new: int = 0
    known: int = 0
    malformed: int = 0
    redated: int = 0
    gaps: list[Gap] = field(default_factory=list)


def warn_of_events(result: ExtractResult, ids: KnownIds) -> None:
    """Warn of unusual events among those that were read."""
    account = f"account {result.subject}"
    if result.malformed:
        result.warnings.append(
            f"{account}: {counted(result.malformed, 'event has', 'events have')} no id or no date: "
            "in rejected/ with the reason"
        )
    if result.redated:
        result.warnings.append(
            f"{account}: {counted(result.redated, 'event was', 'events were')} listed with another "
            "created_at than is staged; the first one counts, and nothing is staged again"
        )
    if ids.unreadable:
        result.warnings.append(
            f"{account}: {counted(len(ids.unreadable), 'raw file')} cannot be read; an "
            f"event in them that is listed with another created_at would be staged again: "
            f"{ids.unreadable[0]}"
        )


def report_failures(result: ExtractResult, failed: list[FailedWindow]) -> None:
    """Add what failed to the gaps, and a problem for each reason."""
    reasons: dict[tuple[str, bool], list[Window]] = {}
    for window, reason, is_lost in failed:
        since, until = isoformat(window.since), isoformat(window.until)
        result.gaps.append(Gap(since, until, reason or "not read any more", is_lost))
        if reason:
            reasons.setdefault((reason, is_lost), []).append(window)
    for (reason, is_lost), windows in reasons.items():
        ranges = describe_windows(windows)
        remedy = "status shows it" if is_lost else "a gap, which the next sync tries to fill"
        result.problems.append(f"account {result.subject}: {ranges}: {reason}; {remedy}")


def note_late_start(account: str, start: datetime, known: Coverage) -> str | None:
    """A note that the configured start no longer changes anything; None where it does."""
    if known.begin is None or not known.synced or start >= known.begin:
        return None
    since, until = isoformat(start), isoformat(known.begin)
    return (
        f"account {account}: it begins at {until}, so HALO_START or --starting, {since}, changes "
        "nothing: it is for an account's first sync; what is before is read with "
        f"`halo-usm extract --since {since} --until {until}`"
    )


def why_nothing(result: ExtractResult, plan: Plan, window: Window | None) -> list[str]:
    """Why nothing new was staged, where no other note and no interruption tells."""
    if result.interrupted or (result.notes and not plan.ranges):
        return []
    where = " in the range" if window else ""
    why = f"every event that Halo shows{where} is staged already"
    if not plan.ranges:
        why = "the range is still to come" if window else "all is read up to now"
    elif not result.known:
        why = f"Halo shows no event{where}" if window else "Halo shows no new event"
    return [f"account {result.subject}: nothing to do: {why}"]
