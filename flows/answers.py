"""What `status` and `audit` say to people; machines take the JSON."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_WIDTH_OF_A_FILE = 160


def _console() -> Console:
    """Standard output; where it is no terminal, wide enough not to cut a table."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_OF_A_FILE)


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
            name,
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
                name if account == "all" else "",
                account,
                *(f"{row[key]:,}" for key in ("delivered", "pending", "failed")),
                _minute(row["oldest_pending"]),
            )
    if answer["destinations"]:
        console.print(destinations)
    for name, account in sorted(answer["accounts"].items()):
        if account["covered"]:
            console.print(f"{name} is covered from {account['covered'][0][0]}", markup=False)
        for since, until in account["gaps"]:
            console.print(
                f"{name} has a gap from {since} to {until}: the next sync fills it, or tells why "
                "it cannot",
                markup=False,
            )
    for kind, count in sorted(answer["unknown_types"].items()):
        console.print(
            f"{count:,} events of type {kind!r}: the catalogue does not know it, so they went "
            "out with signature id 999",
            markup=False,
        )


def show_event(answer: dict[str, Any]) -> None:
    """Print `audit --event`: the life of one event, in order."""
    console = _console()
    if not answer["account"]:
        return
    console.print(f"event {answer['event_id']} of account {answer['account']}", markup=False)
    for stage in ("staged", "normalized", "rejected"):
        if answer[stage]:
            facts = ", ".join(f"{name} {value}" for name, value in answer[stage].items())
            console.print(f"  {stage}: {facts}", soft_wrap=True, markup=False)
    for row in answer["deliveries"]:
        facts = ", ".join(
            f"{name} {value}"
            for name, value in row.items()
            if value is not None and name not in {"event_id", "created_at", "status"}
        )
        console.print(f"  {row['status']}: {facts}", soft_wrap=True, markup=False)
    if not answer["deliveries"]:
        console.print("  not sent to any destination yet")


def show_range(answer: dict[str, Any]) -> None:
    """Print `audit --since --until`: the counts, and whether they add up."""
    console = _console()
    console.print(
        f"staged {answer['staged']:,} = normalized {answer['normalized']:,} "
        f"+ rejected {answer['rejected']:,}"
    )
    table = _table("destination", "delivered", "pending", "failed")
    for name, row in sorted(answer["destinations"].items()):
        table.add_row(name, *(f"{row[key]:,}" for key in ("delivered", "pending", "failed")))
    if answer["destinations"]:
        console.print(table)
    console.print("It adds up." if answer["consistent"] else "[bold]It does not add up.[/]")
