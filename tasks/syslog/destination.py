"""The sensor URL: where events go, and how.

``scheme://host:port?option=value&…``; several destinations are separated by white space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from tasks.errors import SettingsError
from tasks.syslog.option_reader import OptionReader
from tasks.syslog.priority import FACILITIES, SEVERITIES

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

SCHEMES = ("udp", "tcp", "tls")
FORMATS = ("rfc3164", "rfc5424")
# USM Anywhere's listeners for RFC 5424: TCP 602 and TLS 6515.
_RFC5424_PORTS = (602, 6515)
_UDP_RATE = 1000.0
_MAX_BATCH = 1_000_000
_MAX_SECONDS = 3600.0
_MAX_RATE = 1_000_000.0
_MAX_PORT = 65535
_MAX_HOST = 253
_TLS_OPTIONS = frozenset({"ca", "cert", "key", "close_notify"})
_OPTIONS = frozenset(
    {
        *("format", "facility", "severity", "host", "batch", "timeout", "rate", "since", "name"),
        *_TLS_OPTIONS,
    }
)


@dataclass(frozen=True)
class Destination:
    """One sensor, or one of its listeners.

    Attributes:
        scheme: ``udp``, ``tcp`` or ``tls``.
        host: Name or address, an IPv6 address without its brackets.
        port: 1 to 65535.
        format: ``rfc3164`` or ``rfc5424``.
        facility: 0 to 23 (RFC 5424, table 1).
        severity: 0 to 7 (RFC 5424, table 2).
        hostname: The syslog header's host; None for each event's own.
        batch: Events a confirmation.
        timeout: Seconds for connecting, sending and closing each.
        rate: Events a second at most; None for as fast as the receiver reads.
        since: Deliver nothing older than this; None for everything staged.
        name: The ledger's folder.
        ca: PEM file or folder of the only authorities to trust; None for the system's.
        cert: PEM file of the client certificate (and its chain).
        key: PEM file of its private key; None where ``cert`` holds both.
        close_notify: Whether the receiver ends TLS with a close_notify (RFC 5425 requires it).
    """

    scheme: str
    host: str
    port: int
    format: str
    facility: int
    severity: int
    hostname: str | None
    batch: int
    timeout: float
    rate: float | None
    since: datetime | None
    name: str
    ca: Path | None
    cert: Path | None
    key: Path | None
    close_notify: bool

    @property
    def priority(self) -> int:
        """The number in front of a syslog message (RFC 5424, 6.2.1)."""
        return self.facility * 8 + self.severity

    @property
    def framing(self) -> str:
        """``none`` for datagrams; on streams ``newline`` for RFC 3164, ``octet`` for RFC 5424."""
        if self.scheme == "udp":
            return "none"
        return "octet" if self.format == "rfc5424" else "newline"

    @property
    def address(self) -> str:
        """``scheme://host:port``, as people write it."""
        return _address(self.scheme, self.host, self.port)


def parse_destinations(text: str, base: Path) -> list[Destination]:
    """Read sensor URLs separated by white space.

    Args:
        text: The setting; blank gives no destination.
        base: Where relative ``ca``, ``cert`` and ``key`` start from.

    Raises:
        SettingsError: A URL or an option that is none, a file that is not there, or two
            destinations with the same name. What is not known to be harmless is not echoed.
    """
    destinations: list[Destination] = []
    names: dict[str, str] = {}
    for number, url in enumerate(text.split(), start=1):
        destination = _parse(url, number, base)
        # Two names that differ in case are one folder on some file systems.
        other = names.setdefault(destination.name.casefold(), destination.address)
        if len(names) == number - 1:
            raise SettingsError(
                f"sensor {number} ({destination.address}) has the same name as {other}: "
                f"{destination.name!r}; give one of them another with name="
            )
        destinations.append(destination)
    return destinations


