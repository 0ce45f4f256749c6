from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

from sandbox.receiver import Receiver
from tests.syslog.helpers import (
    batch,
    deliver,
    destination,
    require_ipv6,
    statuses,
    took,
)

if TYPE_CHECKING:
    import pytest


def test_nobody_listens() -> None:
    """A refused connection fails the batch, names the address and says what to look at."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    outcome = deliver(f"tcp://127.0.0.1:{port}")
    assert statuses(outcome) == {"failed"}
    assert outcome.error is not None
    assert f"tcp://127.0.0.1:{port}: 127.0.0.1 port {port}: the connection was refused" in (
        outcome.error
    )


def test_never_connected_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP's connection of a port to itself counts as refused: it would confirm anything."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        here = unused.getsockname()
    connect = socket.socket.connect

    def bound_connect(self: socket.socket, where: tuple[str, int]) -> None:
        self.bind(here)
        connect(self, where)

    monkeypatch.setattr(socket.socket, "connect", bound_connect)
    outcome = deliver(f"tcp://127.0.0.1:{here[1]}")
    assert statuses(outcome) == {"failed"}
    assert "refused" in (outcome.error or "")


def test_no_answer_to_connecting() -> None:
    """A host that does not answer costs the time limit, and the message says how to go on."""
    with contextlib.ExitStack() as exits:
        listener = exits.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # Linux drops what does not fit into the backlog
            waiting = exits.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003
            waiting.connect_ex(listener.getsockname())
        start = time.monotonic()
        outcome = deliver(f"tcp://127.0.0.1:{listener.getsockname()[1]}?timeout=0.3")
    assert statuses(outcome) == {"failed"}
    assert "no answer within 0.3 s" in (outcome.error or "")
    assert took(start) < 1.5


def test_unknown_name() -> None:
    """A name that does not resolve fails the batch and says so."""
    outcome = deliver("tcp://no-such-host.invalid:601?timeout=5")
    assert statuses(outcome) == {"failed"}
    assert "no-such-host.invalid cannot be resolved" in (outcome.error or "")


def test_a_silent_name_server_costs_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolving is bounded, however long the system's resolver would wait."""
    answered = threading.Event()
    real = socket.getaddrinfo

    def slow(host: str, port: int, *, type: socket.SocketKind, flags: int) -> object:  # noqa: A002
        if not flags:
            answered.wait(10)
        return real(host, port, type=type, flags=flags)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    start = time.monotonic()
    outcome = deliver("tcp://localhost:601?timeout=0.2")
    answered.set()
    assert "cannot be resolved (no answer within 0.2 s)" in (outcome.error or "")
    assert took(start) < 2


def test_each_address_of_a_name_is_tried(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first address that answers gets the batch, and is the first to be tried the next time."""
    port = receiver.port("tcp")
    tried: list[str] = []
    addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]

    def look_up(host: str, port: int, *, flags: int = 0, **_: object) -> list[object]:
        if flags:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    connect = socket.socket.connect

    def seen(self: socket.socket, where: tuple[str, int]) -> None:
        tried.append(where[0])
        connect(self, where)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket.socket, "connect", seen)
    to = destination(f"tcp://sensor.example:{port}")
    transport = to.open_transport()
    assert statuses(transport.deliver(batch(to))) == {"confirmed"}
    assert tried == addresses
    assert statuses(transport.deliver(batch(to))) == {"confirmed"}
    assert tried[3:] == ["127.0.0.1"]
    addresses.remove("127.0.0.1")
    outcome = transport.deliver(batch(to))
    assert statuses(outcome) == {"failed"}
    for one in addresses:
        assert f"{one} port {port}: the connection was refused" in (outcome.error or "")


def test_localhost(receiver: Receiver) -> None:
    """A real name works, whichever of ::1 and 127.0.0.1 it means first."""
    assert statuses(deliver(f"tcp://localhost:{receiver.port('tcp')}")) == {"confirmed"}


def test_ipv6() -> None:
    """An IPv6 address in brackets works."""
    require_ipv6()
    with Receiver("tcp", host="::1") as running:
        assert statuses(deliver(running.url("tcp"))) == {"confirmed"}
