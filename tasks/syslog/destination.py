"""A destination: where events go, and how. Each URL scheme has a subclass in its own module.

A field with a description is an option of the sensor URL. Its name, type, default and meaning are
declared here or in the subclass and nowhere else: the parser, the messages and the README read
them.
"""

from __future__ import annotations

import re
from datetime import datetime  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tasks.errors import SettingsError
from tasks.event_filter import EventFilter
from tasks.syslog.priority import FACILITIES, SEVERITIES
from tasks.time_window import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.syslog.transport import StreamTransport, Transport

# USM Anywhere's listeners for RFC 5424: TCP 602 and TLS 6515.
_RFC5424_PORTS = (602, 6515)
# The ledger's folder is "destination=<name>", and file systems take names below 256 bytes.
_MAX_NAME = 200


def address_of(scheme: str, host: str, port: int | None) -> str:
    """`scheme://host:port`, an IPv6 address in brackets."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def one_of(values: Mapping[str, object]) -> BeforeValidator:
    """Reads one of some words, in upper or lower case, as the value that belongs to it."""

    def read(text: object) -> object:
        if not isinstance(text, str):
            return text
        if text.lower() not in values:
            raise ValueError(f"it takes {', '.join(values)}")
        return values[text.lower()]

    return BeforeValidator(read)


def _matching(pattern: str, meaning: str) -> BeforeValidator:
    """Refuses text of another form, such as the numbers `1e3`, `1_000` and `nan`."""

    def check(text: object) -> object:
        if isinstance(text, str) and not re.fullmatch(pattern, text):
            raise ValueError(f"it takes {meaning}")
        return text

    return BeforeValidator(check)


def _time(text: object) -> object:
    try:
        return parse_time(text) if isinstance(text, str) else text
    except SettingsError:
        raise ValueError(
            "it takes an ISO 8601 time such as 2026-01-31, 2026-01-31T12:00 or "
            "2026-01-31T12:00:00+02:00"
        ) from None


def _types(text: object) -> object:
    """Types separated by commas; which of them exist is the catalogue's to know."""
    if not isinstance(text, str):
        return text
    names = text.split(",")
    if not all(re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name) for name in names):
        raise ValueError(
            "it takes types of events separated by commas, such as "
            "types=halo_login_failure,lids_rule_failed"
        )
    return frozenset(names)


def _usual_format(fields: dict[str, Any]) -> str:
    return "rfc5424" if fields["port"] in _RFC5424_PORTS else "rfc3164"


def _usual_name(fields: dict[str, Any]) -> str:
    address = "{scheme}-{host}-{port}".format_map(fields)
    return re.sub(r"[^a-z0-9_-]", "_", address.lower())[:_MAX_NAME]


_WHOLE_NUMBER = _matching("[0-9]{1,9}", "a whole number such as 500")
_Number = _matching(r"[0-9]{1,9}(\.[0-9]{1,6})?", "a number such as 10 or 2.5")
Rate = Annotated[
    float | None,
    Field(gt=0, le=1_000_000, description="Events a second at most."),
    _Number,
]


