"""The receiver is killed three times in mid-stream: what do relays with a queue on disk lose?

The same messages go, at the same rate, to the same syslog-ng, which writes them to a file and is
ended by SIGKILL and started again when it has read a part of them:

- from `loggen` through a syslog-ng with `disk-buffer(reliable(yes))`,
- from `loggen` through a rsyslog with a disk-assisted queue and endless retries,
- from normalized Parquet through `halo-usm`'s load, run again until nothing is pending.

The relays themselves are never ended, and get the time to drain before what arrived is counted.
BENCH_RELAY_MESSAGES sets another number of messages.
"""

from __future__ import annotations

import json
import math
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from tasks.load.destination import load_destination
from tasks.staging.schemas import RAW_SCHEMA
from tasks.staging.store import open_store
from tasks.time_window import Window
from tests import rsyslog, syslog_ng
from tests.bench import Measured, loggen
from tests.staging.staged_data import DAY, stage, transform
from tests.syslog.helpers import destination
from tests.syslog_ng import SyslogNG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MESSAGES = int(os.environ.get("BENCH_RELAY_MESSAGES", "200000"))
RATE = 40_000
BYTES = 700
BATCH = 1000
KILLED_AT = (0.2, 0.45, 0.7)
LISTENER = "tcp-rfc3164"
QUIET_SECONDS = 5.0
TIMEOUT_SECONDS = 120.0

_SYSLOG_NG = """\
@version: 3.35
options {{ keep-hostname(yes); use-dns(no); stats-freq(0); log-msg-size(65536); time-reopen(1); }};
source s {{ network(ip("127.0.0.1") port({port}) transport("tcp")); }};
destination d {{ network("127.0.0.1" port({to}) transport("tcp")
    disk-buffer(reliable(yes) disk-buf-size(1073741824) mem-buf-size(67108864) dir("{folder}"))
); }};
log {{ source(s); destination(d); flags(flow-control); }};
"""
# A main queue that nothing has to be thrown away from, whatever the action does.
_RSYSLOG = """\
global(workDirectory="{folder}" net.enableDNS="off")
main_queue(queue.type="LinkedList" queue.size="1000000")
module(load="imptcp")
input(type="imptcp" address="127.0.0.1" port="{port}")
template(name="same" type="string" string="%rawmsg%\\n")
action(type="omfwd" target="127.0.0.1" port="{to}" protocol="tcp" template="same"
    action.resumeRetryCount="-1" action.resumeInterval="1"
    queue.type="LinkedList" queue.size="1000000" queue.filename="relay"
    queue.maxDiskSpace="2g" queue.saveOnShutdown="on")
"""


class Arrived(NamedTuple):
    """What became of the messages.

    Attributes:
        lost: Messages that never arrived whole.
        repeated: Arrivals beyond a message's first.
        seconds: From the first message sent to the last one written.
    """

    lost: int
    repeated: int
    seconds: float


def measure() -> Iterator[Measured]:
    """Kill the receiver of each in turn, and count."""
    how = f"of {MESSAGES:,} at {RATE:,}/s, receiver killed {len(KILLED_AT)} times"
    for name, relay in (
        ("syslog-ng relay, reliable disk buffer", _syslog_ng_relay),
        ("rsyslog relay, disk-assisted queue", _rsyslog_relay),
    ):
        with tempfile.TemporaryDirectory() as folder:
            yield _row(f"lost by {name}", _through(relay, Path(folder)), how)
    with tempfile.TemporaryDirectory() as folder:
        ours = _through_load(Path(folder))
    yield _row("lost by halo-usm", ours, how)._replace(target=0, at_most=True)
    yield Measured(
        "repeated by halo-usm",
        ours.repeated,
        BATCH * len(KILLED_AT),
        "events",
        "a batch a kill at most",
        at_most=True,
    )


def _row(name: str, arrived: Arrived | None, how: str) -> Measured:
    if arrived is None:
        return Measured(name, math.nan, None, "events", "not there, and so not measured")
    note = f"{how}; {arrived.repeated:,} came again; {arrived.seconds:.0f} s"
    return Measured(name, arrived.lost, None, "events", note)


