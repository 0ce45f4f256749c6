from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from sandbox.receiver import Receiver
from tasks.syslog.transport import check
from tests.syslog.helpers import (
    BIG,
    SIZE,
    ScriptedReceiver,
    batch,
    deliver,
    destination,
    lines,
    read_all,
    require_ipv6,
    server_context,
    statuses,
    took,
)

if TYPE_CHECKING:
    from sandbox.certificates import Authority


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("form", ["rfc3164", "rfc5424"])
def test_an_honest_receiver_confirms(
    version: ssl.TLSVersion, form: str, authority: Authority
) -> None:
    """Over both versions each batch is confirmed and read whole, once and in order."""
    context = server_context(authority.issue("127.0.0.1"))
    context.minimum_version = context.maximum_version = version
    with Receiver("tls", context=context) as receiver:
        to = destination(receiver.url("tls", format=form, ca=authority.cert))
        transport = to.open_transport()
        for first in (0, BIG):
            outcome = transport.deliver(batch(to, BIG, first, SIZE))
            assert statuses(outcome) == {"confirmed"}, outcome.error
        texts = ["CEF:" + m.decode().partition("CEF:")[2] for m in receiver.messages("tls")]
        assert texts == lines(2 * BIG, 0, SIZE).to_pylist()
        assert (receiver.connections, receiver.torn, receiver.faults) == (2, 0, [])
        assert version.name.replace("_", ".") in check(to)


def test_host_names_and_addresses(context: ssl.SSLContext, authority: Authority) -> None:
    """The name or address of the URL is what the certificate has to carry."""
    with Receiver("tls", context=context) as receiver:
        port = receiver.port("tls")
        for host in ("localhost", "127.0.0.1"):
            outcome = deliver(f"tls://{host}:{port}?ca={authority.cert}")
            assert statuses(outcome) == {"confirmed"}, outcome.error


def test_ipv6() -> None:
    """An IPv6 address in brackets is compared with the certificate's."""
    require_ipv6()
    with Receiver("tls", host="::1") as receiver:
        assert statuses(deliver(receiver.url("tls"))) == {"confirmed"}


def test_too_old_a_version(authority: Authority) -> None:
    """A receiver below TLS 1.2 is refused, with the reason."""
    context = server_context(authority.issue("127.0.0.1"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with Receiver("tls", context=context) as receiver:
        outcome = deliver(receiver.url("tls", ca=authority.cert))
    assert statuses(outcome) == {"failed"}
    assert "it offers no TLS of version 1.2 or 1.3" in (outcome.error or "")


def test_not_tls_at_all(authority: Authority) -> None:
    """Whether it says something else, hangs up or stays silent: the port is no TLS listener's."""

    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def hang_up(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.shutdown(socket.SHUT_RDWR)

    def stay_silent(connection: socket.socket) -> None:
        read_all(connection)

    for behaviour, fault in (
        (talk, "does not speak TLS"),
        (hang_up, "hung up during the TLS handshake"),
        (stay_silent, "no answer to the TLS handshake within 0.3 s"),
    ):
        with ScriptedReceiver(behaviour) as rude:
            start = time.monotonic()
            url = rude.url(timeout=0.3, ca=authority.cert).replace("tcp://", "tls://")
            outcome = deliver(url)
            assert took(start) < 2
        assert statuses(outcome) == {"failed"}
        assert fault in (outcome.error or "")
