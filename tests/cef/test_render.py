"""CEF lines, by hand: what the specification and the plugin's page ask for, rule by rule."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tasks.cef.render import LONGEST_LINE, render
from tasks.plugin.fields import FIELDS, NORMALIZED_SCHEMA
from tests.cef.decode import decode
from tests.cef.events import Row, event, line_of, table, truncated

HEAD = "CEF:0|CloudPassage|CPHalo|1.0|130|File Integrity change detected|9|"
BARE: Row = {"rep_device_vendor": "CloudPassage", "rep_device_version": "1.0"}
BARE_HEAD = "CEF:0|CloudPassage|CPHalo|1.0||||"


def test_an_ordinary_event() -> None:
    """An ordinary event gives the line that the plugin's page describes."""
    assert line_of(event()) == (
        HEAD + "dvc=50.57.180.190 dhost=ip-10-2-20-76 rt=Aug 02 2016 16:24:30 UTC"
        " dst=54.183.177.195 act=fim_target_integrity_changed cat=Server Events deviceDirection=1"
        " externalId=e750d982688411e6b7b32f750f990d28 msg=A change was detected"
    )
    assert not truncated(event())


def test_every_key_in_its_order() -> None:
    """With every column filled, the keys come in the declared order, each label after its key."""
    row = event(
        actor_username="Jane Doe",
        source_address="203.0.113.7",
        object_name="/etc/passwd",
        destination_fqdn="web.example.com",
        source_port=51122,
        destination_port=22,
        transport_protocol="TCP",
        bytes_in=40,
        destination_translated_address="10.2.20.76",
        actor_key_id="ab12cd34",
        policy="FIM halo",
        operating_system="Linux",
        server_id="5b1d73b63e3711e68ead7f4b70b6c2b8",
        server_group_name="old_smoke",
        extras='{"scan_id":"e73"}',
        original_log_entry="sshd[1]: Failed",
    )
    assert line_of(row) == (
        HEAD + "dvc=50.57.180.190 dhost=ip-10-2-20-76 duser=Jane Doe src=203.0.113.7"
        " fname=/etc/passwd rt=Aug 02 2016 16:24:30 UTC dst=54.183.177.195"
        " act=fim_target_integrity_changed cat=Server Events deviceDirection=1"
        " dvchost=web.example.com spt=51122 dpt=22 proto=TCP in=40"
        " destinationTranslatedAddress=10.2.20.76 duid=ab12cd34"
        " externalId=e750d982688411e6b7b32f750f990d28 msg=A change was detected"
        " cs1=FIM halo cs1Label=policy_name cs2=Linux cs2Label=server_platform"
        " cs3=5b1d73b63e3711e68ead7f4b70b6c2b8 cs3Label=server_id"
        " cs4=old_smoke cs4Label=server_group_name"
        ' cs5={"scan_id":"e73"} cs5Label=extras cs6=sshd[1]: Failed cs6Label=original_log_entry'
    )


def test_absent_values_leave_no_key() -> None:
    """Null and empty values leave neither key, label nor space; the header keeps its bars."""
    row = dict.fromkeys((field.name for field in FIELDS if field.type == "string"), "")
    assert line_of(row) == "CEF:0||CPHalo|||||"
    assert line_of({}) == "CEF:0||CPHalo|||||"
    assert line_of(BARE | {"policy": ""}) == BARE_HEAD


