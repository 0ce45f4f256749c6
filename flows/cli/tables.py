"""What `status` and `audit` say to people; machines take the JSON."""

from __future__ import annotations

import json
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from flows.cli.execution import DONE, FAILED
from flows.cli.output import warn
from tasks.plurals import counted
from tasks.redaction import foreign_text
from tasks.reports.answer import Answer, as_json
from tasks.time_window import isoformat, to_the_minute

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.reports.audit import RangeAudit
    from tasks.reports.event_history import EventHistory, Row
    from tasks.reports.status import Status
    from tasks.reports.verification import Verification

A = TypeVar("A", bound=Answer)

_WIDTH_OF_A_FILE = 160
_LONGEST = 2000
"""Characters that are shown of a value of an event; the JSON has all."""


def _console() -> Console:
    """Standard output, text as it stands; where it is no terminal, wide enough for a table."""
    plain = partial(Console, highlight=False, markup=False, emoji=False)
    console = plain()
    return console if console.is_terminal else plain(width=_WIDTH_OF_A_FILE)


def _table(*columns: str) -> Table:
    return Table(*columns, box=SIMPLE_HEAD, pad_edge=False)


def show_answer(answer: A, show: Callable[[A], None] | None) -> int:
    """Show an answer to people, or print it as JSON, exact and in printable ASCII.

    Returns:
        The exit code: whether something is wrong or unknown.
    """
    if show is not None:
        show(answer)
    else:
        print(json.dumps(answer, indent=2, default=as_json).replace("\x7f", "\\u007f"))
    for note in answer.notes:
        warn(f"note: {note}")
    for problem in answer.problems:
        warn(f"error: {problem}")
    return FAILED if answer.problems else DONE


def show_status(answer: Status) -> None:
    """Print `status`: a table of accounts, one of destinations, and what needs attention."""
    console = _console()
    accounts = _table("account", "staged", "normalized", "rejected", "covered until", "newest")
    for name, account in sorted(answer.accounts.items()):
        accounts.add_row(
            foreign_text(name),
            *(f"{n:,}" for n in (account.staged, account.normalized, account.rejected)),
            to_the_minute(account.covered_until),
            to_the_minute(account.newest_event),
        )
    console.print(accounts if answer.accounts else "nothing is staged yet")
    destinations = _table(
        "destination", "account", "delivered", "pending", "failed", "excluded", "oldest pending"
    )
    for name, destination in sorted(answer.destinations.items()):
        for whose, row in [("all", destination), *sorted(destination.accounts.items())]:
            destinations.add_row(
                foreign_text(name) if row is destination else "",
                foreign_text(whose),
                *(f"{n:,}" for n in (row.delivered, row.pending, row.failed, row.excluded)),
                to_the_minute(row.oldest_pending),
            )
    if answer.destinations:
        console.print(destinations)
    for name, account in sorted(answer.accounts.items()):
        if account.covered:
            console.print(
                f"{foreign_text(name)} is covered from {isoformat(account.covered[0].since)}",
            )
        for part in account.dropped:
            console.print(
                f"{foreign_text(name)}: retention dropped the days from {isoformat(part.since)} to "
                f"{isoformat(part.until)}"
            )
        for gap in account.gaps:
            console.print(
                f"{foreign_text(name)} has a gap from {isoformat(gap.since)} to "
                f"{isoformat(gap.until)}: the next sync fills it, or tells why it cannot"
            )
    for kind, count in sorted(answer.unknown_types.items()):
        console.print(
            f"{counted(count, 'event')} of type '{foreign_text(kind)}': the catalogue does not "
            "know it, so its signature id is 999"
        )


def show_metrics(answer: Status) -> None:
    """Print `status` as OpenMetrics text."""
    from tasks.reports.metrics import metrics

    print(metrics(answer), end="")


def show_event(answer: EventHistory) -> None:
    """Print `audit --event`: the life of one event, in order."""
    console = _console()
    if not answer.account:
        return
    console.print(
        f"event {foreign_text(answer.event_id)} of account {foreign_text(answer.account)}",
        soft_wrap=True,
    )
    for stage in ("staged", "normalized", "rejected"):
        if row := getattr(answer, stage):
            console.print(f"  {stage}: {_facts(row)}", soft_wrap=True)
    for row in answer.deliveries:
        rest = {
            name: value
            for name, value in row.items()
            if value is not None and name not in {"event_id", "created_at", "status"}
        }
        console.print(f"  {foreign_text(row['status'])}: {_facts(rest)}", soft_wrap=True)
    if not answer.deliveries:
        console.print("  not sent to any destination yet")


def _facts(row: Row) -> str:
    return ", ".join(f"{name} {_fact(value)}" for name, value in row.items())


def _fact(value: object) -> str:
    return foreign_text(isoformat(value) if isinstance(value, datetime) else value, _LONGEST)


def show_range(answer: RangeAudit) -> None:
    """Print `audit --since --until`: the counts, and whether they add up."""
    console = _console()
    console.print(
        f"staged {answer.staged:,} = normalized {answer.normalized:,} "
        f"+ rejected {answer.rejected:,}"
    )
    table = _table("destination", "delivered", "pending", "failed", "excluded")
    for name, row in sorted(answer.destinations.items()):
        table.add_row(
            foreign_text(name),
            *(f"{n:,}" for n in (row.delivered, row.pending, row.failed, row.excluded)),
        )
    if answer.destinations:
        console.print(table)
    if answer.dropped_days:
        console.print(
            "Days of the range that are no longer staged, for retention dropped them: "
            f"{answer.dropped_days:,}. What is there:"
        )
    if answer.consistent and not answer.staged:
        console.print("No event of this range is staged; `halo-usm status` tells what was read.")
    elif answer.consistent:
        console.print("It adds up.")
    else:
        console.print("It does not add up.", style="bold")


def show_verification(answer: Verification) -> None:
    """Print `audit --verify`: what was verified of each account, and whether all agrees."""
    console = _console()
    table = _table("account", "seals", "signatures", "days", "files", "lines")
    for name, counts in sorted(answer.accounts.items()):
        row = (counts.seals, counts.signatures, counts.days, counts.files, counts.lines)
        table.add_row(foreign_text(name), *(f"{n:,}" for n in row))
    console.print(table)
    for name, counts in sorted(answer.accounts.items()):
        if newest := counts.newest:
            console.print(
                f"{foreign_text(name)}: the newest seal is number {newest.number:,}, of "
                f"{newest.day}, its SHA-256 {newest.sha256}",
                soft_wrap=True,
            )
    console.print("All agrees." if answer.verified else "Something does not agree.")
