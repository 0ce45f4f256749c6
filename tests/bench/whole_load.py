"""`halo-usm load` as a whole command, beside a syslog-ng that relays the same lines from a file.

Both deliver 89 days of realistic events to a TCP receiver that only reads. syslog-ng buffers on
disk, reliably, and neither confirms nor hashes nor records. Clocks run from the start of the
program: syslog-ng's until the receiver has the last line, ours until the command has ended.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.load.batches import batches
from tasks.load.pending_days import now, pending_days
from tasks.load.selected_rows import BrokenOff
from tasks.staging.deliveries.pending import Selection
from tests import syslog_ng
from tests.bench import Measured
from tests.bench.load import normalized_days
from tests.bench.reading_receiver import ReadingReceiver
from tests.flows.command import Command
from tests.syslog.helpers import destination

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.staging.store import Store

DAYS = 89
EVENTS_OF_A_DAY = 2880
COUNT = DAYS * EVENTS_OF_A_DAY
OPTIONS = (("batch=1000", 1.0), ("batch=20000", 1.5), ("batch=1000&connections=8", None))
"""Of the sensor, the default first, and the ratio to reach."""
ROUNDS = 3

_RELAY = """\
@version: 3.35
options {{ keep-hostname(yes); use-dns(no); stats-freq(0); log-msg-size(65536); }};
source s {{ file("{lines}" follow-freq(0.1) log-fetch-limit(1000) log-iw-size(100000)); }};
destination d {{ network("127.0.0.1" port({port}) transport("tcp")
    disk-buffer(reliable(yes) disk-buf-size(1073741824) mem-buf-size(67108864) dir("{folder}"))
); }};
log {{ source(s); destination(d); flags(flow-control); }};
"""


def measure() -> Iterator[Measured]:
    """Deliver everything with each in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = normalized_days(folder / "staging", DAYS, EVENTS_OF_A_DAY)
        write_lines(store, folder / "lines")
        (folder / "auth").write_text("key|secret|alpha\n")
        theirs = []
        ours: dict[str, list[float]] = {options: [] for options, _ in OPTIONS}
        for number in range(ROUNDS):
            theirs.append(_relay(folder / f"relay-{number}", folder / "lines"))
            for options, _ in OPTIONS:
                ours[options].append(_load(folder, options, number))
    for options, target in OPTIONS:
        pairs = list(zip(theirs, ours[options], strict=True))
        rates = (f"relay {COUNT / a:,.0f}, ours {COUNT / b:,.0f} events/s" for a, b in pairs)
        yield Measured(
            f"whole command `halo-usm load`, {options}, to a receiver that only reads",
            statistics.median([relay / load for relay, load in pairs]),
            target,
            "times syslog-ng with a reliable disk buffer",
            f"{COUNT:,} events of {DAYS} days; " + "; ".join(rates),
        )


def write_lines(store: Store, file: Path) -> None:
    """Write what a load would send, a line a message."""
    to = destination("tcp://127.0.0.1:1")
    selection = Selection("undelivered", to.takes, None, now())
    days = list(pending_days(store, to.name, "alpha", selection))
    with file.open("wb") as lines:
        for batch in batches(days, selection, to):
            assert not isinstance(batch, BrokenOff)
            lines.write(b"".join(batch.messages.to_pylist()))


def _relay(folder: Path, lines: Path) -> float:
    """Seconds of a syslog-ng."""
    folder.mkdir()
    with ReadingReceiver() as receiver, ExitStack() as exits:
        config = _RELAY.format(lines=lines, port=receiver.port, folder=folder)
        (folder / "syslog-ng.conf").write_text(config)
        start = time.perf_counter()
        process = subprocess.Popen(
            syslog_ng.command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        exits.callback(process.wait)
        exits.callback(process.kill)
        receiver.wait_for(COUNT)
        return time.perf_counter() - start


def _load(folder: Path, options: str, number: int) -> float:
    """Seconds of a load of everything."""
    with ReadingReceiver() as receiver:
        name = f"{number}-{options}".replace("=", "_").replace("&", "-")
        halo_usm = Command(
            folder,
            {
                "HALO_STAGING": str(folder / "staging"),
                "HALO_AUTH_FILE": str(folder / "auth"),
                "USM_SENSOR": f"tcp://127.0.0.1:{receiver.port}?name={name}&{options}",
            },
        )
        start = time.perf_counter()
        halo_usm("load")
        seconds = time.perf_counter() - start
        if receiver.lines != COUNT:
            raise AssertionError(f"{receiver.lines} of {COUNT} events arrived")
        return seconds