@pytest.mark.parametrize("first", ["destination_hostname", "event_id", "original_log_entry"])
def test_no_space_before_the_first_key(first: str) -> None:
    """Whichever key is the first follows the header at once."""
    rows = [BARE | {first: "x"}, event()]
    assert str(render(table(*rows)).lines[0]).startswith(
        BARE_HEAD + decode(line_of(rows[0])).pairs[0][0]
    )


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("back\\slash", "back\\\\slash"),
        ("trailing\\", "trailing\\\\"),
        ("a=b", "a\\=b"),
        ("a\\=b", "a\\\\\\=b"),
        ("a\nb", "a\\nb"),
        ("a\r\nb", "a\\r\\nb"),
        ("a\\nb", "a\\\\nb"),
        ("a|b", "a|b"),
        ("a\tb", "a b"),
        ("a\x00b", "a\ufffdb"),
        ("a\x1b[31mb", "a\ufffd[31mb"),
        ("a\x7fb\x85c\x9fd", "a\ufffdb\ufffdc\ufffdd"),
        ("a\u2028b\u2029c", "a\ufffdb\ufffdc"),
        ("\ufeffa", "\ufffda"),
        ("\u202a\u202b\u202c\u202d\u202e", "\ufffd" * 5),
        ("\u2066\u2067\u2068\u2069", "\ufffd" * 4),
        ("\u2027\u202f\u2065\u206a\xa0\ufefe", "\u2027\u202f\u2065\u206a\xa0\ufefe"),
        ("é “ß” 日本 😀", "é “ß” 日本 😀"),
        ("  spaces  ", "  spaces  "),
        ("   ", "   "),
    ],
)
def test_extension_escapes(value: str, escaped: str) -> None:
    """Every character of a value is escaped, replaced or kept as the format's page says."""
    assert line_of(BARE | {"actor_username": value, "event_id": "1"}) == (
        f"{BARE_HEAD}duser={escaped} externalId=1"
    )


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("a|b", "a\\|b"),
        ("a\\b", "a\\\\b"),
        ("trailing\\", "trailing\\\\"),
        ("a=b", "a=b"),
        ("a\r\nb\tc", "a  b c"),
        ("a\x00\u2028\u202eb", "a\ufffd\ufffd\ufffdb"),
    ],
)
def test_header_escapes(value: str, escaped: str) -> None:
    """In the header the bar is escaped and a line break is a space; the equals sign stays."""
    row = event(event_name=value)
    assert line_of(row).startswith(f"CEF:0|CloudPassage|CPHalo|1.0|130|{escaped}|9|dvc=")


@pytest.mark.parametrize(
    "value",
    ["x\nCEF:0|a|b|1|2|3|4|dst=6.6.6.6", "x dst=6.6.6.6 spt=1", "x\\", "x\r<14>Aug 22 CEF:0|"],
)
def test_injection(value: str) -> None:
    """A value that looks like a line or a key stays a value."""
    row = event(event_description=value, policy="p")
    decoded = decode(line_of(row))
    assert dict(decoded.pairs)["msg"] == value
    assert [key for key, _ in decoded.pairs] == [
        key for key, _ in decode(line_of(event(policy="p"))).pairs
    ]
    assert len(line_of(row).splitlines()) == 1


def test_ipv6() -> None:
    """IPv6 addresses go to their own keys, after the prefix that plugins read by its order."""
    row = BARE | {
        "rep_device_address": "2001:db8::1",
        "destination_hostname": "h",
        "source_address": "2001:db8::2",
        "object_name": "f",
        "destination_address": "2001:db8::3",
        "destination_translated_address": "2001:db8::4",
        "event_action": "a",
        "event_id": "1",
    }
    assert line_of(row) == (
        BARE_HEAD + "dhost=h fname=f c6a1=2001:db8::1 c6a1Label=Device IPv6 Address"
        " c6a2=2001:db8::2 c6a2Label=Source IPv6 Address"
        " c6a3=2001:db8::3 c6a3Label=Destination IPv6 Address act=a"
        " c6a4=2001:db8::4 c6a4Label=Destination Translated IPv6 Address externalId=1"
    )
    mixed = render(table(row, event())).lines.to_pylist()
    assert mixed == [line_of(row), line_of(event())]


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2016, 8, 2, 16, 24, 30, 999_999, UTC), "Aug 02 2016 16:24:30 UTC"),
        (datetime(2024, 2, 29, 23, 59, 59, 0, UTC), "Feb 29 2024 23:59:59 UTC"),
        (datetime(1970, 1, 1, tzinfo=UTC), "Jan 01 1970 00:00:00 UTC"),
        (datetime(1969, 12, 31, 23, 59, 59, 500_000, UTC), "Dec 31 1969 23:59:59 UTC"),
        (datetime(1, 1, 1, tzinfo=UTC), "Jan 01 0001 00:00:00 UTC"),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC), "Dec 31 9999 23:59:59 UTC"),
    ],
)
def test_receipt_time(time: datetime, text: str) -> None:
    """`rt` has an English month, two digits for the day, and whole seconds, never rounded up."""
    assert line_of(BARE | {"event_receipt_time": time}) == f"{BARE_HEAD}rt={text}"


