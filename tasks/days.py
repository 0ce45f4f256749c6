"""The days that may hold something to deliver, and how much of each is left, by names first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tasks.staging.files import FileGone
from tasks.staging.ledger import Ledger
from tasks.staging.normalized import current_files
from tasks.staging.segments import surely_settled
from tasks.staging.survey import states, survey
from tasks.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.choice import Choice
    from tasks.staging.layout import NormalizedFile
    from tasks.staging.store import Store

T = TypeVar("T")

_LOOKS = 5


@dataclass
class Day:
    """An account's day that may hold something to deliver: what was there at the beginning.

    Attributes:
        ledger: The destination's ledger of it.
        normalized: Its normalized files that count.
        events: How many there may be to deliver, by names.
        begun: When its delivery began (datetime64[us]); None before.
        told: Whether it is said already that it cannot be delivered.
    """

    ledger: Ledger
    normalized: list[NormalizedFile]
    events: int
    begun: Any = None
    told: bool = False

    def __str__(self) -> str:
        return f"{self.ledger.account}, {self.ledger.day}"

    def steadily(self, work: Callable[[], T]) -> T:
        """Do something with the day's files, again where one was replaced meanwhile."""
        for _ in range(_LOOKS):
            try:
                return work()
            except FileGone:
                ledger = self.ledger
                self.normalized = current_files(ledger.store, ledger.account, ledger.day)
        return work()

    def left(self, choice: Choice) -> int:
        """How many events are still to be delivered; noted where sums don't show that none is.

        Raises:
            FileGone: A file was replaced meanwhile.
            StagingError: A file cannot be read, or the note cannot be written.
        """
        ledger = self.ledger
        left = 0
        for segment in ledger.segments(self.normalized, ledger.names(), choice.since):
            if segment.settled or (choice.only == "failed" and segment.untouched):
                continue
            if choice.window is not None:
                for _, file in choice.files([segment], ledger.day):
                    left += sum(choice.left(*look) for look in states(ledger, segment, file))
            elif segment.sums_tell:
                left += segment.total - segment.counted
            else:
                counts = survey(ledger, segment, choice.since)
                left += counts.pending
                if not counts.pending:
                    ledger.note_settled(segment, counts.delivered)
        return left


def days_of(store: Store, destination: str, account: str, choice: Choice) -> Iterator[Day]:
    """An account's days that may have something to deliver to a destination, by names.

    Raises:
        StagingError: A name is not one of ours.
    """
    deliveries = store.tree("deliveries", account, destination)
    for day, names in store.tree("normalized", account).items():
        if choice.since is not None and day < choice.since.date():
            continue
        if choice.window is not None and not choice.window.overlaps(Window.of_day(day)):
            continue
        in_ledger = deliveries.get(day, ())
        if choice.only != "all" and surely_settled(names, in_ledger):
            continue
        ledger = Ledger(store, destination, account, day)
        normalized = current_files(store, account, day, names)
        segments = ledger.segments(normalized, in_ledger, choice.since)
        if files := list(choice.files(segments, day)):
            rows = sum(file.rows for _, file in files)
            sent = sum(part.counted for part in {part.since: part for part, _ in files}.values())
            yield Day(ledger, normalized, rows if choice.only == "all" else max(rows - sent, 0))
