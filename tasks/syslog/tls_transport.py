"""Batches through TLS (RFC 5425): the handshake, the records, the end by close_notify."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tasks.errors import SettingsError
from tasks.errors import explain as explain_fault
from tasks.redaction import LONGEST_PATH, foreign_text
from tasks.syslog.connection import Connection
from tasks.syslog.tcp import LEAST_SHARE, TcpTransport
from tasks.time_window import isoformat

if TYPE_CHECKING:
    from tasks.syslog.end_delay import EndDelay
    from tasks.syslog.tls import TlsOptions

# Plaintext a write to the kernel; four records.
_CHUNK = 64 * 1024
_READ = 64 * 1024

# X.509 verification results, openssl/x509_vfy.h
_VERIFY_FAULTS = {
    9: "its certificate is not valid yet; compare both clocks",
    10: "its certificate has expired; renew it on the receiver",
    18: "its certificate is self-signed; name it with ca= if it is the right one",
    19: "its certificate comes from an authority that is not trusted here; name that with ca=",
    20: "its certificate comes from an authority that is not trusted here; name that with ca=",
    21: "its certificate comes from an authority that is not trusted here; name that with ca=",
    23: "its certificate has been revoked; renew it on the receiver",
    26: "its certificate is not meant for a server; renew it on the receiver",
    62: "its certificate is for another host; use a host name that the certificate carries",
    64: "its certificate is for another address; use a host name that the certificate carries",
}
_NOT_TLS = "it does not speak TLS; use the port of its TLS listener, or tcp://"
_CERTIFICATE_WANTED = "it asks for a client certificate; give one with cert= and key="
_CERTIFICATE_REFUSED = "it does not accept our client certificate; renew cert= and key="
_TOO_OLD = "it offers no TLS of version 1.2 or 1.3; allow one on the receiver"
# By a part of OpenSSL's reason.
_REASONS = {
    "CERTIFICATE_REQUIRED": _CERTIFICATE_WANTED,
    "ALERT_HANDSHAKE_FAILURE": (
        "it refused the handshake; where it asks for a client certificate, give cert= and key=, "
        "else compare the TLS versions and ciphers of both sides"
    ),
    "ALERT_UNKNOWN_CA": _CERTIFICATE_REFUSED,
    "ALERT_BAD_CERTIFICATE": _CERTIFICATE_REFUSED,
    "ALERT_UNSUPPORTED_CERTIFICATE": _CERTIFICATE_REFUSED,
    "ALERT_CERTIFICATE_": _CERTIFICATE_REFUSED,
    "ALERT_ACCESS_DENIED": _CERTIFICATE_REFUSED,
    "ALERT_PROTOCOL_VERSION": _TOO_OLD,
    "UNSUPPORTED_PROTOCOL": _TOO_OLD,
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": _NOT_TLS,
    "UNEXPECTED_MESSAGE": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
    "HTTP_REQUEST": _NOT_TLS,
}


class TlsTransport(TcpTransport):
    """TLS to one destination."""

    def __init__(self, destination: TlsOptions, connections: int = 1) -> None:
        super().__init__(destination, connections)
        self._context = client_context(destination)
        self._close_notify = destination.close_notify

    def _establish(self, sock: socket.socket, deadline: float) -> Connection:
        connection = TlsConnection(
            sock,
            self._destination.timeout,
            self._end_delay,
            self._context,
            self._destination.host,
            close_notify=self._close_notify,
        )
        connection.handshake(max(deadline - time.monotonic(), LEAST_SHARE))
        if self.certificate_until is None:
            self.certificate_until = connection.certificate_until()
        return connection

    def _explain(self, error: OSError) -> str:
        return explain(error) if isinstance(error, ssl.SSLError) else super()._explain(error)


def client_context(destination: TlsOptions) -> ssl.SSLContext:
    """TLS 1.2 or 1.3, the receiver's certificate and host name checked.

    Raises:
        SettingsError: One of the certificate files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # ca= may name the one trusted authority, which need not be a root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    here, ca, cert, key = destination.address, destination.ca, destination.cert, destination.key
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        try:
            context.load_verify_locations(
                cafile=None if ca.is_dir() else ca, capath=ca if ca.is_dir() else None
            )
        except OSError as error:
            raise SettingsError(
                f"{here}: ca={foreign_text(ca, LONGEST_PATH)} holds no certificates that can be "
                f"read ({_short(error)}); it takes PEM"
            ) from None
    if cert is not None:
        try:
            # Without this, OpenSSL would ask for the key's password on the terminal.
            context.load_cert_chain(cert, key, password=lambda: "")
        except (OSError, ValueError) as error:
            files = f"cert={cert}, key={key}" if key else f"cert={cert}"
            raise SettingsError(
                f"{here}: {foreign_text(files, LONGEST_PATH)} cannot be used "
                f"({_short(error)}); both are PEM, belong together, and the key has no password"
            ) from None
    return context


