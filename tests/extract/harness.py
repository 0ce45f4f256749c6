"""A staging beside a Halo API stand-in, and what extraction makes of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds

from tasks.accounts import Account, read_accounts
from tasks.extract.account import extract_account
from tasks.retry_policy import RetryPolicy
from tasks.settings import Settings
from tasks.staging.coverage import read_coverage
from tasks.staging.store import open_store
from tasks.time_window import Window

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.halo_api import HaloStandIn
    from tasks.extract.result import ExtractResult

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
START = NOW - timedelta(days=3)
COVERED = [Window(START, NOW)]
MINUTE = timedelta(minutes=1)
QUICK = RetryPolicy(total=10, attempt=5, connect=5, read=2, first_pause=0.01, longest_pause=0.05)
"""For what passes."""
BRIEF = RetryPolicy(total=0.4, attempt=5, connect=5, read=2, first_pause=0.01, longest_pause=0.1)
"""For what does not."""


def event(number: int, created_at: datetime, **fields: Any) -> dict[str, Any]:
    """A plain event, the same for the same arguments."""
    return {
        "id": f"{number:032x}",
        "created_at": created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": f"type_{number % 7}",
        "name": f"Event {number}",
        "critical": number % 5 == 0,
    } | fields


def events(count: int, since: datetime, until: datetime, first: int = 0) -> list[dict[str, Any]]:
    """So many plain events, evenly over a range."""
    return [event(first + at, since + (until - since) * at / count) for at in range(count)]


class Harness:
    """One user's machine: settings, keys, a staging.

    Args:
        halo: The API; this machine's clock agrees with its.
        folder: An empty folder.
        settings: Any of `Settings`, by name.
    """

    def __init__(self, halo: HaloStandIn, folder: Path, **settings: Any) -> None:
        self.halo = halo
        self.folder = folder
        self.store = open_store(str(folder / "data"))
        given: dict[str, Any] = {"halo_api_url": halo.url, "halo_start": START}
        self.settings = Settings(**given | settings)

    def account(self, name: str = "alpha") -> Account:
        """An account with its newest key."""
        accounts = read_accounts(self.halo.write_auth(self.folder / "haloEvents.auth"))
        return next(account for account in accounts if account.name == name)

    def sync(
        self, name: str = "alpha", *, lookback: int | None = None, **given: Any
    ) -> ExtractResult:
        """Extract what a sync would, or what the arguments of `extract_account` say."""
        settings = self.settings
        if lookback is not None:
            settings = settings.model_copy(update={"halo_lookback_minutes": lookback})
        arguments: dict[str, Any] = {"run_id": "run", "retry_policy": QUICK}
        arguments |= {"clock": self.halo.clock.now} | given
        # given one, nothing is written: syncs at the same time don't share a file half written
        account = arguments.pop("account", None) or self.account(name)
        return extract_account(self.store, account, settings, **arguments)

    def raw(self, name: str = "alpha") -> list[dict[str, Any]]:
        """The rows of raw, in no order."""
        return self._rows("raw", name)

    def rejected(self, name: str = "alpha") -> list[dict[str, Any]]:
        """The rows of rejected, in no order."""
        return self._rows("rejected", name)

    def files(self, name: str = "alpha") -> list[str]:
        """The names of raw's files."""
        return self.store.files("raw", name)

    def coverage(self, name: str = "alpha") -> list[Window]:
        """What raw covers."""
        return read_coverage(self.store, name).covered

    def assert_exact(self, name: str = "alpha") -> None:
        """Raw has every event that the API lists, once, no value changed."""
        rows = self.raw(name)
        staged = {row["event_id"]: row["event"] for row in rows}
        assert len(staged) == len(rows), "an event was staged twice"
        listed = {_id(body): body.decode() for body in self.halo[name].visible()}
        assert len(staged) == len(listed)
        assert staged == listed

    def _rows(self, stage: str, name: str) -> list[dict[str, Any]]:
        folder = self.folder / "data" / stage / f"account={name}"
        if not folder.exists():
            return []
        rows: list[dict[str, Any]] = ds.dataset(folder, partitioning="hive").to_table().to_pylist()
        return rows


def _id(body: bytes) -> str:
    """The id of an event, which may be JSON that nothing decodes."""
    found = re.search(rb'"id": ?"([^"]+)"', body)
    assert found, body
    return found[1].decode()