class Destination(BaseModel):
    """One sensor, or one of its listeners.

    Attributes:
        acknowledges: Whether the receiver confirms a batch. Without, an event is at best `sent`.
        per_message_outcome: Whether each message of a batch is handed over by itself, so that
            there is no connection whose end takes others along.
        default_port: Of a URL without a port; None where it has to name one.
        host: Name or address, an IPv6 address without its brackets.
        port: 1 to 65535.
        format: `rfc3164` or `rfc5424`.
        facility: 0 to 23 (RFC 5424, table 1).
        severity: 0 to 7 (RFC 5424, table 2).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    acknowledges: ClassVar[bool] = True
    per_message_outcome: ClassVar[bool] = False
    default_port: ClassVar[int | None] = None

    scheme: str
    host: str
    port: int
    # Made of the fields above, so that a fault of another option is not one of these two.
    name: Annotated[
        str,
        _matching(
            rf"[A-Za-z0-9_-]{{1,{_MAX_NAME}}}",
            f"1 to {_MAX_NAME} characters of A-Z a-z 0-9 _ - (it becomes a folder)",
        ),
    ] = Field(
        default_factory=_usual_name,
        description="The ledger's folder; by default `<scheme>-<host>-<port>` in lower case, any "
        "other character as `_`.",
    )
    format: Annotated[str, one_of({"rfc3164": "rfc3164", "rfc5424": "rfc5424"})] = Field(
        default_factory=_usual_format,
        description="Of the syslog header: `rfc3164` or `rfc5424`. By default `rfc5424` on ports "
        "602 and 6515, else `rfc3164`. Over TCP and TLS `rfc3164` is framed by newlines, `rfc5424` "
        "by octet counting.",
    )
    facility: Annotated[int, one_of(FACILITIES)] = Field(
        "user", validate_default=True, description="Syslog facility, such as `local0`."
    )
    severity: Annotated[int, one_of(SEVERITIES)] = Field(
        "info", validate_default=True, description="Syslog severity, such as `notice`."
    )
    hostname: str | None = Field(
        None,
        title="host",  # the URL's own host is another field
        description="Host in the syslog header; each event's own by default.",
    )
    batch: Annotated[int, _WHOLE_NUMBER] = Field(
        1000, ge=1, le=1_000_000, description="Events that are confirmed together."
    )
    timeout: Annotated[float, _Number] = Field(
        10.0, gt=0, le=3600, description="Seconds for connecting, sending and closing each."
    )
    rate: Rate = None
    since: Annotated[datetime | None, BeforeValidator(_time)] = Field(
        None,
        description="ISO 8601 time. Older events are not delivered. A new destination gets the "
        "whole staging by default.",
    )
    types: Annotated[frozenset[str] | None, BeforeValidator(_types)] = Field(
        None,
        description="Deliver only events of these types, as Halo spells them: a comma list. What "
        "is left out is staged all the same, and counted as `excluded`.",
    )
    critical: Annotated[bool | None, one_of({"true": True})] = Field(
        None, description="`true` delivers only critical events; with `types`, both must hold."
    )

    @classmethod
    def options(cls) -> dict[str, str]:
        """The options of the URL by name, with the field that each of them sets."""
        fields = cls.model_fields.items()
        return {field.title or name: name for name, field in fields if field.description}

    @property
    def takes(self) -> EventFilter:
        """Which events are delivered here."""
        return EventFilter(self.since, self.types or frozenset(), bool(self.critical))

    @property
    def priority(self) -> int:
        """The number in front of a syslog message (RFC 5424, 6.2.1)."""
        return self.facility * 8 + self.severity

    @property
    def framing(self) -> str:
        """A key of `tasks.syslog.framing.FRAMINGS`."""
        return "octet" if self.format == "rfc5424" else "newline"

    @property
    def address(self) -> str:
        """`scheme://host:port`, as people write it."""
        return address_of(self.scheme, self.host, self.port)

    def check_files(self) -> None:
        """See that the files that the options name can be used; nothing is connected.

        Raises:
            SettingsError: One of them cannot.
        """

    def open_transport(self) -> Transport:
        """Make the transport that delivers here; nothing is connected yet.

        Raises:
            SettingsError: The files that the options name cannot be used.
        """
        raise NotImplementedError


class StreamDestination(Destination):
    """A destination that several connections may lead to at once."""

    connections: Annotated[int, _WHOLE_NUMBER] = Field(
        1,
        ge=1,
        le=16,
        description="Batches that are sent at the same time, 16 at most, on a connection each: for "
        "receivers that are far away. With more than one, events may arrive out of order.",
    )

    def open_transport(self) -> StreamTransport[Any]:
        """See :class:`Destination`."""
        raise NotImplementedError
