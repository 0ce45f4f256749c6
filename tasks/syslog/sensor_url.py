"""The sensor URL: `scheme://host:port?option=value&…`; white space separates several."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import ValidationError

from tasks.errors import SettingsError
from tasks.redaction import HIDDEN, foreign_text
from tasks.syslog.destination import address_of
from tasks.syslog.relp import RelpDestination, RelpsDestination
from tasks.syslog.tcp import TcpDestination
from tasks.syslog.tls import TlsDestination
from tasks.syslog.udp import UdpDestination

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from tasks.syslog.destination import Destination

KINDS: Mapping[str, type[Destination]] = {
    "udp": UdpDestination,
    "tcp": TcpDestination,
    "tls": TlsDestination,
    "relp": RelpDestination,
    "relps": RelpsDestination,
}
"""Every kind of destination by its URL scheme."""

_MAX_PORT = 65535
_MAX_HOST = 253


def parse_destinations(text: str, base: Path) -> list[Destination]:
    """Read sensor URLs separated by white space.

    Args:
        text: The setting; blank text gives no destination.
        base: The folder where relative paths in options start.

    Raises:
        SettingsError: A URL or an option cannot be used, a file is missing, or two destinations
            have the same name. Text that may be a secret is not echoed.
    """
    destinations: dict[str, Destination] = {}
    for number, url in enumerate(text.split(), start=1):
        destination = _parse(url, number, base)
        # Two names that differ in case are one folder on some file systems.
        other = destinations.setdefault(destination.name.casefold(), destination)
        if other is not destination:
            raise SettingsError(
                f"sensor {number} ({destination.address}) has the same name as {other.address}: "
                f"{destination.name!r}; give one of them another with name="
            )
    return list(destinations.values())


def _parse(url: str, number: int, base: Path) -> Destination:
    parts = _split(url, number)
    kind = KINDS[parts.scheme]
    scheme, host = parts.scheme, unquote(parts.hostname or "")
    port = _port(parts)
    here = f"sensor {number} ({address_of(scheme, host, port)})"
    options = _options(parts.query, here, kind)
    try:
        return kind.model_validate(
            {"scheme": scheme, "host": host, "port": port, **options}, context=base
        )
    except ValidationError as error:
        faults = [_describe(fault, kind) for fault in error.errors()]
        raise SettingsError(*(f"{here}: {fault}" for fault in faults)) from None


def _describe(fault: ErrorDetails, kind: type[Destination]) -> str:
    """Which option cannot be used, its value, and what it takes."""
    field, value = fault["loc"][0], str(fault["input"])
    [option] = [option for option, sets in kind.options().items() if sets == field]
    shown = HIDDEN if "-----BEGIN" in value else foreign_text(value)
    reason = fault["msg"].removeprefix("Value error, ")
    return f"{option}='{shown}' cannot be used; {reason}"


def _split(url: str, number: int) -> SplitResult:
    """The URL's parts, with a known scheme, a host and a port."""
    here = f"sensor {number}"
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise SettingsError(
            f"{here} is no URL; it should look like tcp://sensor.example:601 "
            "(a space inside a URL is written %20)"
        )
    if scheme.lower() not in KINDS:
        shown = f" {scheme!r}" if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,15}", scheme) else ""
        known = ", ".join(f"{scheme}://" for scheme in KINDS)
        raise SettingsError(f"{here} has an unknown scheme{shown}; use one of {known}")
    try:
        parts = urlsplit(url)
        host, _ = unquote(parts.hostname or ""), parts.port
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
    if not _port(parts):
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


def _port(parts: SplitResult) -> int | None:
    return KINDS[parts.scheme].default_port if parts.port is None else parts.port


def _is_host(host: str) -> bool:
    """Whether it is a name, international or not, or an address; a zone may follow (RFC 6874)."""
    if len(host) > _MAX_HOST or not re.fullmatch(r"[\w.-]+|[0-9A-Fa-f:.]+(%[\w.-]+)?", host):
        return False
    try:
        host.encode("idna")  # as the resolver does; its parts have 1 to 63 characters
    except UnicodeError:
        return False
    return True


def _options(query: str, here: str, kind: type[Destination]) -> dict[str, str]:
    """The values of the query's options, by the field that each of them sets."""
    known = kind.options()
    values: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        # A plus stays a plus: it belongs to a time's offset.
        name, _, value = (unquote(part) for part in item.partition("="))
        if name not in known:
            others = [f"{scheme}://" for scheme, kind in KINDS.items() if name in kind.options()]
            if others:
                only = " or ".join(others)
                raise SettingsError(f"{here} has {name}=, which only {only} knows; leave it out")
            shown = f" {name!r}" if re.fullmatch(r"[A-Za-z_-]{1,20}", name) else ""
            raise SettingsError(
                f"{here} has an unknown option{shown}; known are {', '.join(sorted(known))}"
            )
        if known[name] in values:
            raise SettingsError(f"{here} has the option {name}= twice; keep one")
        if not value:
            raise SettingsError(f"{here} has {name}= without a value; give one or leave it out")
        values[known[name]] = value
    return values
