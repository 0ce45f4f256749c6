"""Deliveries over a path of 20 ms, where ends cross: two network namespaces and a slow link.

    python -m tests.syslog.link_with_delay RUNS

Prints a JSON object of outcomes by receiver, of so many runs each. Needs root and Linux's TUN
device, whence a process of its own: it moves between namespaces. Exit code 77 where it may not.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import heapq
import json
import multiprocessing
import os
import select
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from sandbox.certificates import Authority
from sandbox.receiver import Receiver
from tasks.syslog.destination import StreamDestination
from tests.syslog.helpers import ScriptedReceiver, batch, destination

if TYPE_CHECKING:
    from collections.abc import Callable

Made = TypeVar("Made")
ONE_WAY_SECONDS = 0.01
HERE, THERE = "10.97.53.1", "10.97.53.2"
CANNOT = 77
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001


class LinkWithDelay:
    """Two namespaces, this process's threads in the near one, joined by a link with a delay.

    A process of its own carries the packets. It is to be made before there are other threads.

    Args:
        one_way: Seconds that a packet takes.
        mtu: Bytes of a packet at most.
    """

    def __init__(self, one_way: float = ONE_WAY_SECONDS, mtu: int = 1500) -> None:
        self.near, self.far = (f"halo-{side}-{os.getpid()}" for side in ("near", "far"))
        self._one_way = one_way
        self._mtu = mtu
        self._carrier = multiprocessing.get_context("fork").Process(target=self._carry)

    def __enter__(self) -> Self:
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "add", name], check=True)
        self._ends = [
            _link(self.far, THERE, HERE, self._mtu),
            _link(self.near, HERE, THERE, self._mtu),
        ]
        self._carrier.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._carrier.kill()
        self._carrier.join()
        for end in self._ends:
            os.close(end)
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", name], check=True)

    def there(self, make: Callable[[], Made]) -> Made:
        """Do something in the far namespace; a socket made there stays there."""
        _enter(self.far)
        try:
            return make()
        finally:
            _enter(self.near)

    def _carry(self) -> None:
        under_way: list[tuple[float, int, int, bytes]] = []
        number = 0
        while True:
            now = time.monotonic()
            while under_way and under_way[0][0] <= now:
                _, _, to, packet = heapq.heappop(under_way)
                os.write(to, packet)
            wait = max(0.0, under_way[0][0] - now) if under_way else None
            for end in select.select(self._ends, [], [], wait)[0]:
                to = self._ends[1 - self._ends.index(end)]
                due = time.monotonic() + self._one_way
                heapq.heappush(under_way, (due, number, to, os.read(end, self._mtu)))
                number += 1


def _enter(name: str) -> None:
    namespace = os.open(f"/var/run/netns/{name}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(namespace)


def _link(name: str, address: str, peer: str, mtu: int) -> int:
    _enter(name)
    end = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH", b"slow", _IFF_TUN_NO_PI))
    for command in (f"addr add {address} peer {peer} dev slow", f"link set slow mtu {mtu} up"):
        subprocess.run(["ip", *command.split()], check=True)
    return end


def half_close(connection: socket.socket) -> None:
    """End one's own side at once, beneath TLS too."""
    socket.socket.shutdown(connection, socket.SHUT_WR)


def say_goodbye(connection: socket.socket) -> None:
    """End TLS, then TCP, at once."""
    assert isinstance(connection, ssl.SSLSocket)
    connection.settimeout(0)
    try:
        connection.unwrap()
    except OSError:
        half_close(connection)


def outcomes(url: str, count: int, runs: int) -> dict[str, int]:
    """How often which status came of so many runs, half of them on connections made ahead."""
    to = destination(url)
    assert isinstance(to, StreamDestination)
    transport = to.open_transport()
    messages = batch(to, count, size=700)
    found: dict[str, int] = Counter()
    for run in range(runs):
        connection = transport.connect() if run % 2 else None
        found[transport.deliver(messages, connection).statuses[0].as_py()] += 1
    return found


def main(runs: int) -> int:
    """Deliver to an honest receiver and to several that are not."""
    if os.geteuid() or not Path("/dev/net/tun").exists():
        return CANNOT
    found: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder, LinkWithDelay() as path:
        authority = Authority(Path(folder))
        own = authority.issue(THERE)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own.cert, own.key)
        for scheme in ("tcp", "tls"):
            ca = {"ca": authority.cert} if scheme == "tls" else {}
            honest = Receiver(scheme, host=THERE, context=context)
            with contextlib.ExitStack() as exits:
                path.there(functools.partial(exits.enter_context, honest))
                found[f"honest {scheme}"] = outcomes(honest.url(scheme, **ca), 3, runs)
            for behaviour in (half_close, socket.socket.close, say_goodbye):
                if behaviour is say_goodbye and scheme == "tcp":
                    continue
                make = functools.partial(
                    ScriptedReceiver, behaviour, host=THERE, context=context if ca else None
                )
                with path.there(make) as rude:
                    for count in (1, 50):
                        name = f"{behaviour.__name__} {scheme} {count}"
                        found[name] = outcomes(rude.url(timeout=2, **ca), count, runs)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
