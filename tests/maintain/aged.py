"""A staging of some days, and the maintenance that drops the old ones."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tasks.maintain.account import MaintainResult, maintain_account
from tasks.maintain.retention import Rules
from tests.staging.staged_data import DAY, at, normalized, stage, transform, window
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from tasks.staging.store import Store

DAYS = 5
KEPT = 2
"""Days that are staged whole, and how many of them are kept."""
NOW = at(0, DAYS)


def age(store: Store, each: int = 3, account: str = "alpha") -> list[str]:
    """Stage and normalize days with events in two files, covered whole; the ids of all events."""
    ids = []
    for day in range(DAYS):
        ids += normalized(store, each, day=day, account=account)
        stage(store, window(0, 24, day), account=account)
        ids.append(f"{account}-{day}-late")
        stage(store, window(0, 24, day), [(ids[-1], at(2 / 60, day))], account)
    transform(store, account)
    return ids


def maintain(store: Store, *urls: str, **options: Any) -> MaintainResult:
    """Maintain the account alpha at the end of these days; `days` is how many are kept."""
    rules = Rules(
        options.pop("days", KEPT),
        options.pop("ledger_days", 400),
        options.pop("drop_undelivered", False),
    )
    given = {"run_id": "maintain", "now": NOW, "grace": 0.0, **options}
    account = given.pop("account", "alpha")
    return maintain_account(store, account, [destination(url) for url in urls], rules, **given)


def iso(day: int) -> str:
    """The beginning of a day, as status shows it."""
    return f"{DAY + timedelta(days=day):%Y-%m-%dT%H:%M:%SZ}"
