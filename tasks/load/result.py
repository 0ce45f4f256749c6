"""What a load or replay did, and how it is said."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.results import StageResult
from tasks.time_window import isoformat

if TYPE_CHECKING:
    from datetime import datetime


@dataclass
class LoadResult(StageResult):
    """What a load did for one destination.

    Attributes:
        asked: Events that were to be delivered, of what was there at the start.
        tried: Events that were sent.
        delivered: Events that were delivered.
        failed: Events that were tried and not delivered.
        not_tried: Events that were not sent: the load ended early, or they are put off.
        batches: Attempts made.
        certificate_until: Until when the receiver's certificate is valid; None without TLS, and
            where nothing was sent.
        rest: What a replay did not try; None where it tried all.
    """

    DONE = "loaded"

    asked: int = 0
    tried: int = 0
    delivered: int = 0
    failed: int = 0
    not_tried: int = 0
    batches: int = 0
    certificate_until: datetime | None = None
    rest: Rest | None = None

    @property
    def pending(self) -> int:
        """Events that stay to be delivered."""
        return self.failed + self.not_tried

    def reason(self) -> str:
        """Why events stay to be delivered."""
        why = "; ".join(self.problems)
        return why or f"destination {self.subject}: the run was asked to end"

    def counts(self) -> dict[str, int]:
        """Its counts by name; where all was delivered, that one number says it."""
        counts = super().counts()
        if not self.pending:
            counts = {name: counts[name] for name in ("delivered", "batches") if name in counts}
        return counts


@dataclass
class ReplayResult(LoadResult):
    """What a replay did for one destination; `not_tried` may be delivered from earlier on."""

    DONE = "replayed"

    def counts(self) -> dict[str, int]:
        """What was asked for and its outcome, zeros too; empty where nothing was asked for."""
        if not self.asked:
            return {}
        names = ("asked", "tried", "delivered", "failed", "not_tried", "batches")
        return {name.replace("_", " "): getattr(self, name) for name in names}


@dataclass(frozen=True)
class Rest:
    """What of a replay was not tried.

    Attributes:
        first: When the first of these events was created.
        until: Where the range ends.
        only: Which events of it were asked for.
        repeated: How many events that were delivered just now are sent again by a replay that
            goes on from there.
        options: Further options of the command.
    """

    first: datetime
    until: datetime
    only: str
    repeated: int
    options: str

    def command(self, destination: str) -> str:
        """The command that goes on."""
        return (
            f"halo-usm replay --since {isoformat(self.first)} --until {isoformat(self.until)} "
            f"--only {self.only} --destination {shlex.quote(destination)}{self.options}"
        )


def pending_after_load(result: LoadResult, *, complete: bool) -> str:
    """What stays pending after a load, and why; `complete` where it did not end early."""
    one = result.pending == 1
    stay = _count(result.pending, "stays pending", "stay pending")
    if complete and not result.problems:
        return (
            f"destination {result.subject}: {stay}: put off, for {'it' if one else 'each'} failed "
            "alone in at least three runs while others were delivered right before and right after "
            "it, as `halo-usm audit --event` tells; loads try it again after an hour, later after "
            "a day, and `halo-usm replay` at once"
        )
    if result.not_tried:
        stay += f", {result.not_tried:,} of them {'put off' if complete else 'not tried'}"
    return f"{result.reason()}; {stay}; a later load sends {'it' if one else 'them'}"


def undelivered_by_replay(result: LoadResult) -> str:
    """What a replay was asked for and did not deliver, why, and the command that goes on."""
    asked = _count(result.asked, "was asked for", "were asked for")
    counts = (("tried", result.tried), ("delivered", result.delivered), ("failed", result.failed))
    outcome = ", ".join(f"{count:,} {name}" for name, count in counts)
    parts = [result.reason(), f"{asked}: {outcome}, {result.not_tried:,} not tried"]
    if result.rest is not None:
        command = f"go on with `{result.rest.command(result.subject)}`"
        if result.rest.repeated:
            again = _count(result.rest.repeated, "that was", "that were")
            command += f", which sends {again} delivered just now once more"
        parts.append(command)
    if result.failed:
        parts.append("a later load sends what failed")
    return "; ".join(parts)


def _count(count: int, one: str, many: str) -> str:
    return f"1 event {one}" if count == 1 else f"{count:,} events {many}"
