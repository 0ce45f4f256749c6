"""Name resolution, the sending rate, and messages about network errors."""

from __future__ import annotations

import errno
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from tasks.errors import SensorError

if TYPE_CHECKING:
    from tasks.syslog.destination import Destination

# family and socket address
Address = tuple[int, Any]

_BURST_SECONDS = 0.01


def resolve(destination: Destination, kind: socket.SocketKind) -> list[Address]:
    """All addresses of the destination's host, in the system's order of preference (RFC 6724).

    Raises:
        SensorError: The name is unknown, or no name server answers within the time limit.
    """
    host, port, timeout = destination.host, destination.port, destination.timeout
    try:
        return _look_up(host, port, kind, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # a name: the system's resolver has time limits of its own, hence the thread
    answer: list[Address] = []
    fault: list[Exception] = []

    def look_up() -> None:
        try:
            answer.extend(_look_up(host, port, kind, 0))
        except (OSError, UnicodeError) as error:
            fault.append(error)

    thread = threading.Thread(target=look_up, name=f"resolve {host}", daemon=True)
    thread.start()
    thread.join(timeout)
    if answer:
        return answer
    reason = f"{fault[0]}" if fault else f"no answer within {timeout:g} s"
    raise SensorError(
        f"{destination.address}: the name {host} cannot be resolved ({reason}); "
        "check its spelling and this machine's name servers, or give an address"
    )


def _look_up(host: str, port: int, kind: socket.SocketKind, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=kind, flags=flags)
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))


def name_of(address: Address) -> str:
    """An address as people write it: ``10.0.0.1 port 601``."""
    return f"{address[1][0]} port {address[1][1]}"


def explain(error: OSError, timeout: float) -> str:
    """A network error as a sentence, with the remedy where one is known."""
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused: nothing listens there; check the port and the receiver"
    if isinstance(error, ConnectionResetError) or error.errno == errno.ENOTCONN:
        return "the receiver reset the connection; its own log may say why"
    if isinstance(error, BrokenPipeError):
        return "the receiver had closed the connection; its own log may say why"
    if isinstance(error, TimeoutError) and (error.errno or str(error) == "timed out"):
        return f"no answer within {timeout:g} s; check the address and firewalls, or raise timeout="
    return error.strerror or str(error) or type(error).__name__


class SendingRate:
    """At most so many messages a second over all threads, in bursts of a hundredth of a second.

    Unused time is not made up for later, because receivers lose datagrams in bursts. One burst is
    the exception: it evens out that a sleep ends late.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._due = 0.0
        self._lock = threading.Lock()

    @property
    def burst(self) -> int | None:
        """Messages to send at once; None for all."""
        return None if self._rate is None else max(1, int(self._rate * _BURST_SECONDS))

    def wait(self, count: int) -> None:
        """Sleep until ``count`` more messages may be sent."""
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            due = self._due
            self._due = max(due, now - _BURST_SECONDS) + count / self._rate
        if due > now:
            time.sleep(due - now)
