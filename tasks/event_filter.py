"""Which events a destination takes, by its options `since=`, `types=` and `critical=`.

They say what is delivered, never what is staged. What they leave out is counted as `excluded`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.time_window import isoformat

if TYPE_CHECKING:
    from datetime import datetime

_TYPES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a destination takes; all of the conditions must hold.

    Attributes:
        since: Only events created at this time or later; None for all.
        types: Only events of these types, as Halo spells them; empty for all.
        critical: Only critical events.
    """

    since: datetime | None = None
    types: frozenset[str] = frozenset()
    critical: bool = False

    @property
    def by_content(self) -> str:
        """The options that ask for more than an event's time, in one form; empty for none."""
        types = [f"types={','.join(sorted(self.types))}"] if self.types else []
        return "&".join([*types, *(["critical=true"] if self.critical else [])])

    def __str__(self) -> str:
        """Its options, for people; a long list of types is cut."""
        named = sorted(self.types)
        if len(named) > _TYPES_SHOWN:
            named[_TYPES_SHOWN:] = [f"… ({len(named)} types)"]
        since = [f"since={isoformat(self.since)}"] if self.since is not None else []
        types = [f"types={','.join(named)}"] if named else []
        return " and ".join([*since, *types, *(["critical=true"] if self.critical else [])])


EVERYTHING = EventFilter()
"""Of a destination that leaves nothing out."""
