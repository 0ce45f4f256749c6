"""The days that a maintenance leaves as they are, and why: a sentence for each reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

GAP = "there is a gap, which the next sync fills or marks as lost"
NOT_NORMALIZED = "not all is normalized; `halo-usm transform` does that"
ORPHANS = "raw files were moved out; `halo-usm transform` drops what came of them"
REPLACED = "files that a compaction has replaced are still there; the next maintenance removes them"
REPLACED_MEANWHILE = "files were replaced meanwhile"
NOT_COMPACTED = "not all is covered, normalized, delivered and compacted"
NOT_SEALED = "sealing comes first, and failed"
NO_DESTINATION = (
    "USM_SENSOR is not set, so that nothing tells what is delivered; set it, or say "
    "--drop-undelivered"
)


class LeftDays:
    """The days that are left as they are, by reason."""

    def __init__(self) -> None:
        self._by_reason: dict[str, set[date]] = {}

    def add(self, day: date, reason: str) -> None:
        """Note why a day is left."""
        self._by_reason.setdefault(reason, set()).add(day)

    def notes(self, account: str, what: str) -> Iterator[str]:
        """A sentence for each reason: which days are `what`, such as `not compacted`, and why."""
        for reason, days in self._by_reason.items():
            first, last = min(days), max(days)
            are = (
                f"{first} is"
                if len(days) == 1
                else f"{len(days):,} days from {first} to {last} are"
            )
            yield f"account {account}: {are} {what}: {reason}"
