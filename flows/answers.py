"""What `status` and `audit` say to people; machines take the JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def show_status(answer: dict[str, Any]) -> None:
    """Print `status`: a table of accounts, one of destinations, and what needs attention."""
    console = Console(highlight=False)
    accounts = Table("account", "covered", "gaps", "staged", "normalized", "rejected", "newest")
    for name, account in sorted(answer["accounts"].items()):
        accounts.add_row(
            name,
            "\n".join(f"{since} … {until}" for since, until in account["covered"]) or "nothing",
            "\n".join(f"{since} … {until}" for since, until in account["gaps"]) or "none",
            *(f"{account[key]:,}" for key in ("staged", "normalized", "rejected")),
            account["newest_event"] or "",
        )
    console.print(accounts)
    destinations = Table(
        "destination", "account", "delivered", "pending", "failed", "oldest pending"
    )
    for name, destination in sorted(answer["destinations"].items()):
        for account, row in [("all", destination), *sorted(destination["accounts"].items())]:
            destinations.add_row(
                name if account == "all" else "",
                account,
                *(f"{row[key]:,}" for key in ("delivered", "pending", "failed")),
                row["oldest_pending"] or "",
            )
    if answer["destinations"]:
        console.print(destinations)
    for kind, count in sorted(answer["unknown_types"].items()):
        console.print(
            f"{count:,} events of type {kind!r}: the catalogue does not know it, so they went "
            "out with signature id 999",
            markup=False,
        )


def show_event(answer: dict[str, Any]) -> None:
    """Print `audit --event`: the life of one event, in order."""
    console = Console(highlight=False, markup=False)
    if not answer["staged"] and not answer["rejected"]:
        console.print(f"event {answer['event_id']}: not in this staging")
        return
    console.print(f"event {answer['event_id']} of account {answer['account']}")
    for stage in ("staged", "normalized", "rejected"):
        if answer[stage]:
            facts = ", ".join(f"{name} {value}" for name, value in answer[stage].items())
            console.print(f"  {stage}: {facts}", soft_wrap=True)
    for row in answer["deliveries"]:
        facts = ", ".join(
            f"{name} {value}"
            for name, value in row.items()
            if value is not None and name not in {"event_id", "created_at", "status"}
        )
        console.print(f"  {row['status']}: {facts}", soft_wrap=True)
    if not answer["deliveries"]:
        console.print("  not sent to any destination yet")


def show_range(answer: dict[str, Any]) -> None:
    """Print `audit --since --until`: the counts, and whether they add up."""
    console = Console(highlight=False)
    console.print(
        f"staged {answer['staged']:,} = normalized {answer['normalized']:,} "
        f"+ rejected {answer['rejected']:,}"
    )
    table = Table("destination", "delivered", "pending", "failed")
    for name, row in sorted(answer["destinations"].items()):
        table.add_row(name, *(f"{row[key]:,}" for key in ("delivered", "pending", "failed")))
    if answer["destinations"]:
        console.print(table)
    console.print("It adds up." if answer["consistent"] else "[bold]It does not add up.[/]")
