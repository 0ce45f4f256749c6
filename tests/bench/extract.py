"""Extraction beside its peers: the vendor's SDK, one page after another, and wrk; and its memory.

All read the same events from the same stand-in, a process of its own. Ours and wrk have the best of
some rounds, in turn: what else the machine does hits both alike. The slow peers have one round.
"""

from __future__ import annotations

import gc
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import cloudpassage
import httpx

from flows.cli.startup import OBJECTS_A_COLLECTION
from sandbox.halo_api import HaloStandIn
from tasks.accounts import Account, read_accounts
from tasks.extract.account import extract_account
from tasks.settings import Settings
from tasks.staging.names.file_names import raw_files
from tasks.staging.store import open_store
from tests.bench import Measured
from tests.flows.command import command_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVENTS = 100_000
CONCURRENCY = 32
LATENCY_MS = 50
PER_PAGE = 100
DAYS = 3
ROUNDS = 3
SERIAL_EVENTS = 5_000
"""One page after another takes two minutes for all: its rate is that of the first so many."""
WRK_SECONDS = 3

EXTRACT = "extract of one account, login to staged in Parquet and synced"
SDK = "the vendor's SDK, TimeSeries, to Python objects in memory"

MANY = 1_000_000
_MIB = 1024


@dataclass
class Api:
    """The stand-in's one account.

    Attributes:
        end: No event was created later.
    """

    url: str
    account: Account
    end: datetime

    @property
    def since(self) -> datetime:
        """Before the first event."""
        return self.end - timedelta(days=DAYS, minutes=1)

    def login(self, client: httpx.Client) -> dict[str, str]:
        """Log in; the header that goes with every request."""
        key = (self.account.key_id, self.account.secret.get_secret_value())
        url = f"{self.url}/oauth/access_token?grant_type=client_credentials"
        token = client.post(url, auth=key).raise_for_status().json()["access_token"]
        return {"Authorization": f"Bearer {token}"}

    def page(self, number: int) -> str:
        """The URL of a page of all events."""
        query = {
            "since": f"{self.since:%Y-%m-%dT%H:%M:%SZ}",
            "until": f"{self.end:%Y-%m-%dT%H:%M:%SZ}",
            "sort_by": "created_at.asc",
            "per_page": PER_PAGE,
            "page": number,
        }
        return f"{self.url}/v1/events?{urlencode(query)}"


def measure() -> Iterator[Measured]:
    """Yield each figure and ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # first, and this part before others: a child's peak is no less than this process's own
        yield _memory(folder)
        with HaloStandIn.spawn(accounts=1, events=EVENTS, days=DAYS) as halo:
            (account,) = read_accounts(halo.write_auth(folder / "auth"))
            api = Api(halo.url, account, datetime.now(UTC))
            halo.switch(latency_ms=LATENCY_MS)
            yield from _with_latency(api, folder)
            halo.switch(latency_ms=0)
            yield from _without_latency(api, folder)


def _with_latency(api: Api, folder: Path) -> Iterator[Measured]:
    note = f"{LATENCY_MS} ms a request"
    ours, wrk = 0.0, 0.0
    for _ in range(ROUNDS):
        wrk = max(wrk, _wrk(api))
        ours = max(ours, _rate(lambda: _ours(api, folder)))
    sdk = _rate(lambda: deque(read_time_series(api, EVENTS), maxlen=0))
    serial = _rate(lambda: _one_after_another(api), SERIAL_EVENTS)
    yield Measured(EXTRACT, ours, None, "events/s", f"{note}, {CONCURRENCY} in flight")
    yield Measured(SDK, sdk, None, "events/s", note)
    yield Measured("one page after another, a login a page", serial, None, "events/s", note)
    yield Measured(
        "wrk, one page over and over, read and thrown away",
        wrk or math.nan,
        None,
        "events/s",
        f"{note}, {CONCURRENCY} connections" if wrk else "not there, and so not measured",
    )
    yield Measured(EXTRACT, ours / sdk, 6, "times TimeSeries", note)
    yield Measured(EXTRACT, ours / serial, 50, "times one by one", note)
    if wrk:
        yield Measured(EXTRACT, ours / wrk, 0.8, "times wrk", note)


def _without_latency(api: Api, folder: Path) -> Iterator[Measured]:
    note = "0 ms a request"
    ours = max(_rate(lambda: _ours(api, folder)) for _ in range(ROUNDS))
    sdk = _rate(lambda: deque(read_time_series(api, EVENTS), maxlen=0))
    yield Measured(EXTRACT, ours, None, "events/s", note)
    yield Measured(SDK, sdk, None, "events/s", note)
    yield Measured(EXTRACT, ours / sdk, 3, "times TimeSeries", note)


def _rate(run: Callable[[], Any], events: int = EVENTS) -> float:
    started = time.perf_counter()
    run()
    return events / (time.perf_counter() - started)


def _ours(api: Api, folder: Path) -> None:
    """All events into a new staging."""
    given: dict[str, Any] = {"halo_api_url": api.url, "halo_concurrency": CONCURRENCY}
    settings = Settings(**given, halo_start=api.since)
    gc.set_threshold(OBJECTS_A_COLLECTION)  # as in a command
    with tempfile.TemporaryDirectory(dir=folder) as staging:
        result = extract_account(open_store(staging), api.account, settings, run_id="bench")
    if result.new != EVENTS or result.problems:
        raise AssertionError(f"staged {result.new} of {EVENTS} events; {result.problems}")


class _PlainSession(cloudpassage.HaloSession):  # type: ignore[misc]
    """The SDK's session, over the plain HTTP of the stand-in."""

    def build_endpoint_prefix(self) -> str:
        return f"http://{self.api_host}:{self.api_port}"


