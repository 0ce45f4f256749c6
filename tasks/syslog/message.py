"""The syslog message around a CEF line, a batch of events at a time.

RFC 3164: ``<14>Aug 22 16:24:30 host cpapi: CEF:0|…``
RFC 5424: ``<14>1 2016-08-22T16:24:30.726Z host cpapi - - - CEF:0|…``, without a byte order mark,
so that ``CEF:`` comes first.

Times come out of tables of days and of seconds of a day: ``strftime`` costs ten times a message.
"""

from __future__ import annotations

import socket
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.syslog.framing import FRAMINGS

if TYPE_CHECKING:
    from tasks.syslog.destination import Destination

# The tag the old connector used, too: sensors may filter on it.
TAG = "cpapi"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MAX_HOST = 255
_MICROSECONDS = 1_000_000
_MILLISECOND = 1000
_DAY = 86_400
# Times are counted from 0001-01-01, whose ordinal is 1, so that no division sees a negative number.
_EPOCH_DAYS = date(1970, 1, 1).toordinal() - 1


def encode(
    lines: pa.StringArray,
    created_at: pa.TimestampArray,
    hosts: pa.StringArray,
    destination: Destination,
) -> pa.BinaryArray:
    """Put each line into a syslog message, framed as the destination takes it.

    Args:
        lines: CEF text, without line breaks, never null.
        created_at: The events' times, timestamp[us, UTC], never null.
        hosts: The events' own hosts (``dhost``); one without a name becomes this machine's.
        destination: Says format, framing, priority and perhaps the host for all.

    Returns:
        One framed message a line, UTF-8, in the same order. Arrays and chunked arrays are taken;
        an array comes back, of at most 2 GiB. A call costs some 0.3 ms beside its rows: encode
        many batches at once and slice.

    Raises:
        ValueError: A line or a time is null, or the columns differ in length.
        pyarrow.ArrowCapacityError: The messages are more than 2 GiB: encode fewer at once.
    """
    lines, created_at, hosts = (_one_array(column) for column in (lines, created_at, hosts))
    if not len(lines) == len(created_at) == len(hosts) or lines.null_count or created_at.null_count:
        raise ValueError(
            f"{len(lines)} lines ({lines.null_count} null), {len(created_at)} times "
            f"({created_at.null_count} null) and {len(hosts)} hosts: one of each an event is needed"
        )
    parts = [*_HEADERS[destination.format](created_at, hosts, destination), lines]
    framed = FRAMINGS[destination.framing](parts)
    # Arrow wants at least one column to know the number of rows; the last argument joins nothing.
    return pc.binary_join_element_wise(*framed, "").cast(pa.binary())


def _rfc3164(created_at: pa.Array, hosts: pa.Array, destination: Destination) -> list[Any]:
    days, seconds, _ = _split_time(created_at)
    prefix = f"<{destination.priority}>"
    return [
        _by_day(days, lambda day: f"{prefix}{_MONTHS[day.month - 1]} {day.day:2} "),
        _clock().take(seconds),
        _hosts(hosts, destination.hostname, f" {TAG}: "),
    ]


def _rfc5424(created_at: pa.Array, hosts: pa.Array, destination: Destination) -> list[Any]:
    days, seconds, fraction = _split_time(created_at)
    prefix = f"<{destination.priority}>1 "
    return [
        _by_day(days, lambda day: f"{prefix}{day.isoformat()}T"),
        _clock().take(seconds),
        _fraction(fraction),
        _hosts(hosts, destination.hostname, f" {TAG} - - - "),
    ]


_HEADERS = {"rfc3164": _rfc3164, "rfc5424": _rfc5424}


def _one_array(column: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column


def _split_time(created_at: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Days since 0001-01-01, seconds of the day, microseconds of the second."""
    microseconds = pc.add(
        created_at.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()),
        _EPOCH_DAYS * _DAY * _MICROSECONDS,
    )
    seconds = pc.divide(microseconds, _MICROSECONDS)
    days = pc.divide(seconds, _DAY)
    return (
        days,
        pc.subtract(seconds, pc.multiply(days, _DAY)),
        pc.subtract(microseconds, pc.multiply(seconds, _MICROSECONDS)),
    )


def _by_day(days: pa.Array, text: Any) -> pa.Array:
    encoded = days.dictionary_encode()
    texts = [text(date.fromordinal(day + 1)) for day in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(encoded.indices)


@cache
def _clock() -> pa.Array:
    """``hh:mm:ss`` for each second of a day."""
    sixty = [f"{n:02}" for n in range(60)]
    return pa.array([f"{h}:{m}:{s}" for h in sixty[:24] for m in sixty for s in sixty])


@cache
def _milliseconds() -> pa.Array:
    return pa.array([f".{n:03}Z" for n in range(1000)])


def _fraction(microseconds: pa.Array) -> pa.Array:
    """Three decimals, as Halo gives them; six where there is more to say (RFC 5424, 6.2.3)."""
    whole = pc.divide(microseconds, _MILLISECOND)
    text = _milliseconds().take(whole)
    rest = pc.subtract(microseconds, pc.multiply(whole, _MILLISECOND))
    if pc.max(rest).as_py():
        digits = pc.cast(pc.add(microseconds, _MICROSECONDS), pa.string())
        six = pc.binary_join_element_wise(".", pc.utf8_slice_codeunits(digits, 1), "Z", "")
        text = pc.if_else(pc.equal(rest, 0), text, six)
    return text


def _hosts(hosts: pa.Array, fixed: str | None, suffix: str) -> pa.Array | str:
    """A space, the header's host and what follows it.

    A raw space or colon makes receivers misread the program's name, so anything but letters,
    digits, ``.`` and ``-`` becomes ``-``; at most 255 characters (RFC 5424, 6). rsyslog takes a
    host that ends in ``-`` or ``.`` for the program's name, so these go from its end; where
    nothing is left, this machine's name stands.
    """
    if fixed is not None:
        return f" {_clean(pa.array([fixed]))[0]}{suffix}"
    encoded = hosts.dictionary_encode(null_encoding="encode")
    names = _clean(encoded.dictionary.cast(pa.string()))
    return pc.binary_join_element_wise(" ", names, suffix, "").take(encoded.indices)


def _clean(names: pa.Array) -> pa.Array:
    """The names as hosts, this machine's for those that are none."""
    clean = _host_text(names)
    nameless = pc.fill_null(pc.equal(clean, ""), fill_value=True)
    here = _host_text(pa.array([socket.gethostname()]))[0].as_py()
    return pc.if_else(nameless, here or "localhost", clean)


def _host_text(names: pa.Array) -> pa.Array:
    clean = pc.replace_substring_regex(names, pattern=r"[^A-Za-z0-9.\-]", replacement="-")
    return pc.ascii_rtrim(pc.utf8_slice_codeunits(clean, 0, _MAX_HOST), "-.")