def explain(error: ssl.SSLError) -> str:
    """A TLS fault as a sentence, with its remedy."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_FAULTS.get(
            error.verify_code,
            f"its certificate cannot be verified: {foreign_text(error.verify_message)}",
        )
    reason = error.reason or ""
    for part, text in _REASONS.items():
        if part in reason:
            return text
    return f"TLS failed: {_short(error)}"


def _short(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    if isinstance(error, OSError) and error.errno:
        return explain_fault(error)
    return foreign_text(getattr(error, "strerror", None) or str(error) or type(error).__name__)


class TlsConnection(Connection):
    """A connection inside TLS. The ends are close_notify first, those of TCP after it."""

    def __init__(
        self,
        sock: socket.socket,
        timeout: float,
        end_delay: EndDelay,
        context: ssl.SSLContext,
        host: str,
        *,
        close_notify: bool,
    ) -> None:
        super().__init__(sock, timeout, end_delay)
        self._from_wire, self._to_wire = ssl.MemoryBIO(), ssl.MemoryBIO()
        # No certificate holds the zone of an IPv6 address, which names an interface.
        self._tls = context.wrap_bio(
            self._from_wire, self._to_wire, server_hostname=host.partition("%")[0]
        )
        self._expects_close_notify = close_notify
        self._established = False
        self._close_notify_seen = False

    def handshake(self, seconds: float) -> None:
        """Agree on keys and check the receiver's certificate, within so many seconds."""
        self._deadline = time.monotonic() + seconds
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
            except ssl.SSLError:
                self._flush()  # the alert tells the receiver's log why
                raise
            else:
                self._flush()
                self._established = True
                self._connected = time.monotonic()
                self._incoming(b"")  # what came behind the handshake
                return
            try:
                self._wait(0)
            except TimeoutError:
                raise TimeoutError(
                    f"no answer to the TLS handshake within {seconds:.1f} s; is this the port of "
                    "a TLS listener?"
                ) from None
            if self._ended:
                raise ConnectionAbortedError(
                    "the receiver hung up during the TLS handshake; is this the port of a TLS "
                    "listener? Its log may say more"
                )

    def certificate_until(self) -> datetime:
        """Until when the receiver's certificate is valid; the handshake has checked it."""
        certificate = self._tls.getpeercert() or {}
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)

    def describe(self) -> str:
        """Version, and until when the receiver's certificate is valid."""
        return (
            f"{self._tls.version()}, certificate valid until {isoformat(self.certificate_until())}"
        )

    def send(self, data: memoryview) -> None:
        """Encrypt all of it and hand it to the kernel."""
        self._start_clock()
        try:
            while data:
                count = self._tls.write(data[:_CHUNK])
                data = data[count:]
                before = self._handed
                try:
                    self._flush()
                finally:
                    # It is not known which records went out; any of them may have.
                    if self._handed > before:
                        self.taken += count
        except (BrokenPipeError, ConnectionResetError):
            self._receive()  # an alert may lie there, and says more
            raise

    def finish(self) -> None:
        """End TLS, then TCP, in order; returning means that the receiver has read everything."""
        self._wait_for_early_end()
        self._end_tls()
        if self._expects_close_notify:
            while not self._has_ended():
                self._wait(0)
            if not self._close_notify_seen:
                raise ConnectionAbortedError(
                    "the receiver closed without a close_notify, which anyone on the way could "
                    "have done; if it never sends one, set close_notify=off"
                )
            self._require_acknowledged()
        self._sock.shutdown(socket.SHUT_WR)
        self._read_end()
        # Having seen close_notify, the receiver need not wait for the end of TCP.
        self._require_clean_end(but=1)

    def end(self) -> None:
        """See :class:`Connection`: with a close_notify before it."""
        self._end_tls()
        super().end()

    def _end_tls(self) -> None:
        """Send our close_notify; the receiver's may come later, behind what else it sends."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        self._start_clock()
        self._flush()

    def _has_ended(self) -> bool:
        return self._ended or self._close_notify_seen

    def _incoming(self, data: bytes) -> None:
        self._from_wire.write(data)
        if not self._established:
            return
        try:
            while not self._close_notify_seen:
                plain = self._tls.read(_READ)
                self._close_notify_seen = not plain
                self.listener(plain)
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:
            self._close_notify_seen = True

    def _flush(self) -> None:
        while data := self._to_wire.read():
            self._push(data)
