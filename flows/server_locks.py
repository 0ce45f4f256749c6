"""Locks kept by the Prefect server, for a staging whose own place has none: object storage.

Prefect's concurrency limits are not used for it. A slot whose holder was killed while the server
restarted stays taken for ever, and every later run would be cancelled without a failure.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import VariableCreate
from prefect.exceptions import ObjectAlreadyExists

from tasks.errors import StagingError
from tasks.staging.files import in_use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect.client.orchestration import SyncPrefectClient

_GONE = 404


@dataclass(frozen=True)
class ServerLocks:
    """Takes a lock by creating a variable of the server, whose name can exist only once.

    The variable's id is its holder's alone, so nobody renews or removes another's. A lock lapses
    when it was not renewed for `lease`, by the server's clock: a killed holder stops nobody for
    longer. A holder that cannot renew its lock ends its run in order before that time.

    Attributes:
        staging: What the locks are for: stagings do not share them.
        stop: Set when a lock was lost.
        lease: After how many seconds without renewal a lock lapses.
    """

    staging: str
    stop: threading.Event
    lease: float = 300.0

    @contextmanager
    def __call__(self, owner: str) -> Iterator[None]:
        """Hold the lock `owner`, such as `account=alpha`, for the body.

        Raises:
            InUseError: Another run holds it.
            StagingError: The server gives no lock, or did not let it be renewed in time.
        """
        with get_client(sync_client=True) as client:
            try:
                variable = self._take(client, owner)
            except httpx.HTTPError as fault:
                raise StagingError(
                    f"the Prefect server gives no lock for {owner} ({fault}); nothing else keeps "
                    "two runs on object storage apart: see PREFECT_API_URL, and run again"
                ) from fault
            done, lost = threading.Event(), threading.Event()
            renewal = threading.Thread(
                target=self._renew, args=(client, variable, done, lost), daemon=True
            )
            renewal.start()
            try:
                yield
            finally:
                done.set()
                renewal.join()
                self._release(client, variable)
        if lost.is_set():
            raise StagingError(
                f"the lock {owner} on the Prefect server could not be renewed for "
                f"{self.lease:.0f} s; this run ended early, the next one goes on where it was"
            )

    def _take(self, client: SyncPrefectClient, owner: str) -> str:
        digest = sha256(f"{self.staging} {owner}".encode()).hexdigest()
        wanted = VariableCreate(
            name=f"halo_usm_lock_{digest[:32]}",
            value={"staging": self.staging, "lock": owner},
            tags=["halo-usm"],
        )
        try:
            return str(client.create_variable(wanted).id)
        except ObjectAlreadyExists:
            self._remove_lapsed(client, wanted.name, owner)
        try:
            return str(client.create_variable(wanted).id)
        except ObjectAlreadyExists:
            raise in_use(owner) from None

    def _remove_lapsed(self, client: SyncPrefectClient, name: str, owner: str) -> None:
        try:
            answer = client.request("GET", "/variables/name/{name}", path_params={"name": name})
        except httpx.HTTPStatusError as fault:
            if fault.response.status_code == _GONE:
                return
            raise
        held: dict[str, Any] = answer.json()
        renewed = datetime.fromisoformat(held["updated"])
        now = parsedate_to_datetime(answer.headers["Date"]).astimezone(UTC)
        if now - renewed <= timedelta(seconds=self.lease):
            raise in_use(owner)
        self._release(client, held["id"])

    def _renew(
        self,
        client: SyncPrefectClient,
        variable: str,
        done: threading.Event,
        lost: threading.Event,
    ) -> None:
        renewed = time.monotonic()
        while not done.wait(self.lease / 10):
            try:
                client.request(
                    "PATCH",
                    "/variables/{id}",
                    path_params={"id": variable},
                    json={"tags": ["halo-usm"]},
                )
                renewed = time.monotonic()
            except httpx.HTTPError as fault:
                gone = (
                    isinstance(fault, httpx.HTTPStatusError) and fault.response.status_code == _GONE
                )
                if gone or time.monotonic() - renewed > self.lease / 2:
                    lost.set()
                    self.stop.set()
                    return

    def _release(self, client: SyncPrefectClient, variable: str) -> None:
        """Remove a lock; one that cannot be removed lapses."""
        try:
            client.request("DELETE", "/variables/{id}", path_params={"id": variable})
        except httpx.HTTPError:
            return
