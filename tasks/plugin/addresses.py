"""Valid IP addresses by the rules of Python's `ipaddress`, checked faster.

IPv4 is four decimal numbers from 0 to 255 without leading zeros; IPv6 is RFC 4291 text, IPv4-mapped
forms included, with an RFC 4007 zone id (`fe80::1%eth0`) of the characters that RFC 6874 allows.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address

_NUMBER = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}){{3}}")
_ZONE = re.compile(r"[A-Za-z0-9._~-]+")
_LONGEST = 64
"""The longest IPv6 text has 45 characters; the rest is for a zone id."""


def is_address(value: object) -> bool:
    """Whether the value is the text of an IPv4 or IPv6 address, nothing before or behind it."""
    return type(value) is str and len(value) <= _LONGEST and _is_address(value)


# Addresses repeat: most of a million events name some thousand of them.
@lru_cache(maxsize=65_536)
def _is_address(text: str) -> bool:
    if _IPV4.fullmatch(text):
        return True
    address, percent, zone = text.partition("%")
    if ":" not in address or (percent and not _ZONE.fullmatch(zone)):
        return False
    try:
        IPv6Address(address)
    except ValueError:
        return False
    return True


def same_address(one: str, other: str) -> bool:
    """Whether two valid addresses are the same, however each is written."""
    if one == other:
        return True
    return ":" in one and ":" in other and IPv6Address(one) == IPv6Address(other)
