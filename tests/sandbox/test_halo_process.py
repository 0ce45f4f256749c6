from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from sandbox.halo_api import HaloStandIn, StandInProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def spawned() -> Iterator[StandInProcess]:
    """A stand-in in a child process."""
    with HaloStandIn.spawn(accounts=2, events=500, days=1, latency_ms=1, max_page=None) as process:
        yield process


def _listing(process: StandInProcess, http: httpx.Client) -> httpx.Response:
    key, secret, _ = process.auth.splitlines()[0].split("|")
    grant = {"grant_type": "client_credentials"}
    token = http.post("/oauth/access_token", params=grant, auth=(key, secret)).json()
    headers = {"authorization": f"Bearer {token['access_token']}"}
    return http.get("/v1/events", headers=headers)


def test_spawned(spawned: StandInProcess, tmp_path: Path) -> None:
    """The child process serves generated events, tells its counters, and takes switches."""
    with httpx.Client(base_url=spawned.url, verify=False, trust_env=False) as http:
        answer = _listing(spawned, http)
        assert answer.json()["count"] == 250
        assert spawned.stats()["accounts"]["alpha"]["pages"] == 1
        spawned.reset_counters()
        assert spawned.stats()["requests"] == 0
        assert spawned.switch(count=False, next_origin="http://x.example")["max_page"] is None
        assert "count" not in _listing(spawned, http).json()
        before = spawned.switch(retention_days=0.5)["retention_days"]
        spawned.advance(timedelta(days=1))
        assert before == 0.5
        assert _listing(spawned, http).json()["events"] == []
    assert spawned.write_auth(tmp_path / "auth").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "auth").read_text().count("\n") == 2


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox.halo_api", "--accounts=1", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_command_stops_in_order(number: signal.Signals, tmp_path: Path) -> None:
    """The command prints its URL, writes the auth file, and ends with code 0 when told to stop."""
    auth = tmp_path / "auth"
    with _start(f"--write-auth={auth}") as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.get(f"{url}/v1/events", verify=False, trust_env=False).status_code == 401
        assert auth.stat().st_mode & 0o777 == 0o600
        process.send_signal(number)
        assert process.wait(10) == 0


def test_child_ends_with_its_parent() -> None:
    """A spawned stand-in ends when its parent is killed: nothing is left running."""
    program = (
        "from sandbox.halo_api import HaloStandIn\n"
        "import time\n"
        "with HaloStandIn.spawn(accounts=1) as process:\n"
        "    print(process.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    # an orphan that nobody waits for stays as a zombie
    return state != "Z"


def test_wrong_options_show() -> None:
    """A stand-in that cannot start says so instead of hanging."""
    with pytest.raises(RuntimeError, match="ended with exit code"), HaloStandIn.spawn(port=-1):
        pass
