"""A load to a receiver that is far away: 50 ms there and back.

What is compared with is the same load with one batch after the other: connect, send, confirm and
record, and only then connect again. Once by a proxy that delays, and once by a link with a delay,
where a new connection also takes its time until TCP has opened its windows: that is the larger part
there, and one connection alone can do nothing about it.

    python -m tests.bench.far_receiver

prints the rates by the link as a JSON object, in a process of its own: it moves between network
namespaces.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.load.batch_sender import BatchSender
from tasks.load.batches import batches
from tasks.load.parallel_sender import ParallelSender
from tasks.load.pending_days import now, pending_days
from tasks.load.recorded_transport import RecordedTransport
from tasks.load.selected_rows import BrokenOff
from tasks.staging.deliveries.pending import Selection
from tests.bench import Measured
from tests.bench.delaying_proxy import DelayingProxy
from tests.bench.load import normalized_days
from tests.bench.reading_receiver import ReadingReceiver
from tests.syslog.helpers import batch, destination
from tests.syslog.link_with_delay import CANNOT, THERE, LinkWithDelay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.staging.store import Store

ROUND_TRIP_SECONDS = 0.05
MTU = 60_000
DAYS = 60
EVENTS_OF_A_DAY = 2880
BATCH = 1000
ROUNDS = 2
ROUNDS_BY_LINK = 1
TARGETS = {1: 1.5, 8: 4.0}
"""Times one batch after the other, by connections."""


def measure() -> Iterator[Measured]:
    """Load with one batch after the other, and with connections."""
    with (
        tempfile.TemporaryDirectory() as name,
        ReadingReceiver() as receiver,
        DelayingProxy(receiver.port, ROUND_TRIP_SECONDS) as proxy,
    ):
        found = _rates(Path(name), f"tcp://127.0.0.1:{proxy.port}", ROUNDS)
    yield from _compare(found, "by a proxy", TARGETS)
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.far_receiver"], stdout=subprocess.PIPE, check=False
    )
    if done.returncode != CANNOT:
        done.check_returncode()
        yield from _compare(json.loads(done.stdout), "by a link with new windows", {})


def _compare(
    found: dict[str, list[float]], how: str, targets: dict[int, float]
) -> Iterator[Measured]:
    for count in TARGETS:
        pairs = list(zip(found["alone"], found[str(count)], strict=True))
        yield Measured(
            f"load to a receiver 50 ms away, {how}, batch={BATCH}, connections={count}",
            statistics.median([ours / alone for alone, ours in pairs]),
            targets.get(count),
            "times one batch after the other",
            "; ".join(f"{alone:,.0f}, {ours:,.0f} events/s" for alone, ours in pairs),
        )


def main() -> int:
    """Print the rates by the link."""
    if os.geteuid() or not Path("/dev/net/tun").exists():
        return CANNOT
    with tempfile.TemporaryDirectory() as name, LinkWithDelay(ROUND_TRIP_SECONDS / 2, MTU) as path:
        receiver = ReadingReceiver(THERE)
        path.there(receiver.__enter__)
        found = _rates(Path(name), f"tcp://{THERE}:{receiver.port}", ROUNDS_BY_LINK)
        receiver.__exit__()
    print(json.dumps(found))
    return 0


def _rates(folder: Path, url: str, rounds: int) -> dict[str, list[float]]:
    """Events a second, one batch after the other and by connections, a figure each round."""
    store = normalized_days(folder / "staging", DAYS, EVENTS_OF_A_DAY)
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        for count in ("alone", *map(str, TARGETS)):
            to = f"{url}?name=sensor-{count}-{number}&batch={BATCH}"
            found.setdefault(count, []).append(_rate(store, to, count))
    return found


def _rate(store: Store, url: str, connections: str) -> float:
    """Events a second, from the first batch until the last is confirmed and recorded."""
    together = connections != "alone"
    to = destination(f"{url}&connections={connections}" if together else url)
    selection = Selection("undelivered", to.takes, None, now())
    days = list(pending_days(store, to.name, "alpha", selection))
    transport = to.open_transport()
    transport.deliver(batch(to, 1))  # the first confirmation waits longer than others
    recorded = RecordedTransport(to, transport, "bench", threading.Event())
    alone = BatchSender(recorded, pauses=())
    parallel = ParallelSender(alone)
    sender = parallel if together else alone
    start = time.perf_counter()
    for one in batches(days, selection, to):
        assert not isinstance(one, BrokenOff)
        sender.deliver(one)
    sender.finish()
    seconds = time.perf_counter() - start
    parallel.close()
    if recorded.delivered != DAYS * EVENTS_OF_A_DAY:
        raise AssertionError(recorded.error)
    return recorded.delivered / seconds


if __name__ == "__main__":
    sys.exit(main())
