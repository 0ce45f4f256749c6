"""Which of a range's time was read from Halo."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from tasks.staging.coverage import read_coverage
from tasks.time_window import Window, difference, subtract, union

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.staging.store import Store


@dataclass(frozen=True)
class AccountCoverage:
    """Which time of a range was read for an account. Together the windows are the range.

    Attributes:
        account: Its name.
        covered: What raw covers.
        gaps: What is not covered between the first and the last reading.
        lost: What Halo had dropped before it was read; not in `gaps`.
        outside: What lies before the first or after the last reading.
        dropped: What was covered, and retention has dropped; not in `gaps`.
    """

    account: str
    covered: list[Window]
    gaps: list[Window]
    lost: list[Window]
    outside: list[Window]
    dropped: list[Window] = field(default_factory=list)


def account_coverage(
    store: Store, account: str, window: Window, unread: Window | None
) -> AccountCoverage:
    """Which time of a window was read for an account, from names alone.

    Args:
        store: The staging.
        account: The account.
        window: The range.
        unread: What a first sync reads of an account that is set up.

    Raises:
        StagingError: A name is not one of ours.
    """
    found = read_coverage(store, account)
    read = [*found.covered, *found.lost, *found.dropped]
    if unread is not None and not found.synced:
        read.append(unread)
    known = []
    if read:
        begins = [part.since for part in read] + ([found.begin] if found.begin else [])
        known = [Window(min(begins), max(part.until for part in read))]
    covered = _within(window, found.covered)
    outside = difference(window, known)
    lost = subtract(_within(window, found.lost), covered)
    dropped = _within(window, found.dropped)
    gaps = difference(window, [*covered, *lost, *dropped, *outside])
    return AccountCoverage(account, covered, gaps, lost, outside, dropped)


def total(windows: Iterable[Window]) -> timedelta:
    """How long some windows are together."""
    return sum((window.duration for window in windows), timedelta())


def _within(window: Window, parts: Iterable[Window]) -> list[Window]:
    return union(
        Window(max(part.since, window.since), min(part.until, window.until))
        for part in parts
        if part.overlaps(window)
    )
