"""What log entries and messages tell beyond Halo's own fields."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import pytest

from tasks.plugin.derive import DERIVED, derive
from tasks.plugin.derive.families import Family, families
from tasks.plugin.derive.windows_event_log import LONGEST_DATA
from tests.plugin.raw import row

EXAMPLES = [
    pytest.param(family, text, expected, id=f"{family.name}-{number}")
    for family in families()
    for number, (text, expected) in enumerate(family.examples)
]


def told(text: str, source: str = "log") -> dict[str, Any]:
    """What a log entry, or a message, tells."""
    texts, nothing = pa.array([text], pa.string()), pa.nulls(1, pa.string())
    columns = derive(texts, nothing) if source == "log" else derive(nothing, texts)
    return {name: column[0].as_py() for name, column in columns.items() if column[0].is_valid}


@pytest.mark.parametrize(("family", "text", "expected"), EXAMPLES)
def test_examples(family: Family, text: str, expected: dict[str, Any]) -> None:
    """Every example beside a family gives the columns it names, and no others."""
    assert told(text, family.source) == expected


@pytest.mark.parametrize(("family", "text", "expected"), EXAMPLES)
def test_examples_among_other_lines(family: Family, text: str, expected: dict[str, Any]) -> None:
    """A log entry of several lines gives what the line gives that a pattern knows."""
    assert told(f"Something happened\n{text}\nSomething else", family.source) == expected


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_every_family_has_examples(family: Family) -> None:
    """A family has an example that tells something."""
    assert any(expected for _, expected in family.examples)


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_time_is_linear(family: Family) -> None:
    """100,000 characters made of a family's own lines take less than 2 s, however cut."""
    for text, _ in family.examples:
        for unit in (text, text[: len(text) // 2], text.replace("\n", " ")[:-1], ": from 1.1.1.1 "):
            entry = text[: len(text) // 2] + unit * (100_000 // len(unit)) + family.marker[0]
            started = time.process_time()
            told(entry, family.source)
            assert time.process_time() - started < 2, unit


def test_columns() -> None:
    """Each derived column has its declared type, and is null where nothing is told."""
    columns = derive(pa.array([None, "nothing"], pa.string()), pa.array(["nothing", None]))
    assert {name: column.type for name, column in columns.items()} == DERIVED
    assert all(column.null_count == 2 for column in columns.values())


def test_halo_fields_win() -> None:
    """Addresses that Halo names are not replaced; ports, protocol and bytes come from the line."""
    line = "kernel: IN=eth0 OUT= SRC=203.0.113.9 DST=10.0.0.5 LEN=60 PROTO=TCP SPT=1 DPT=22"
    found = row(
        original_log_entry=line, actor_ip_address="198.51.100.1", server_ip_address="192.0.2.80"
    )
    assert (found["source_address"], found["destination_address"]) == ("198.51.100.1", "192.0.2.80")
    assert (found["source_port"], found["destination_port"]) == (1, 22)
    assert (found["transport_protocol"], found["bytes_in"]) == ("TCP", 60)
    assert found["destination_translated_address"] is None


def test_the_line_where_halo_says_nothing() -> None:
    """Addresses of a line stand in where Halo has none, or an invalid one."""
    line = "kernel: IN=eth0 OUT= SRC=203.0.113.9 DST=10.0.0.5 LEN=60 PROTO=TCP SPT=1 DPT=22"
    found = row(
        original_log_entry=line, actor_ip_address="unknown", server_primary_ip_address="unknown"
    )
    assert (found["source_address"], found["destination_address"]) == ("203.0.113.9", "10.0.0.5")


def test_the_log_entry_wins_over_the_message() -> None:
    """The message is asked only for an address that the log entry does not tell."""
    found = row(
        message="matched, logged in from IP address 192.0.2.1",
        original_log_entry="Failed password for root from 203.0.113.7 port 51122 ssh2",
    )
    assert found["source_address"] == "203.0.113.7"
    found = row(
        message="matched, logged in from IP address 192.0.2.1",
        original_log_entry="%ASA-6-302014: Teardown TCP connection 1 for a:b to c:d bytes 5",
    )
    assert (found["source_address"], found["bytes_in"]) == ("192.0.2.1", 5)


def test_an_address_behind_html() -> None:
    """HTML around the address in a message does not hide it."""
    found = row(message="by jane from IP address <strong>203.0.113.9</strong>&nbsp;(USA)")
    assert found["source_address"] == "203.0.113.9"


@pytest.mark.parametrize(
    "entry",
    [
        "<EventData>" + "<a>" * 20_000 + "</EventData>",
        "<EventData>" + "x" * LONGEST_DATA + "<Data Name='IpAddress'>1.2.3.4</Data></EventData>",
        "<EventData><!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>&a;</EventData>",
        "<EventData><Data Name='IpAddress'>&a;</Data></EventData>",
        "</EventData><EventData>",
        "<EventData",
        "<EventData><Data Name='IpAddress'>1.2.3.4</Data></EventData >",
        "<EventData><Data Name='IpAddress'>1.2.3.4</EventData>",
        "<EventData><Data>1.2.3.4</Data><IpAddress>1.2.3.4</IpAddress></EventData>",
        "<EventData><Data Name='IpPort'>\u0664</Data></EventData>",
        "<EventDatas><Data Name='IpAddress'>1.2.3.4</Data></EventData>",
    ],
)
def test_xml_that_is_not_to_be_read(entry: str) -> None:
    """What is broken, too long, or wants an entity tells nothing and opens nothing."""
    assert not told(entry)


def test_entities_before_the_event() -> None:
    """A document type in front of an event, whatever it declares, is not read."""
    bomb = "".join(f'<!ENTITY a{n} "&a{n - 1};&a{n - 1};">' for n in range(1, 40))
    document = f'<?xml version="1.0"?><!DOCTYPE Event [<!ENTITY a0 "1">{bomb}]><Event><EventData>'
    data = (
        "<Data Name='IpPort'>&a39;</Data><Data Name='IpAddress'>1.2.3.4</Data></EventData></Event>"
    )
    assert not told(document + data)


def test_references_that_xml_itself_has() -> None:
    """Character references and XML's five own entities are read."""
    data = "<Data Name='IpAddress'>203.0.113&#46;9</Data><A>&lt;&amp;</A>"
    assert told(f"<EventData>{data}</EventData>") == {"source_address": "203.0.113.9"}


@pytest.mark.parametrize("others", ["", "<A/>", "<Data Name='x'>&amp;</Data>", "<!-- -->"])
def test_data_beside_other_xml(others: str) -> None:
    """Data is read alike, whether or not it stands beside XML that is not as plain."""
    data = (
        "<Data Name='IpAddress'> ::1 </Data>\n<Data Name=\"IpPort\">22</Data><Data Name=''>x</Data>"
    )
    found = told(f"<EventData>{data}{others}</EventData>")
    assert found == {"source_address": "::1", "source_port": 22}


@pytest.mark.parametrize(
    "character", ["\x01", "\x7f", "]]>", "'", '"', "é", "\ufffe", "\x85", "\t"]
)
def test_characters_in_xml(character: str) -> None:
    """Plain data and data that a parser has to read obey the same rules of XML."""
    data = f"<Data Name='A'>{character}</Data><Data Name='IpPort'>22</Data>"
    plain = told(f"<EventData>{data}</EventData>")
    assert plain == told(f"<EventData>{data}<A/></EventData>")
    assert bool(plain) == (character not in {"\x01", "]]>", "\ufffe"})


@pytest.mark.parametrize(
    ("port", "value"), [("0", 0), ("65535", 65535), ("65536", None), ("-1", None), ("1e3", None)]
)
def test_ports(port: str, value: int | None) -> None:
    """A port is a number from 0 to 65535, or nothing."""
    line = f"kernel: SRC=203.0.113.9 DST=10.0.0.5 LEN=60 PROTO=UDP SPT={port} DPT=53"
    assert told(line).get("source_port") == value


@pytest.mark.parametrize(
    ("number", "name"),
    [("6", "TCP"), ("17", "UDP"), ("1", "ICMP"), ("58", "ICMPV6"), ("200", None), ("-", None)],
)
def test_protocols_by_number(number: str, name: str | None) -> None:
    """A protocol's number is told by its name, and an unknown one not at all."""
    entry = f"<Event><EventData><Data Name='Protocol'>{number}</Data></EventData></Event>"
    assert told(entry).get("transport_protocol") == name
