"""The syslog message around a CEF line, a batch of events at a time.

RFC 3164: ``<14>Aug 22 16:24:30 host cpapi: CEF:0|…``
RFC 5424: ``<14>1 2016-08-22T16:24:30.726Z host cpapi - - - CEF:0|…``, without a byte order mark,
so that ``CEF:`` comes first.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.syslog.framing import FRAMINGS
from tasks.timestamps import rfc3164_times, rfc5424_times

if TYPE_CHECKING:
    from tasks.syslog.destination import Destination

# The tag the old connector used, too: sensors may filter on it.
TAG = "cpapi"
_MAX_HOST = 255


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
    framed = FRAMINGS[destination.framing].frame(parts)
    # Arrow wants at least one column to know the number of rows; the last argument joins nothing.
    return pc.binary_join_element_wise(*framed, "").cast(pa.binary())


def _rfc3164(created_at: pa.Array, hosts: pa.Array, destination: Destination) -> list[Any]:
    host = _hosts(hosts, destination.hostname, f" {TAG}: ")
    return [f"<{destination.priority}>", rfc3164_times(created_at), host]


def _rfc5424(created_at: pa.Array, hosts: pa.Array, destination: Destination) -> list[Any]:
    host = _hosts(hosts, destination.hostname, f" {TAG} - - - ")
    return [f"<{destination.priority}>1 ", rfc5424_times(created_at), host]


_HEADERS = {"rfc3164": _rfc3164, "rfc5424": _rfc5424}


def _one_array(column: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column


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