def test_a_year_beyond_9999_has_no_receipt_time() -> None:
    """A year that four digits can't hold leaves no `rt`, and no trace in the rows around it."""
    micros = [0, 2**62, -(2**62), None]
    events = table(*[BARE] * len(micros))
    times = pa.array(micros, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    at = events.column_names.index("event_receipt_time")
    events = events.set_column(at, NORMALIZED_SCHEMA.field(at), times)
    assert render(events).lines.to_pylist() == [
        BARE_HEAD + "rt=Jan 01 1970 00:00:00 UTC",
        *[BARE_HEAD] * 3,
    ]


def test_numbers() -> None:
    """Numbers are written in full, zero and negative ones too."""
    row = BARE | {
        "bytes_in": 2**63 - 1,
        "source_port": 0,
        "device_direction": 0,
        "destination_port": -1,
    }
    assert line_of(row) == f"{BARE_HEAD}deviceDirection=0 spt=0 dpt=-1 in=9223372036854775807"


def test_a_line_fits_into_60000_bytes() -> None:
    """A longer line loses the end of cs6, then cs5, then msg, then of the longest, and says so."""
    wide = {
        "original_log_entry": "😀" * 4000,
        "extras": "😀" * 4000,
        "event_description": "😀" * 1000,
    }
    row = event(**wide, policy="😀" * 4000, server_id="😀" * 2000, operating_system="x")
    pairs = dict(decode(line_of(row)).pairs)
    size = len(line_of(row).encode())
    assert LONGEST_LINE - 4 < size <= LONGEST_LINE
    assert truncated(row)
    assert pairs["cs6"] == "😀" * (len(pairs["cs6"]) - 1) + "…"
    assert pairs["cs5"] == wide["extras"]

    row = event(**wide, **dict.fromkeys(["policy", "server_id", "server_group_name"], "😀" * 4000))
    pairs = dict(decode(line_of(row)).pairs)
    assert len(line_of(row).encode()) <= LONGEST_LINE
    assert pairs["cs6"] == "…"
    assert pairs["cs5"].endswith("😀…")
    assert pairs["msg"] == wide["event_description"]


def test_the_longest_of_the_rest_are_shortened_last() -> None:
    """Where cs6, cs5 and msg are not enough, the longest others give way, and nothing else."""
    long = ["policy", "operating_system", "server_id", "server_group_name"]
    row = event(
        **dict.fromkeys(long, "\x00😀" * 2000),
        **dict.fromkeys(["original_log_entry", "extras", "event_description"], "x"),
        actor_username="😀" * 1023,
        object_name="😀" * 1023,
        destination_hostname="😀" * 1023,
    )
    decoded = decode(line_of(row))
    pairs = dict(decoded.pairs)
    assert LONGEST_LINE - 4 < len(line_of(row).encode()) <= LONGEST_LINE
    assert [pairs[key] for key in ("cs6", "cs5", "msg")] == ["x", "x", "x"]
    assert pairs["cs1"].endswith("…")
    assert [len(pairs[key]) for key in ("cs2", "cs3", "cs4")] == [4000] * 3
    assert pairs["duser"] == "😀" * 1023


def test_a_short_line_is_not_touched_by_a_long_one_beside_it() -> None:
    """A line too long changes no line before or after it."""
    long = event(**{field.name: "=\x00" * 5000 for field in FIELDS if field.type == "string"})
    rendered = render(table(event(), long, event()))
    assert rendered.lines.to_pylist() == [line_of(event()), line_of(long), line_of(event())]
    assert rendered.truncated.to_pylist() == [False, True, False]
