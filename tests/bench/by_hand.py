"""What a delivery costs where it is written by hand, for a benchmark to compare with."""

from __future__ import annotations

import os
import socket
import ssl
import time
from typing import TYPE_CHECKING

from tasks.syslog.end_delay import FINISHING_SECONDS, PROVEN_SECONDS
from tasks.syslog.tls import TlsDestination
from tasks.syslog.tls_transport import client_context

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.load.batch import Batch
    from tasks.syslog.destination import Destination


def by_hand(batch: Batch, to: Destination, folder: Path) -> float:
    """Seconds for one batch, its record being its identifiers and hashes as they lie in memory."""
    data = b"".join(batch.messages.to_pylist())
    record = repr(batch.facts.select(["event_id", "line_sha256"]).to_pydict()).encode()
    context = client_context(to) if isinstance(to, TlsDestination) else None
    start = time.perf_counter()
    sock = socket.create_connection((to.host, to.port), to.timeout)
    connected = time.perf_counter()
    if context:
        sock = context.wrap_socket(sock, server_hostname=to.host)
    with sock:
        sock.sendall(data)
        sent = time.perf_counter()
        time.sleep(max(connected + PROVEN_SECONDS - sent, FINISHING_SECONDS))
        end = sock.unwrap() if isinstance(sock, ssl.SSLSocket) else sock
        with end:
            end.shutdown(socket.SHUT_WR)
            while end.recv(65536):
                pass
    with (folder / "record").open("wb") as file:
        file.write(record)
        file.flush()
        os.fsync(file.fileno())
    fd = os.open(folder, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    return time.perf_counter() - start
