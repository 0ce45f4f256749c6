"""The vendor's own SDK, unmodified, reads the stand-in.

The SDK speaks HTTPS to hosts of cloudpassage.com alone, so the stand-in has a certificate for
api.cloudpassage.com and the SDK is pointed to it by its own settings: a CONNECT proxy on loopback
and a CA bundle.
"""

from __future__ import annotations

import selectors
import socket
import socketserver
import threading
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import cloudpassage
import pytest

from sandbox import faults
from sandbox.certificates import Authority
from sandbox.halo_api import HaloStandIn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENTS = 3000
UNTIL = datetime(2026, 3, 14, tzinfo=UTC)


class _Tunnel(socketserver.BaseRequestHandler):
    """One CONNECT: everything goes to the server's target, whatever host was asked for."""

    target: tuple[str, int]

    def handle(self) -> None:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += self.request.recv(4096)
        assert asked.startswith(b"CONNECT api.cloudpassage.com:443 ")
        with socket.create_connection(self.target) as upstream, selectors.DefaultSelector() as both:
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            for end in (self.request, upstream):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            both.register(self.request, selectors.EVENT_READ, upstream)
            both.register(upstream, selectors.EVENT_READ, self.request)
            with suppress(ConnectionError):
                while _pump(both):
                    pass


def _pump(both: selectors.BaseSelector) -> bool:
    for key, _ in both.select():
        source: Any = key.fileobj
        if not (chunk := source.recv(65_536)):
            return False
        key.data.sendall(chunk)
    return True


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def _proxy(port: int) -> Iterator[int]:
    handler = type("Tunnel", (_Tunnel,), {"target": ("127.0.0.1", port)})
    with _Proxy(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[HaloStandIn, dict[str, Any]]]:
    """A stand-in with TLS, and what the SDK needs to find it."""
    folder: Path = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    issued = authority.issue("api.cloudpassage.com")
    with (
        HaloStandIn(events=EVENTS, until=UNTIL, tls=(issued.cert, issued.key)) as halo,
        _proxy(int(halo.url.rpartition(":")[2])) as port,
        pytest.MonkeyPatch.context() as patch,
    ):
        assert halo.url.startswith("https://")
        # requests prefers these over the SDK's own setting
        patch.setenv("REQUESTS_CA_BUNDLE", str(authority.cert))
        patch.delenv("NO_PROXY", raising=False)
        patch.delenv("no_proxy", raising=False)
        yield (
            halo,
            {
                "proxy_host": "127.0.0.1",
                "proxy_port": port,
                "requests_ca_bundle": str(authority.cert),
            },
        )


@pytest.fixture
def session(served: tuple[HaloStandIn, dict[str, Any]]) -> Iterator[cloudpassage.HaloSession]:
    """An SDK session that is logged in."""
    halo, settings = served
    halo.reset_counters()
    session = cloudpassage.HaloSession(*halo["alpha"].key, **settings)
    with closing(session.client):
        assert session.authenticate_client()
        yield session


def _all(halo: HaloStandIn) -> set[str]:
    return {body.split(b'"')[3].decode() for body in halo["alpha"].visible()}


def test_time_series(
    served: tuple[HaloStandIn, dict[str, Any]], session: cloudpassage.HaloSession
) -> None:
    """`TimeSeries` reads every event once, over one login."""
    halo, _ = served
    start = (UNTIL - timedelta(days=3)).isoformat().replace("+00:00", "Z")
    series = cloudpassage.TimeSeries(session, start, "/v1/events", "events", params={})
    read = []
    for event in series:
        read.append(event)
        if len(read) == EVENTS:
            break
    assert {event["id"] for event in read} == _all(halo)
    assert halo["alpha"].counters.logins == 1
    assert halo["alpha"].counters.max_in_flight <= 10


def test_list_all(
    served: tuple[HaloStandIn, dict[str, Any]], session: cloudpassage.HaloSession
) -> None:
    """`Event.list_all` follows `pagination.next` through every page, ten events each."""
    halo, _ = served
    read = cloudpassage.Event(session).list_all(300)
    assert len(read) == EVENTS
    assert {event["id"] for event in read} == _all(halo)
    assert halo["alpha"].counters.pages == EVENTS / 10


def test_list_all_filters(
    served: tuple[HaloStandIn, dict[str, Any]], session: cloudpassage.HaloSession
) -> None:
    """The SDK's filters, lists and booleans among them, are understood."""
    halo, _ = served
    wanted = ["lids_rule_failed", "halo_login_failure"]
    given = {"type": wanted, "critical": True, "per_page": 100}
    read = cloudpassage.Event(session).list_all(300, **given)
    assert read
    assert {event["type"] for event in read} == set(wanted)
    assert all(event["critical"] for event in read)
    assert halo["alpha"].counters.pages == -(-len(read) // 100)


def test_expired_token(
    served: tuple[HaloStandIn, dict[str, Any]], session: cloudpassage.HaloSession
) -> None:
    """A token that ends in the middle of a listing makes the SDK log in again, and lose nothing."""
    halo, _ = served
    halo.fail(faults.status(401), after=5)
    assert len(cloudpassage.Event(session).list_all(300, per_page=100)) == EVENTS
    assert halo["alpha"].counters.logins == 2


def test_wrong_key(served: tuple[HaloStandIn, dict[str, Any]]) -> None:
    """The SDK understands that its key is wrong."""
    session = cloudpassage.HaloSession("0000", "wrong", **served[1])
    with (
        closing(session.client),
        pytest.raises(cloudpassage.CloudPassageAuthentication, match="Invalid credentials"),
    ):
        session.authenticate_client()
