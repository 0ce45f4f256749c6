from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sandbox.halo_api import HaloStandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
TOKEN = "/oauth/access_token"
ASC = {"sort_by": "created_at.asc"}


@dataclass
class Caller:
    """Talks to a stand-in over HTTP, as one account."""

    http: httpx.Client
    key: tuple[str, str]
    headers: dict[str, str]

    def log_in(self) -> None:
        """Take a new token."""
        answer = self.http.post(TOKEN, params={"grant_type": "client_credentials"}, auth=self.key)
        answer.raise_for_status()
        self.headers["authorization"] = f"Bearer {answer.json()['access_token']}"

    def get(self, **params: Any) -> httpx.Response:
        """`GET /v1/events`."""
        return self.http.get("/v1/events", params=params, headers=self.headers)

    def ids(self, **params: Any) -> list[str]:
        """The ids of one page."""
        answer = self.get(**params)
        assert answer.status_code == 200, answer.text
        return [event["id"] for event in answer.json()["events"]]


@pytest.fixture(scope="session")
def _running() -> Iterator[HaloStandIn]:
    with HaloStandIn(["alpha", "beta"]) as stand_in:
        yield stand_in


@pytest.fixture
def halo(_running: HaloStandIn) -> HaloStandIn:
    """A stand-in as new, with two accounts."""
    _running.renew()
    return _running


@pytest.fixture
def connect() -> Iterator[Callable[..., Caller]]:
    """Logs in to a stand-in as one of its accounts, `alpha` by default."""
    with ExitStack() as stack:

        def make(stand_in: HaloStandIn, account: str = "alpha") -> Caller:
            http = httpx.Client(base_url=stand_in.url, verify=False, timeout=5, trust_env=False)
            caller = Caller(stack.enter_context(http), stand_in[account].key, {})
            caller.log_in()
            return caller

        yield make


@pytest.fixture
def caller(halo: HaloStandIn, connect: Callable[..., Caller]) -> Caller:
    """The account `alpha`, logged in."""
    return connect(halo)


def events(n: int, *, start: datetime = NOON, step: float = 1, name: str = "e") -> list[Any]:
    """So many events, `step` seconds apart, with ids that sort as their times do."""
    return [
        {
            "id": f"{name}{at:04}",
            "type": ("a_type", "b_type", "c_type")[at % 3],
            "created_at": (start + timedelta(seconds=step * at)).strftime("%FT%T.%fZ"),
            "critical": at % 2 == 0,
            "server_id": f"s{at % 4}",
            "server_group_id": f"g{at % 5}",
            "server_platform": "Windows" if at % 3 else "Linux",
        }
        for at in range(n)
    ]