def _address(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _parse(url: str, number: int, base: Path) -> Destination:
    parts = _split(url, number)
    scheme, host, port = parts.scheme, unquote(parts.hostname or ""), parts.port
    assert port is not None
    here = f"sensor {number} ({_address(scheme, host, port)})"
    reader = OptionReader(_options(parts.query, here, scheme), here, base)
    cert, key = reader.file("cert"), reader.file("key")
    if key and not cert:
        raise reader.error("key", "cert= beside it: a private key alone proves nothing")
    return Destination(
        scheme=scheme,
        host=host,
        port=port,
        format=reader.choice(
            "format", FORMATS, FORMATS[1] if port in _RFC5424_PORTS else FORMATS[0]
        ),
        facility=FACILITIES[reader.choice("facility", FACILITIES, "user")],
        severity=SEVERITIES[reader.choice("severity", SEVERITIES, "info")],
        hostname=reader.text("host"),
        batch=reader.whole("batch", 1000, _MAX_BATCH),
        timeout=reader.number("timeout", _MAX_SECONDS) or 10.0,
        rate=reader.number("rate", _MAX_RATE) or (_UDP_RATE if scheme == "udp" else None),
        since=reader.time("since"),
        name=reader.name(re.sub(r"[^a-z0-9_-]", "_", f"{scheme}-{host}-{port}".lower())),
        ca=reader.file("ca", folder=True),
        cert=cert,
        key=key,
        close_notify=reader.choice("close_notify", ("on", "off"), "on") == "on",
    )


def _split(url: str, number: int) -> SplitResult:
    """The URL's parts, with a known scheme, a host and a port."""
    here = f"sensor {number}"
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise SettingsError(
            f"{here} is no URL; it should look like tcp://sensor.example:601 "
            "(a space inside a URL is written %20)"
        )
    if scheme.lower() not in SCHEMES:
        shown = f" {scheme!r}" if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,15}", scheme) else ""
        raise SettingsError(f"{here} has an unknown scheme{shown}; use udp://, tcp:// or tls://")
    try:
        parts = urlsplit(url)
        host, port = unquote(parts.hostname or ""), parts.port
    except ValueError:
        raise SettingsError(
            f"{here} ({scheme}): its host or port cannot be read; ports are 1 to {_MAX_PORT}, "
            "an IPv6 address stands in brackets: tcp://[2001:db8::1]:601"
        ) from None
    if parts.username is not None or parts.password is not None:
        raise SettingsError(
            f"{here} ({scheme}) has a user or password before its host; syslog knows neither: "
            "leave them out"
        )
    if not _is_host(host):
        raise SettingsError(
            f"{here} ({scheme}) has no usable host; write it like tcp://sensor.example:601"
        )
    if not port:
        raise SettingsError(
            f"{here} ({scheme}://{host}) has no port; USM Anywhere listens on udp 514, "
            "tcp 601 (rfc3164) and 602 (rfc5424), tls 6514 (rfc3164) and 6515 (rfc5424)"
        )
    if parts.path not in ("", "/") or parts.fragment:
        raise SettingsError(
            f"{here} ({scheme}://{host}) has a path or fragment after its port; "
            "options follow a question mark: tcp://sensor.example:601?batch=500"
        )
    return parts


def _is_host(host: str) -> bool:
    """Whether it is a name, international or not, or an address; a zone may follow (RFC 6874)."""
    if len(host) > _MAX_HOST or not re.fullmatch(r"[\w.-]+|[0-9A-Fa-f:.]+(%[\w.-]+)?", host):
        return False
    try:
        host.encode("idna")  # as the resolver does; its parts have 1 to 63 characters
    except UnicodeError:
        return False
    return True


def _options(query: str, here: str, scheme: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        # A plus stays a plus: it belongs to a time's offset.
        name, _, value = (unquote(part) for part in item.partition("="))
        if name not in _OPTIONS:
            shown = f" {name!r}" if re.fullmatch(r"[A-Za-z_-]{1,20}", name) else ""
            raise SettingsError(
                f"{here} has an unknown option{shown}; known are {', '.join(sorted(_OPTIONS))}"
            )
        if name in options:
            raise SettingsError(f"{here} has the option {name}= twice; keep one")
        if not value:
            raise SettingsError(f"{here} has {name}= without a value; give one or leave it out")
        if name in _TLS_OPTIONS and scheme != "tls":
            raise SettingsError(f"{here} has {name}=, which only tls:// knows; use tls://")
        options[name] = value
    return options
