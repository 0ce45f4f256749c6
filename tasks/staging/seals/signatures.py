"""Ed25519 signatures (RFC 8032), with keys in PEM files as OpenSSL writes them.

A key is named by the SHA-256 of its public key in DER (SubjectPublicKeyInfo, RFC 8410), which
`openssl pkey -pubin -in public.pem -outform DER | sha256sum` prints.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.accounts import open_to_others
from tasks.errors import SettingsError, explain
from tasks.redaction import LONGEST_PATH, foreign_text

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )


@dataclass(frozen=True)
class SigningKey:
    """A private key that signs.

    Attributes:
        warning: What is to be said of the rights of its file; "" where they are as they should be.
    """

    _key: Ed25519PrivateKey
    warning: str = ""

    @property
    def name(self) -> str:
        """The SHA-256 of its public key, in hex."""
        return _name(self._key.public_key())

    def sign(self, content: bytes) -> str:
        """The signature of some bytes, in hex."""
        return self._key.sign(content).hex()


@dataclass(frozen=True)
class VerifyingKey:
    """A public key against which signatures are checked."""

    _key: Ed25519PublicKey

    @property
    def name(self) -> str:
        """Its SHA-256, in hex."""
        return _name(self._key)

    def has_signed(self, content: bytes, signature: str) -> bool:
        """Whether a signature, in hex, is that of some bytes."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(bytes.fromhex(signature), content)
        except InvalidSignature:
            return False
        return True


def read_signing_key(path: Path) -> SigningKey:
    """The private key in a PEM file without a password (`openssl genpkey -algorithm ed25519`).

    Raises:
        SettingsError: It cannot be read, or is none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if path.is_fifo():
        raise SettingsError(
            f"--sign: {foreign_text(path, LONGEST_PATH)} is a pipe, which can be read once alone, "
            "and each account needs the key; write the key to a file that you alone can read"
        )
    content = _read(path, "--sign")
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a password
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(
            f"--sign: {foreign_text(path, LONGEST_PATH)} is no Ed25519 private key in PEM without "
            "a password; make one with `openssl genpkey -algorithm ed25519`"
        )
    return SigningKey(key, open_to_others(path))


def read_verifying_key(path: Path) -> VerifyingKey:
    """The public key in a PEM file.

    Raises:
        SettingsError: It cannot be read, or is none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path, "--public-key")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(
            f"--public-key: {foreign_text(path, LONGEST_PATH)} is no Ed25519 public key in PEM; "
            "`openssl pkey -pubout -in KEY` writes that of a private key"
        )
    return VerifyingKey(key)


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{option}: {explain(error, path)}") from None


def _name(key: Ed25519PublicKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()