@contextmanager
def _killed(sensor: SyslogNG) -> Iterator[None]:
    """Meanwhile the receiver is killed, and started again, each time it has read so much."""
    file = sensor.file(LISTENER)

    def work() -> None:
        for part in KILLED_AT:
            until = time.monotonic() + TIMEOUT_SECONDS
            while _size(file) < part * MESSAGES * BYTES and time.monotonic() < until:
                time.sleep(0.01)
            sensor.kill()
            sensor.start()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _drained(file: Path) -> float:
    """Wait until nothing more comes; returns when the last message did, by the monotonic clock."""
    until = time.monotonic() + TIMEOUT_SECONDS
    size, last = -1, time.monotonic()
    while time.monotonic() < min(until, last + QUIET_SECONDS):
        if size != (size := _size(file)):
            last = time.monotonic()
        time.sleep(0.05)
    return last


def _count(file: Path, pattern: bytes, seconds: float) -> Arrived:
    """Count the messages by what tells them apart, taking only whole lines: all are as long."""
    lines = file.read_bytes().split(b"\n")
    ((usual, _),) = Counter(map(len, lines)).most_common(1)
    found = Counter(
        hit[1] for line in lines if len(line) == usual and (hit := re.search(pattern, line))
    )
    return Arrived(MESSAGES - len(found), found.total() - len(found), seconds)


def _through(
    relay: Callable[[Path, int, int], tuple[list[str], dict[str, str]] | None], folder: Path
) -> Arrived | None:
    """`loggen` to a relay to the receiver; None where there is no such relay."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    (folder / "relay").mkdir()
    with SyslogNG(folder / "receiver") as sensor:
        start_of = relay(folder / "relay", port, sensor.port(LISTENER))
        if start_of is None:
            return None
        command, environment = start_of
        process = subprocess.Popen(
            command,
            env={**os.environ, "TZ": "UTC", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _await(port)
            start = time.monotonic()
            with _killed(sensor):
                _loggen(port)
            end = _drained(sensor.file(LISTENER))
        finally:
            process.kill()
            process.wait()
        return _count(sensor.file(LISTENER), rb"seq: (\d{10})", end - start)


def _await(port: int) -> None:
    until = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _loggen(port: int) -> None:
    subprocess.run(
        loggen.command(port, "--inet", "--stream", size=BYTES, number=MESSAGES, rate=RATE),
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _syslog_ng_relay(folder: Path, port: int, to: int) -> tuple[list[str], dict[str, str]] | None:
    if syslog_ng.find() is None:
        return None
    (folder / "syslog-ng.conf").write_text(_SYSLOG_NG.format(port=port, to=to, folder=folder))
    return syslog_ng.command(folder), {}


def _rsyslog_relay(folder: Path, port: int, to: int) -> tuple[list[str], dict[str, str]] | None:
    found = rsyslog.find()
    if found is None:
        return None
    config = folder / "rsyslog.conf"
    config.write_text(_RSYSLOG.format(port=port, to=to, folder=folder))
    return found.command(config), found.environment


def _through_load(folder: Path) -> Arrived:
    """Normalized Parquet to the receiver, the load run again until nothing is pending."""
    store = open_store(str(folder / "staging"))
    stage(store, Window(DAY, DAY + timedelta(days=1)), _events())
    transform(store)
    with SyslogNG(folder / "receiver") as sensor:
        url = sensor.url(LISTENER, name="sensor", batch=BATCH, rate=RATE)
        to = destination(url)
        start = time.monotonic()
        until = start + TIMEOUT_SECONDS
        with _killed(sensor):
            while load_destination(store, to, run_id="bench").pending:
                if time.monotonic() > until:
                    break
        end = _drained(sensor.file(LISTENER))
        return _count(sensor.file(LISTENER), rb"externalId=(\w+)", end - start)


def _events() -> pa.Table:
    """Raw events over a day that make lines of about `BYTES`."""
    text = "x" * (BYTES - 300)
    step = timedelta(days=1) / MESSAGES
    events = [
        {
            "event_id": f"{number:032}",
            "created_at": DAY + number * step,
            "type": "server_restarted",
            "name": "Server restarted",
            "critical": False,
            "event": json.dumps(
                {"id": f"{number:032}", "type": "server_restarted", "message": text}
            ),
        }
        for number in range(MESSAGES)
    ]
    return pa.Table.from_pylist(events, RAW_SCHEMA.remove(6))
