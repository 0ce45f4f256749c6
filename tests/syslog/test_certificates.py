"""Certificates, ours and the receiver's: which are taken, and what a refused one says."""

from __future__ import annotations

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from sandbox.certificates import Authority, Certificate
from sandbox.receiver import Receiver
from tasks.errors import SensorError, SettingsError
from tasks.syslog.certificates import expiring
from tasks.syslog.transport import check
from tests.syslog.helpers import (
    batch,
    deliver,
    destination,
    server_context,
    statuses,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


YESTERDAY = datetime.now(UTC) - timedelta(days=1)


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
        outcome = to.open_transport().deliver(batch(to))
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
    wrong = Authority(authority.cert.parent, "unexpected").issue("connector", client=True)
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
        to = destination(f"tls://h:6514?{options}")
        for use in (to.open_transport, to.check_files):
            with pytest.raises(SettingsError) as refusal:
                use()
            assert fault in str(refusal.value)
            assert "hunter2" not in str(refusal.value)
    destination(f"tls://h:6514?ca={authority.cert}&cert={one.cert}&key={one.key}").check_files()


def test_certificates_that_expire_soon_are_told(authority: Authority, tmp_path: Path) -> None:
    """The client's by the first of its file to expire, an authority by the last; the receiver's."""
    soon, late = (authority.issue(f"client{days}", days=days, client=True) for days in (10, 100))
    chain = tmp_path / "chain.pem"
    chain.write_bytes(late.cert.read_bytes() + soon.cert.read_bytes())
    options = {"ca": authority.cert, "cert": soon.cert, "key": soon.key}
    both = expiring(destination("tls://h:1?" + urlencode(options)))
    assert expiring(destination("relps://h?" + urlencode(options))) == both
    assert [one.whose.partition(",")[0] for one in both] == [
        "the client certificate",
        "the authority",
    ]
    assert both[0].until.date() == (YESTERDAY + timedelta(days=10)).date()
    options = {"ca": chain, "cert": chain, "key": late.key}
    (client,) = expiring(destination("tls://h:1?" + urlencode(options)))
    assert client.whose == f"the client certificate, cert={chain}"
    now = datetime.now(UTC)
    receivers = [now + timedelta(days=days) for days in (-1, 13, 15)]
    told = [expiring(destination("tcp://h:1"), until) for until in receivers]
    assert [bool(one) for one in told] == [True, True, False]
    assert not expiring(destination("tls://h:1"))
