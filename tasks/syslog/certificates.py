"""Certificates of a destination that expire soon: the receiver's, and those in its files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from tasks.redaction import LONGEST_PATH, foreign_text
from tasks.syslog.tls import TlsOptions

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.syslog.destination import Destination

SOON = timedelta(days=14)
"""How long before a certificate expires it is to be renewed."""


class Expiring(NamedTuple):
    """A certificate that has expired, or soon will.

    Attributes:
        whose: Which one: "the receiver's certificate", or the option and its file.
        until: When it expires, in UTC.
        remedy: What to do.
    """

    whose: str
    until: datetime
    remedy: str


def expiring(
    destination: Destination, receiver: datetime | None = None, within: timedelta = SOON
) -> list[Expiring]:
    """The certificates of a destination that expire within a time, those that have included.

    Nothing is connected. A file that cannot be read is left out, because a delivery names it.

    Args:
        destination: Any; only one of TLS has certificates.
        receiver: Until when the receiver's certificate is valid, as the `certificate_until` of a
            transport that has connected; None if it is not known.
        within: How soon.
    """
    found = []
    if receiver is not None:
        found.append(Expiring("the receiver's certificate", receiver, "renew it on the receiver"))
    if isinstance(destination, TlsOptions):
        if destination.cert is not None and (ends := _ends(destination.cert)):
            whose = f"the client certificate, cert={_shown(destination.cert)}"
            found.append(Expiring(whose, min(ends), "have it renewed, and replace the file"))
        # Others in the file may do for the receiver's certificate while one of them is valid.
        if destination.ca is not None and (ends := _ends(destination.ca)):
            whose = f"the authority, ca={_shown(destination.ca)}"
            found.append(Expiring(whose, max(ends), "replace the file by the authority's new one"))
    return [one for one in found if one.until - datetime.now(UTC) < within]


def _shown(file: Path) -> str:
    return foreign_text(file, LONGEST_PATH)


def _ends(file: Path) -> list[datetime]:
    """When each certificate in a PEM file expires; empty for a folder and for other files."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return [one.not_valid_after_utc for one in load_pem_x509_certificates(file.read_bytes())]
    except (OSError, ValueError):
        return []
