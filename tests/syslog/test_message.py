from __future__ import annotations

import re
import socket
from datetime import UTC, datetime
from urllib.parse import quote

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.deframer import Deframer
from tasks.syslog.message import encode
from tests.syslog.helpers import WHEN, destination

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
RFC3164 = re.compile(
    r"<(\d+)>([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d) (\S+) cpapi: (.*)", re.DOTALL
)
RFC5424 = re.compile(r"<(\d+)>1 (\S{20,27}) (\S+) cpapi - - - (.*)", re.DOTALL)

times = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=UTC)
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))
events = st.lists(st.tuples(texts, times, st.none() | texts), min_size=1, max_size=20)


def encoded(url: str, *events: tuple[str, datetime, str | None]) -> list[bytes]:
    """Each event's framed message."""
    columns = zip(*events, strict=True)
    types = (pa.string(), pa.timestamp("us", tz="UTC"), pa.string())
    arrays = [pa.array(values, kind) for values, kind in zip(columns, types, strict=True)]
    framed: list[bytes] = encode(arrays[0], arrays[1], arrays[2], destination(url)).to_pylist()
    return framed


def clean(host: str | None) -> str:
    """The header's host, by the rule and without Arrow."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "-" for c in host or "")
    return name[:255].rstrip("-.") or socket.gethostname()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("udp://h:514", b"<14>Aug 22 16:24:30 web cpapi: CEF:0|"),
        ("tcp://h:601", b"<14>Aug 22 16:24:30 web cpapi: CEF:0|\n"),
        ("udp://h:602", b"<14>1 2016-08-22T16:24:30.726Z web cpapi - - - CEF:0|"),
        ("tcp://h:602", b"53 <14>1 2016-08-22T16:24:30.726Z web cpapi - - - CEF:0|"),
        ("tls://h:6514?host=a%20b:c", b"<14>Aug 22 16:24:30 a-b-c cpapi: CEF:0|\n"),
        (
            "tls://h:6515?facility=local7&severity=debug",
            b"54 <191>1 2016-08-22T16:24:30.726Z web cpapi - - - CEF:0|",
        ),
    ],
)
def test_known_messages(url: str, message: bytes) -> None:
    """Each format and framing gives the bytes of the reference."""
    assert encoded(url, ("CEF:0|", WHEN, "web")) == [message]


def test_day_is_padded_with_a_space() -> None:
    """RFC 3164 wants a day below ten after a space, and English months whatever the locale."""
    for month, name in enumerate(MONTHS, start=1):
        (message,) = encoded("udp://h:1", ("x", datetime(2026, month, 3, tzinfo=UTC), "h"))
        assert message == f"<14>{name}  3 00:00:00 h cpapi: x".encode()


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("web-", "web"),
        ("web.example.", "web.example"),
        ("-web-1", "-web-1"),
        ("web (old)", "web--old"),
        ("w" * 254 + "-x", "w" * 254),
        *((nothing, socket.gethostname()) for nothing in ("-", "...", " ", "ü.", "", None)),
    ],
)
def test_a_host_ends_in_a_letter_or_digit(host: str | None, shown: str) -> None:
    """What is left of a host ends in no hyphen or dot; where nothing is, it is this machine's."""
    for port, at in ((514, 3), (602, 2)):
        (message,) = encoded(f"udp://h:{port}", ("x", WHEN, host))
        assert message.split(b" ")[at] == shown.encode()
        if host:
            (same,) = encoded(f"udp://h:{port}?host={quote(host)}", ("x", WHEN, "other"))
            assert same == message


def test_microseconds_show_only_where_there_are_some() -> None:
    """RFC 5424 times have three decimals, as Halo's, and six where three would lose something."""
    messages = encoded(
        "udp://h:602",
        ("x", datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC), "h"),
        ("x", datetime(2026, 1, 2, 3, 4, 5, 6007, tzinfo=UTC), "h"),
    )
    assert [message.split()[1] for message in messages] == [
        b"2026-01-02T03:04:05.006Z",
        b"2026-01-02T03:04:05.006007Z",
    ]


@given(events)
@example([("CEF:0|ä€😀", WHEN, "wéb: 1"), ("", WHEN, ""), ("x" * 70_000, WHEN, "h" * 300)])
def test_rfc3164_reads_back(events: list[tuple[str, datetime, str | None]]) -> None:
    """An independent parser gets priority, time, host and the very text back, newline-framed."""
    stream = b"".join(encoded("tcp://h:601", *events))
    assert stream.endswith(b"\n")
    messages = stream.removesuffix(b"\n").split(b"\n")
    assert len(messages) == len(events)
    for message, (text, moment, host) in zip(messages, events, strict=True):
        found = RFC3164.fullmatch(message.decode())
        assert found
        assert found[1] == "14"
        day = (MONTHS.index(found[2]) + 1, *(int(found[n]) for n in (3, 4, 5, 6)))
        assert day == (moment.month, moment.day, moment.hour, moment.minute, moment.second)
        assert found[7] == clean(host)
        assert found[8] == text


@given(events)
@example([("CEF:0|ä€😀", WHEN, "wéb: 1"), ("", WHEN, ""), ("x" * 70_000, WHEN, "h" * 300)])
def test_rfc5424_reads_back(events: list[tuple[str, datetime, str | None]]) -> None:
    """An independent parser gets everything back, the octet counts right for any Unicode."""
    deframer = Deframer()
    messages = deframer.feed(b"".join(encoded("tcp://h:602", *events)))
    assert not deframer.torn
    assert len(messages) == len(events)
    for message, (text, moment, host) in zip(messages, events, strict=True):
        found = RFC5424.fullmatch(message.decode())
        assert found
        assert found[1] == "14"
        assert datetime.fromisoformat(found[2]) == moment
        assert found[3] == clean(host)
        assert found[4] == text


def test_slices_and_chunks() -> None:
    """Sliced and chunked columns encode as the plain ones do."""
    to = destination("tcp://h:602")
    lines = pa.array(["a", "b", "c", "d"])
    times = pa.array([WHEN] * 4, pa.timestamp("us", tz="UTC"))
    hosts = pa.array(["h1", None, "h3", "h4"])
    whole = encode(lines, times, hosts, to)
    assert encode(lines[1:3], times[1:3], hosts[1:3], to) == whole[1:3]
    chunked = pa.chunked_array([lines[:1], lines[1:]])
    assert encode(chunked, times, hosts, to) == whole
    assert len(encode(lines[:0], times[:0], hosts[:0], to)) == 0


@pytest.mark.parametrize(
    ("lines", "moments"), [(["a"], [None]), ([None], [WHEN]), (["a", "b"], [WHEN])]
)
def test_one_of_each_is_needed(lines: list[str | None], moments: list[datetime | None]) -> None:
    """A missing line or time is the caller's mistake and said."""
    with pytest.raises(ValueError, match="one of each"):
        encode(
            pa.array(lines, pa.string()),
            pa.array(moments, pa.timestamp("us", tz="UTC")),
            pa.array(["h"] * len(moments)),
            destination("tcp://h:1"),
        )
