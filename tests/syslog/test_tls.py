from __future__ import annotations

import socket
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.certificates import Authority, Certificate
from sandbox.receiver import Receiver
from tasks.errors import SensorError, SettingsError
from tasks.syslog.transport import check, open_transport
from tests.syslog.helpers import (
    RudeReceiver,
    batch,
    deliver,
    destination,
    lines,
    read_all,
    require_ipv6,
    reset,
    statuses,
    took,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BIG = 3000
SIZE = 700
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def server_context(own: Certificate) -> ssl.SSLContext:
    """A server's side, TLS 1.2 and 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.cert, own.key)
    return context


@pytest.fixture(scope="module")
def context(authority: Authority) -> ssl.SSLContext:
    """A server with a right certificate."""
    return server_context(authority.issue("127.0.0.1", "localhost"))


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
        transport = open_transport(to)
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


def test_a_folder_of_authorities(
    context: ssl.SSLContext, authority: Authority, tmp_path: Path
) -> None:
    """ca= takes a folder as OpenSSL has them, too: files by the hash of their names."""
    hashed = _hash_name(authority.cert)
    (tmp_path / hashed).write_bytes(authority.cert.read_bytes())
    with Receiver("tls", context=context) as receiver:
        assert statuses(deliver(receiver.url("tls", ca=tmp_path))) == {"confirmed"}


def _hash_name(cert: Path) -> str:
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(cert)]
    try:
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        pytest.skip("no openssl command to name the file with")
    return f"{found.strip()}.0"


def test_a_self_signed_certificate_as_its_own_authority(tmp_path: Path) -> None:
    """ca= may name the receiver's own certificate where that is all there is."""
    authority = Authority(tmp_path, "one")
    own = authority.issue("127.0.0.1")
    with Receiver("tls", context=server_context(own)) as receiver:
        assert statuses(deliver(receiver.url("tls", ca=own.cert))) == {"confirmed"}


def _expired(authority: Authority) -> Certificate:
    return authority.issue("127.0.0.1", valid_from=YESTERDAY - timedelta(days=9), days=1)


def _not_yet(authority: Authority) -> Certificate:
    return authority.issue("127.0.0.1", valid_from=datetime.now(UTC) + timedelta(days=1))


def _other_address(authority: Authority) -> Certificate:
    return authority.issue("127.0.0.2")


def _unknown_authority(authority: Authority) -> Certificate:
    return Authority(authority.cert.parent, "another").issue("127.0.0.1")


def _for_clients(authority: Authority) -> Certificate:
    return authority.issue("127.0.0.1", client=True)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (_expired, "its certificate has expired; renew it on the receiver"),
        (_not_yet, "its certificate is not valid yet; compare both clocks"),
        (_other_address, "its certificate is for another address"),
        (_unknown_authority, "comes from an authority that is not trusted here; name that with"),
        (_for_clients, "its certificate is not meant for a server"),
    ],
)
def test_certificate_faults(
    make: Callable[[Authority], Certificate], fault: str, authority: Authority
) -> None:
    """Each fault of the receiver's certificate fails the batch with its own message."""
    with Receiver("tls", context=server_context(make(authority))) as receiver:
        to = destination(receiver.url("tls", ca=authority.cert))
        outcome = open_transport(to).deliver(batch(to))
        assert statuses(outcome) == {"failed"}
        assert fault in (outcome.error or "")
        assert f"{to.address}: 127.0.0.1 port {to.port}: " in (outcome.error or "")
        with pytest.raises(SensorError, match=fault):
            check(to)
        assert receiver.messages() == []


def test_another_host_name(authority: Authority) -> None:
    """A certificate for another host name says so."""
    context = server_context(authority.issue("sensor.example"))
    with Receiver("tls", context=context) as receiver:
        outcome = deliver(f"tls://localhost:{receiver.port('tls')}?ca={authority.cert}")
    assert statuses(outcome) == {"failed"}
    assert "its certificate is for another host; use a host name" in (outcome.error or "")


def test_the_systems_authorities_are_the_default(context: ssl.SSLContext) -> None:
    """Without ca= a throw-away authority is not trusted, and the message names ca=."""
    with Receiver("tls", context=context) as receiver:
        outcome = deliver(receiver.url("tls"))
    assert statuses(outcome) == {"failed"}
    assert "not trusted here; name that with ca=" in (outcome.error or "")


def _asking(authority: Authority, own: Certificate, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = server_context(own)
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.cert)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificates(version: ssl.TLSVersion, authority: Authority) -> None:
    """A receiver that asks for a client certificate takes the right one; else the message says."""
    context = _asking(authority, authority.issue("127.0.0.1"), version)
    right = authority.issue("connector", client=True)
    wrong = Authority(authority.cert.parent, "stranger").issue("connector", client=True)
    with Receiver("tls", context=context) as receiver:
        url = receiver.url("tls", ca=authority.cert)
        outcome = deliver(f"{url}&cert={right.cert}&key={right.key}")
        assert statuses(outcome) == {"confirmed"}, outcome.error
        for options, fault in (
            ("", "client certificate"),
            (f"&cert={wrong.cert}&key={wrong.key}", "does not accept our client certificate"),
        ):
            # TLS 1.3 lets the client go first: what it sent may have been handed over by then.
            outcome = deliver(url + options)
            assert statuses(outcome) <= {"failed", "unconfirmed"}
            assert fault in (outcome.error or "")
            with pytest.raises(SensorError, match=fault):
                check(destination(url + options))
        assert len(receiver.messages()) == 3


