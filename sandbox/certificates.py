"""A throw-away certificate authority: never for anything but loopback."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """PEM files of a certificate and its private key."""

    cert: Path
    key: Path


class Authority:
    """Issues certificates into a folder.

    Args:
        folder: Where the PEM files go; made if missing.
        name: Tells several authorities apart.

    Attributes:
        cert: The authority's own certificate, what ``ca=`` takes.
    """

    def __init__(self, folder: Path, name: str = "sandbox authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key.public_key(), datetime.now(UTC), 2 * _DAY)
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        ).add_extension(_usage(signs_certificates=True), critical=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.cert = folder / f"{name.replace(' ', '-')}.pem"
        self.cert.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))

    def issue(
        self,
        *names: str,
        valid_from: datetime | None = None,
        days: float = 2,
        client: bool = False,
        password: bytes | None = None,
    ) -> Certificate:
        """A certificate for host names and addresses, or for a client.

        Args:
            names: Host names and IP addresses; the first names the files, too.
            valid_from: Beginning of its validity, a day ago by default.
            days: How long it is valid.
            client: For TLS clients instead of servers.
            password: Encrypts the private key.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        begin = valid_from or datetime.now(UTC) - _DAY
        certificate = (
            self._builder(subject, key.public_key(), begin, timedelta(days=days))
            .add_extension(
                x509.SubjectAlternativeName([_alternative(n) for n in names]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        stem = f"{names[0].replace(':', '_')}-{certificate.serial_number:x}"[:60]
        issued = Certificate(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        issued.cert.write_bytes(_pem(certificate))
        issued.key.touch(mode=0o600)
        issued.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(password)
                if password
                else serialization.NoEncryption(),
            )
        )
        return issued

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, begin: datetime, span: timedelta
    ) -> x509.CertificateBuilder:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + span)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(issuer, critical=False)
        )


def server_context(cert: Path, key: Path | None = None) -> ssl.SSLContext:
    """What a TLS server needs to show a certificate; `key` where `cert` does not hold it, too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    return context


def throw_away(folder: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """What a TLS server on loopback needs, and the certificate of its authority."""
    authority = Authority(folder)
    own = authority.issue(host, "localhost")
    return server_context(own.cert, own.key), authority.cert


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
