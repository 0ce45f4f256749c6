"""Loads and replays without pauses, and what they wrote into the ledger.

They have as many connections as the `connections` fixture says, unless their URL does.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from tasks.load.destination import load_destination
from tasks.load.replay import replay_destination
from tasks.syslog.destination import StreamDestination
from tests.staging.staged_data import read
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.load.result import LoadResult
    from tasks.staging.deliveries.pending import Only
    from tasks.staging.store import Store
    from tasks.syslog.destination import Destination
    from tasks.time_window import Window

NO_PAUSES = (0.0, 0.0)
CONNECTIONS = [1]
_LOAD = (
    "import sys; from tasks.staging.store import open_store; from tests.load.helpers import load; "
    "load(open_store(sys.argv[1]), sys.argv[2])"
)


def _sensor(url: str) -> Destination:
    to = destination(url)
    if isinstance(to, StreamDestination) and "connections" not in to.model_fields_set:
        to = to.model_copy(update={"connections": CONNECTIONS[-1]})
    return to


def load(store: Store, url: str, run_id: str = "run", **options: Any) -> LoadResult:
    """Load without pauses."""
    return load_destination(store, _sensor(url), run_id=run_id, **{"pauses": NO_PAUSES, **options})


def replay(
    store: Store, url: str, where: Window, only: Only = "failed", **options: Any
) -> LoadResult:
    """Replay without pauses."""
    return replay_destination(
        store,
        _sensor(url),
        where,
        **{"only": only, "run_id": "replay", "pauses": NO_PAUSES, **options},
    )


def rows(store: Store, name: str = "rejecting", account: str = "alpha") -> list[dict[str, Any]]:
    """The ledger's rows, in the order of the attempts."""
    table = read(store, "deliveries", account, name)
    found = table.to_pylist() if "attempt" in table.column_names else []
    return sorted(found, key=lambda row: (row["attempted_at"], row["event_id"]))


def kill_load(store: Store, url: str, when: Callable[[], bool]) -> None:
    """Load in a process of its own, and kill it as soon as something holds."""
    child = subprocess.Popen([sys.executable, "-c", _LOAD, str(store), url])
    until = time.monotonic() + 60
    while not when() and child.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    child.kill()
    assert child.wait() < 0, "it ended by itself, too early or too late"


def closed_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