def test_certificate_and_key_in_one_file(authority: Authority, tmp_path: Path) -> None:
    """cert= alone is enough where the file holds both."""
    own = authority.issue("connector", client=True)
    both = tmp_path / "both.pem"
    both.write_bytes(own.cert.read_bytes() + own.key.read_bytes())
    context = _asking(authority, authority.issue("127.0.0.1"), ssl.TLSVersion.TLSv1_3)
    with Receiver("tls", context=context) as receiver:
        outcome = deliver(receiver.url("tls", ca=authority.cert, cert=both))
    assert statuses(outcome) == {"confirmed"}


def test_files_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    """Files without PEM, a foreign key and an encrypted key are settings' faults, named."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("hunter2")
    one, other = authority.issue("one", client=True), authority.issue("other", client=True)
    locked = authority.issue("locked", client=True, password=b"hunter2")
    for options, fault in (
        (f"ca={nonsense}", f"ca={nonsense} holds no certificates"),
        (f"cert={nonsense}", f"cert={nonsense} cannot be used"),
        (f"cert={one.cert}&key={other.key}", "belong together"),
        (f"cert={locked.cert}&key={locked.key}", "the key has no password"),
    ):
        with pytest.raises(SettingsError) as refusal:
            open_transport(destination(f"tls://h:6514?{options}"))
        assert fault in str(refusal.value)
        assert "hunter2" not in str(refusal.value)


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

    for manner, fault in (
        (talk, "does not speak TLS"),
        (hang_up, "hung up during the TLS handshake"),
        (stay_silent, "no answer to the TLS handshake within 0.3 s"),
    ):
        with RudeReceiver(manner) as rude:
            start = time.monotonic()
            url = rude.url(timeout=0.3, ca=authority.cert).replace("tcp://", "tls://")
            outcome = deliver(url)
            assert took(start) < 2
        assert statuses(outcome) == {"failed"}
        assert fault in (outcome.error or "")


def test_a_bare_end_of_file(context: ssl.SSLContext, authority: Authority) -> None:
    """Without a close_notify nothing is confirmed, unless the sensor's option says it never is."""

    def manner(connection: socket.socket) -> None:
        read_all(connection)
        connection.close()

    with RudeReceiver(manner, context=context) as rude:
        outcome = deliver(rude.url(ca=authority.cert), BIG, SIZE)
        assert statuses(outcome) == {"unconfirmed"}
        assert "set close_notify=off" in (outcome.error or "")
        outcome = deliver(rude.url(ca=authority.cert, close_notify="off"), BIG, SIZE)
        assert statuses(outcome) == {"confirmed"}, outcome.error


def test_close_notify_off_with_one_that_sends_it(
    context: ssl.SSLContext, authority: Authority
) -> None:
    """The option does no harm where the receiver sends a close_notify after all."""
    with Receiver("tls", context=context) as receiver:
        url = receiver.url("tls", ca=authority.cert, close_notify="off")
        outcome = deliver(url, BIG, SIZE)
        assert statuses(outcome) == {"confirmed"}, outcome.error


@pytest.mark.parametrize("option", ["on", "off"])
def test_goodbye_at_once_is_not_believed(
    option: str, context: ssl.SSLContext, authority: Authority
) -> None:
    """A receiver that says goodbye right after the handshake confirms nothing, ever."""

    def notify(connection: socket.socket) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        connection.setblocking(False)  # noqa: FBT003
        connection.unwrap()

    def half_close(connection: socket.socket) -> None:
        socket.socket.shutdown(connection, socket.SHUT_WR)

    def close(connection: socket.socket) -> None:
        connection.close()

    for manner in (notify, half_close, close):
        with RudeReceiver(manner, context=context) as rude:
            url = rude.url(ca=authority.cert, close_notify=option)
            for count in (1, 50):
                for _ in range(5):
                    assert statuses(deliver(url, count)) <= {"unconfirmed", "failed"}


def test_reset_after_some_bytes(context: ssl.SSLContext, authority: Authority) -> None:
    """Wherever a reset comes, nothing is confirmed; what was read is a prefix."""
    to = destination("tls://h:1")
    stream = b"".join(batch(to, 5).to_pylist())
    cut = 0
    read: list[bytes] = []

    def manner(connection: socket.socket) -> None:
        data = b""
        while len(data) < cut and (part := connection.recv(cut - len(data))):
            data += part
        read.append(data)
        reset(connection)

    with RudeReceiver(manner, context=context) as rude:
        transport = open_transport(destination(rude.url(ca=authority.cert)))
        for cut in (0, 1, 77, len(stream) - 1, len(stream)):  # noqa: B007 - read by threads
            assert statuses(transport.deliver(batch(to, 5))) <= {"unconfirmed", "failed"}
    assert all(stream.startswith(one) for one in read)


@pytest.mark.parametrize("count", [3, BIG])
def test_never_read(count: int, context: ssl.SSLContext, authority: Authority) -> None:
    """A receiver that stops after the handshake costs the time limit."""
    with RudeReceiver(lambda _: None, receive_buffer=4096, context=context) as rude:
        start = time.monotonic()
        outcome = deliver(rude.url(ca=authority.cert, timeout=0.4), count, SIZE)
        assert took(start) < 2.5
    assert outcome.statuses[0].as_py() == "unconfirmed"
    assert ("failed" in statuses(outcome)) == (count == BIG)


def test_what_a_receiver_says_is_read(context: ssl.SSLContext, authority: Authority) -> None:
    """A receiver that talks back is neither blocked nor misunderstood."""

    def manner(connection: socket.socket) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        while part := connection.recv(65536):
            connection.sendall(part * 2)
        connection.unwrap().close()

    with RudeReceiver(manner, context=context) as rude:
        outcome = deliver(rude.url(ca=authority.cert, timeout=5), BIG, SIZE)
    assert statuses(outcome) == {"confirmed"}, outcome.error