def read_time_series(api: Api, count: int) -> Iterator[dict[str, Any]]:
    """The first events by the vendor's SDK, once each."""
    url = httpx.URL(api.url)
    session = _PlainSession(
        api.account.key_id,
        api.account.secret.get_secret_value(),
        api_host=url.host,
        api_port=url.port,
    )
    start = f"{api.since:%Y-%m-%dT%H:%M:%SZ}"
    series = cloudpassage.TimeSeries(session, start, "/v1/events", "events", params={})
    seen: set[str] = set()
    for event in series:
        if event["id"] not in seen:
            seen.add(event["id"])
            yield event
        if len(seen) == count:
            series.stop = True
            return


def _one_after_another(api: Api) -> None:
    """The first events as the old connector reads them: a session and a login for each page."""
    read = 0
    for number in range(1, SERIAL_EVENTS // PER_PAGE + 1):
        with httpx.Client() as client:
            page = client.get(api.page(number), headers=api.login(client)).raise_for_status()
            read += len(page.json()["events"])
    if read != SERIAL_EVENTS:
        raise AssertionError(f"read {read} of {SERIAL_EVENTS} events")


def _wrk(api: Api) -> float:
    """Events a second of a client that asks for one page over and over; 0 where it is missing."""
    if shutil.which("wrk") is None:
        return 0.0
    with httpx.Client() as client:
        header = api.login(client)["Authorization"]
    load = ["-t1", f"-c{CONCURRENCY}", f"-d{WRK_SECONDS}"]
    command = ["wrk", *load, "-H", f"Authorization: {header}"]
    done = subprocess.run([*command, api.page(7)], capture_output=True, text=True, check=True)
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None or "Non-2xx" in done.stdout:
        raise AssertionError(done.stdout)
    return float(found[1]) * PER_PAGE


def _memory(folder: Path) -> Measured:
    """The whole command's peak, for a range that is ten times as deep."""
    with HaloStandIn.spawn(accounts=1, events=MANY, days=DAYS) as halo:
        end = datetime.now(UTC)
        halo_usm = command_for(folder, halo, "udp://localhost:514")
        halo_usm.settings["HALO_CONCURRENCY"] = str(CONCURRENCY)
        since = (end - timedelta(days=DAYS, minutes=1)).isoformat()
        command = [sys.executable, "-m", "flows", "extract", "--since", since]
        process = subprocess.Popen(command, env=halo_usm.environment, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    files = open_store(halo_usm.settings["HALO_STAGING"]).files("raw", "alpha")
    staged = sum(file.rows for file in raw_files(files))
    if process.returncode or staged != MANY:
        raise AssertionError(f"exit code {process.returncode}, {staged} of {MANY} events staged")
    peak = usage.ru_maxrss / _MIB
    name = f"memory of an extract of {MANY:,} events"
    return Measured(name, peak, 600, "MiB", f"{len(files)} files", at_most=True)
