"""The days that retention keeps although they are older than what is kept, and why."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tasks.plurals import counted
from tasks.staging.dropped import span_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import date

GAP = "there is a gap, which the next sync fills or marks as lost"
NOT_NORMALIZED = "not all is normalized; `halo-usm transform` does it"
ORPHANS = "raw files were moved out; `halo-usm transform` drops what came of them"
REPLACED = "files that a compaction has replaced are still there; the next maintenance removes them"
UNSEALED = "they are not sealed yet"
UNKNOWN = (
    "USM_SENSOR is not set, so that nothing tells what is delivered; set it, or say "
    "--drop-undelivered"
)


class KeptDays:
    """The days that are kept, by reason; those with undelivered events by destination."""

    def __init__(self) -> None:
        self._by_reason: dict[str, list[date]] = {}
        self._undelivered: dict[str, dict[date, int]] = {}

    def add(self, day: date, reason: str) -> None:
        """Note why a day is kept."""
        self._by_reason.setdefault(reason, []).append(day)

    def add_undelivered(self, day: date, pending: Mapping[str, int]) -> None:
        """Note how many events of a day each destination has not got."""
        for destination, count in pending.items():
            self._undelivered.setdefault(destination, {})[day] = count

    def notes(self, account: str) -> Iterator[str]:
        """A sentence a reason and destination: which days, why, what to do."""
        for reason, days in self._by_reason.items():
            yield f"{_kept(account, days)}: {reason}"
        for name, counts in self._undelivered.items():
            since = max(counts) + timedelta(days=1)
            yield (
                f"{_kept(account, counts)}: destination {name} has not got "
                f"{sum(counts.values()):,} of their events; deliver them (`halo-usm load`), or "
                f"leave them out (since={since} in its URL), or say --drop-undelivered"
            )


def _kept(account: str, days: Collection[date]) -> str:
    return f"account {account}: {counted(len(days), 'day is', 'days are')} kept, {span_of(days)}"
