"""What a text found in a log entry is worth: a valid value of its column, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.plugin.addresses import is_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HIGHEST_PORT = 65_535
_DIGITS_OF_PORT = 5
_DIGITS_OF_BYTES = 18

# IANA's protocol numbers, by the names that packet filters print. Those with ports come first.
_WITH_PORTS = {6: "TCP", 17: "UDP", 33: "DCCP", 132: "SCTP", 136: "UDPLITE"}
_WITHOUT_PORTS = {
    1: "ICMP",
    2: "IGMP",
    4: "IPIP",
    41: "IPV6",
    46: "RSVP",
    47: "GRE",
    50: "ESP",
    51: "AH",
    58: "ICMPV6",
    88: "EIGRP",
    89: "OSPF",
    103: "PIM",
    112: "VRRP",
    115: "L2TP",
}
_BY_NUMBER = {str(number): name for number, name in (_WITH_PORTS | _WITHOUT_PORTS).items()}
_NAMES = frozenset(_BY_NUMBER.values())
_NAMES_WITHOUT_PORTS = frozenset(_WITHOUT_PORTS.values())


def _address(text: str) -> str | None:
    return text if is_address(text) else None


def _port(text: str) -> int | None:
    port = _number(text, _DIGITS_OF_PORT)
    return port if port is None or port <= HIGHEST_PORT else None


def _bytes(text: str) -> int | None:
    return _number(text, _DIGITS_OF_BYTES)


def _number(text: str, digits: int) -> int | None:
    fits = len(text) <= digits and text.isascii() and text.isdigit()
    return int(text) if fits else None


def _protocol(text: str) -> str | None:
    name = _BY_NUMBER.get(text, text.upper())
    return name if name in _NAMES else None


READERS = {
    "source_address": _address,
    "destination_address": _address,
    "source_port": _port,
    "destination_port": _port,
    "transport_protocol": _protocol,
    "bytes_in": _bytes,
}
"""For each derived column: the value that a text stands for, None where it is no valid one."""


Texts = dict[int, str | None]
Values = dict[int, str | int]


def valid(texts: Mapping[str, Texts]) -> dict[str, Values]:
    """The values that texts stand for, by column and row, without those that are not valid.

    A protocol without ports has none, whatever stands where they would.
    """
    values = {column: _values(found, READERS[column]) for column, found in texts.items()}
    for row, protocol in values["transport_protocol"].items():
        if protocol in _NAMES_WITHOUT_PORTS:
            values["source_port"].pop(row, None)
            values["destination_port"].pop(row, None)
    return values


def _values(texts: Texts, reader: Callable[[str], str | int | None]) -> Values:
    read = {text: reader(text) for text in set(texts.values()) if text}
    return {row: value for row, text in texts.items() if text and (value := read[text]) is not None}
