"""What `status` and `audit` say to people; machines take the JSON."""

from __future__ import annotations

from functools import partial
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tasks.redaction import foreign_text

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


def _minute(moment: str | None) -> str:
    return moment[:16].replace("T", " ") if moment else ""


def show_status(answer: dict[str, Any]) -> None:
    """Print `status`: a table of accounts, one of destinations, and what needs attention."""
    console = _console()
    accounts = _table("account", "staged", "normalized", "rejected", "covered until", "newest")
    for name, account in sorted(answer["accounts"].items()):
        covered = account["covered"]
        accounts.add_row(
            foreign_text(name),
            *(f"{account[key]:,}" for key in ("staged", "normalized", "rejected")),
            _minute(covered[-1][1] if covered else None),
            _minute(account["newest_event"]),
        )
    console.print(accounts if answer["accounts"] else "nothing is staged yet")
    destinations = _table(
        "destination", "account", "delivered", "pending", "failed", "oldest pending"
    )
    for name, destination in sorted(answer["destinations"].items()):
        for account, row in [("all", destination), *sorted(destination["accounts"].items())]:
            destinations.add_row(
                foreign_text(name) if account == "all" else "",
                foreign_text(account),
                *(f"{row[key]:,}" for key in ("delivered", "pending", "failed")),
                _minute(row["oldest_pending"]),
            )
    if answer["destinations"]:
        console.print(destinations)
    for name, account in sorted(answer["accounts"].items()):
        if account["covered"]:
            console.print(
                f"{foreign_text(name)} is covered from {account['covered'][0][0]}",
            )
        for since, until in account["gaps"]:
            console.print(
                f"{foreign_text(name)} has a gap from {since} to {until}: the next sync fills it, "
                "or tells why it cannot"
            )
    for kind, count in sorted(answer["unknown_types"].items()):
        console.print(
            f"{count:,} events of type '{foreign_text(kind)}': the catalogue does not know it, so "
            "they went out with signature id 999"
        )


def show_event(answer: dict[str, Any]) -> None:
    """Print `audit --event`: the life of one event, in order."""
    console = _console()
    if not answer["account"]:
        return
    console.print(
        f"event {foreign_text(answer['event_id'])} of account {foreign_text(answer['account'])}",
        soft_wrap=True,
    )
    for stage in ("staged", "normalized", "rejected"):
        if answer[stage]:
            console.print(f"  {stage}: {_facts(answer[stage])}", soft_wrap=True)
    for row in answer["deliveries"]:
        rest = {
            name: value
            for name, value in row.items()
            if value is not None and name not in {"event_id", "created_at", "status"}
        }
        console.print(f"  {foreign_text(row['status'])}: {_facts(rest)}", soft_wrap=True)
    if not answer["deliveries"]:
        console.print("  not sent to any destination yet")


def _facts(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {foreign_text(value, _LONGEST)}" for name, value in row.items())


def show_range(answer: dict[str, Any]) -> None:
    """Print `audit --since --until`: the counts, and whether they add up."""
    console = _console()
    console.print(
        f"staged {answer['staged']:,} = normalized {answer['normalized']:,} "
        f"+ rejected {answer['rejected']:,}"
    )
    table = _table("destination", "delivered", "pending", "failed")
    for name, row in sorted(answer["destinations"].items()):
        table.add_row(
            foreign_text(name), *(f"{row[key]:,}" for key in ("delivered", "pending", "failed"))
        )
    if answer["destinations"]:
        console.print(table)
    if answer["consistent"]:
        console.print("It adds up.")
    else:
        console.print("It does not add up.", style="bold")
