"""What a replay would send, as a table: for a terminal, for a log, for the state of a flow run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.load.replay_plan import PlannedDay, ReplayPlan

_HEAD = ("destination", "account", "day", "events", "left out")


def plan_table(plan: ReplayPlan) -> str:
    """A line a destination, account and day, then totals; plain text of one width.

    `left out` counts what is not sent because of the destination's own options.
    """
    names = list(dict.fromkeys(day.destination for day in plan.days))
    rows = [_HEAD]
    for name in names:
        days = [day for day in plan.days if day.destination == name]
        rows += [
            (name, day.account, day.day.isoformat(), f"{day.asked:,}", f"{day.excluded:,}")
            for day in days
        ]
        rows.append((name, "all", "all", *_total(days)))
    if len(names) != 1:
        rows.append(("all", "all", "all", *_total(plan.days)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        cells += [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join(cells))
    return "\n".join([*lines, "", "A dry run: nothing was sent."])


def _total(days: Sequence[PlannedDay]) -> tuple[str, str]:
    asked, excluded = sum(day.asked for day in days), sum(day.excluded for day in days)
    return f"{asked:,}", f"{excluded:,}"
