"""When generated events were created, and how the API and log files write it."""

from __future__ import annotations

from array import array
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from sandbox.halo_query import EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SECOND = 1_000_000
_DAY_SECONDS = 86_400
# a scan writes its findings, up to so many, in one millisecond
_SCAN = 300
_SCAN_SHARE = 0.004


class Day(NamedTuple):
    """A date as the API writes it, as syslog does, and as web servers do."""

    iso: str
    syslog: str
    web: str


def moments(
    random: Random, n: int, span: tuple[int, int], decimals: Sequence[int], burst: float
) -> array[int]:
    """So many times in order; each is its microseconds times ten, plus its digits of a second.

    Args:
        random: where the randomness comes from.
        n: how many.
        span: microseconds since 1970, the end not included.
        decimals: how many digits of a second a time may have.
        burst: share of the times that are equal to the one before.
    """
    start, end = span
    draw = random.random
    spread = array("q", sorted(start + int(draw() * (end - start)) for _ in range(n)))
    found = array("q")
    left = packed = 0
    for moment in spread:
        if found and (left > 0 or draw() < burst):
            left -= 1
        else:
            digits = decimals[int(draw() * len(decimals))]
            cut = moment - moment % 10 ** (6 - digits)
            packed = cut * 10 + digits if cut >= start else moment * 10 + 6
            left = int(draw() * _SCAN) if draw() < burst * _SCAN_SHARE else 0
        found.append(packed)
    return array("q", sorted(found))


def calendar(moment: int) -> tuple[int, Day, str]:
    """Of microseconds since 1970: the whole seconds, the date, and the time of day."""
    seconds = moment // _SECOND
    days, second = divmod(seconds, _DAY_SECONDS)
    minutes, second = divmod(second, 60)
    return seconds, _day(days), f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"


def iso(moment: int, digits: int) -> str:
    """Microseconds since 1970 as the API writes them, with so many digits of a second."""
    _, day, clock = calendar(moment)
    if not digits:
        return f"{day.iso}T{clock}Z"
    return f"{day.iso}T{clock}.{f'{moment % _SECOND:06}'[:digits]}Z"


@cache
def _day(number: int) -> Day:
    day = EPOCH + timedelta(days=number)
    month = _MONTHS[day.month - 1]
    return Day(f"{day:%Y-%m-%d}", f"{month} {day.day:2}", f"{day.day:02}/{month}/{day.year}")
