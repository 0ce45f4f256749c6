"""Whether a day has anything left to deliver, and noting that it has nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.staging.deliveries.pending import count_segment
from tasks.staging.names.segments import join, surely_settled

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from tasks.event_filter import EventFilter
    from tasks.staging.deliveries.ledger import Ledger
    from tasks.staging.names.file_names import NormalizedFile
    from tasks.staging.names.segments import Segment


def count_pending(
    ledger: Ledger, current: Collection[NormalizedFile], names: Sequence[str], takes: EventFilter
) -> int:
    """How many events of a day a destination is still to get.

    Raises:
        FileGone: A file was replaced since the names were listed.
        StagingError: A file cannot be read.
    """
    if surely_settled(ledger.day, [file.name for file in current], names, takes):
        return 0
    segments = ledger.segments(current, names, takes)
    return sum(
        count_segment(ledger, segment, oldest=False).pending
        for segment in segments
        if not segment.settled
    )


def settle(ledger: Ledger, segments: Iterable[Segment]) -> int:
    """How many events a destination is still to get; noted where sums don't show that none is.

    Args:
        ledger: The destination's ledger of the account and day; its destination is locked.
        segments: The day's, as they are now.

    Raises:
        FileGone: A file was replaced since the names were listed.
        StagingError: A file cannot be read, or the note cannot be written.
    """
    left = 0
    run: list[tuple[Segment, int]] = []  # settled ones that follow each other, with delivered
    for segment in segments:
        if segment.left_out:
            continue
        if segment.takes_all and segment.sums_tell:
            pending, delivered = segment.total - segment.delivered, segment.delivered
        else:
            counts = count_segment(ledger, segment, oldest=False)
            pending, delivered = counts.pending, counts.delivered
        left += pending
        if pending:
            _note(ledger, run)
            run = []
        else:
            run.append((segment, delivered))
    _note(ledger, run)
    return left


def _note(ledger: Ledger, run: list[tuple[Segment, int]]) -> None:
    """Note that some segments are settled, where neither their sums nor one note show it."""
    segments = [segment for segment, _ in run]
    by_sums = all(segment.settled and segment.note is None for segment in segments)
    if by_sums or (len(run) == 1 and segments[0].note is not None):
        return
    ledger.note_settled(join(segments), sum(delivered for _, delivered in run))
