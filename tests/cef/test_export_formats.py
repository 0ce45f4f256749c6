"""LEEF, key=value and JSON lines: the same rows, read back by a parser of each format."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.cef.export_formats import Format, export_chunks, export_lines
from tasks.cef.render import render
from tasks.plugin.fields import CEF_ORDER, FIELDS, Field
from tests.cef.decode import is_forbidden
from tests.cef.events import ROWS, Row, event, table

if TYPE_CHECKING:
    from collections.abc import Callable

FORMATS: tuple[Format, ...] = get_args(Format)
TIME = "devTime=Aug 02 2016 16:24:30.726 UTC"
UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n", "\\r": "\r", "\\t": "\t"}


def line(row: Row, format: Format) -> str:  # noqa: A002 - as `export_lines` names it
    """The line of a row."""
    return str(export_lines(table(row), format)[0].as_py())


def unescape(text: str) -> str:
    """Undo the escapes that LEEF and key=value share."""
    assert re.fullmatch(r'(?:\\[\\"nrt]|[^\\])*', text), f"not escaped: {text!r}"
    return re.sub(r"\\.", lambda hit: UNESCAPED[hit[0]], text)


def replaced(text: str) -> str:
    """Put U+FFFD where LEEF and key=value can't keep a character."""
    return "".join(c if c in "\t\r\n" or not is_forbidden(c) else "\ufffd" for c in text)


def rfc3339(time: datetime) -> str:
    """Write a time as JSON and key=value have it."""
    return time.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def leef_time(time: datetime) -> str:
    """Write a time as `devTimeFormat` says."""
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    clock = f"{time:%H:%M:%S}.{time.microsecond // 1000:03}"
    return f"{months[time.month - 1]} {time.day:02} {time.year:04} {clock} UTC"


def as_text(value: Any, time: Callable[[datetime], str]) -> str:
    """Write a value as LEEF and key=value do."""
    if isinstance(value, datetime):
        return time(value)
    return str(value).lower() if isinstance(value, bool) else replaced(str(value))


def test_leef_by_hand() -> None:
    """LEEF has its own header, the standard keys where there are some, and tabs in between."""
    row = event(
        actor_username="jane",
        source_address="2001:db8::2",
        source_port=51122,
        destination_port=22,
        transport_protocol="TCP",
        policy="a\tb\\c\nd=e",
    )
    assert line(row, "leef").split("\t") == [
        "LEEF:2.0|CloudPassage|CPHalo|1.0|File Integrity change detected|x09|" + TIME,
        "devTimeFormat=MMM dd yyyy HH:mm:ss.SSS z",
        "sev=9",
        "dvc=50.57.180.190",
        "identHostName=ip-10-2-20-76",
        "usrName=jane",
        "src=2001:db8::2",
        "dst=54.183.177.195",
        "type=fim_target_integrity_changed",
        "cat=Server Events",
        "deviceDirection=1",
        "srcPort=51122",
        "dstPort=22",
        "proto=TCP",
        "id=e750d982688411e6b7b32f750f990d28",
        "message=A change was detected",
        "policy=a\\tb\\\\c\\nd=e",
        "name=File Integrity change detected",
        "signature_id=130",
    ]


def test_leef_header_has_no_escapes() -> None:
    """What would end a header field of LEEF is a space there; the whole name is an attribute."""
    header, _, attributes = line(event(event_name="a|b\n" + "c" * 300), "leef").partition("|x09|")
    assert header == "LEEF:2.0|CloudPassage|CPHalo|1.0|a b " + "c" * 250 + "…"
    assert "name=a|b\\n" + "c" * 300 in attributes.split("\t")


def test_key_value_by_hand() -> None:
    """Key=value has every column by its name, in quotes, nulls left out."""
    row = {
        "bytes_in": 40,
        "policy": 'a "b"\\\n',
        "transient": False,
        "event_id": "",
        "extras": "x y=z",
    }
    assert line(row, "kv") == (
        'bytes_in="40" policy="a \\"b\\"\\\\\\n" transient="false" event_id="" extras="x y=z"'
    )


def test_json_by_hand() -> None:
    """JSON has one object a line, numbers and booleans bare, times as RFC 3339, nulls left out."""
    row = {
        "bytes_in": 40,
        "event_receipt_time": datetime(2016, 8, 2, 16, 24, 30, 726_000, UTC),
        "policy": 'a "b"\u2028\u202e\x00é',
        "transient": False,
    }
    assert line(row, "json") == (
        '{"bytes_in":40,"event_receipt_time":"2016-08-02T16:24:30.726000Z",'
        '"policy":"a \\"b\\"\\u2028\\u202e\\u0000é","transient":false}'
    )
    assert line({}, "json") == "{}"


@given(ROWS)
def test_json_keeps_everything(row: Row) -> None:
    """A JSON parser gives every value of the row back, to the last character."""
    present = {name: value for name, value in row.items() if value is not None}
    times = {name: rfc3339(value) for name, value in present.items() if isinstance(value, datetime)}
    assert json.loads(line(row, "json")) == present | times


@given(ROWS)
def test_key_value_decodes(row: Row) -> None:
    """Key=value gives every value back, but for the characters that no line may hold."""
    text = line(row, "kv")
    pairs = re.findall(r'(?:^| )([a-z_]+)="((?:\\.|[^\\"])*)"(?= |$)', text)
    assert " ".join(f'{key}="{value}"' for key, value in pairs) == text
    assert {key: unescape(value) for key, value in pairs} == {
        name: as_text(value, rfc3339) for name, value in row.items() if value is not None
    }


@given(ROWS)
def test_leef_decodes(row: Row) -> None:
    """LEEF gives every attribute back, but for the characters that no line may hold."""
    *header, attributes = line(row, "leef").split("|", 6)
    assert header[0] == "LEEF:2.0"
    assert header[2] == "CPHalo"
    assert header[5] == "x09"
    pairs = dict(pair.split("=", 1) for pair in attributes.split("\t") if pair)
    assert pairs.pop("devTimeFormat", None) == (
        "MMM dd yyyy HH:mm:ss.SSS z" if row.get("event_receipt_time") else None
    )
    columns = {field.leef: field.name for field in FIELDS if field.leef}
    assert {columns[key]: unescape(value) for key, value in pairs.items()} == {
        name: as_text(row[name], leef_time)
        for name in columns.values()
        if row.get(name) is not None and row[name] != ""
    }


@pytest.mark.parametrize("format", FORMATS)
def test_one_line_an_event(format: Format) -> None:  # noqa: A002
    """In every format an event is one line for every splitter, without control characters."""

    @given(st.lists(ROWS, max_size=3))
    @settings(max_examples=30)
    def check(rows: list[Row]) -> None:
        lines = export_lines(table(*rows), format).to_pylist()
        assert lines == [line(row, format) for row in rows]
        for text in lines:
            assert len(text.splitlines()) == (1 if text else 0)
            assert not any(is_forbidden(c) for c in text if (format, c) != ("leef", "\t"))

    check()


def test_cef_is_the_renderers() -> None:
    """Exporting CEF gives the lines that are delivered."""
    events = table(event(), {}, event(event_name="x|y"))
    assert export_lines(events, "cef") == render(events).lines


@pytest.mark.parametrize("format", FORMATS)
def test_chunks(format: Format) -> None:  # noqa: A002
    """Chunks are the lines cut up; without events there are none."""
    events = pa.concat_tables([table(*[event(), {"policy": "a=b"}] * 10)] * 1_000)
    chunks = list(export_chunks(events, format))
    assert len(chunks) > 1
    assert pa.concat_arrays(chunks) == export_lines(events, format)
    assert export_lines(events.slice(0, 0), format) == pa.array([], pa.string())


def test_unknown_format() -> None:
    """A format that is none is refused, with those there are."""
    with pytest.raises(ValueError, match="'xml': use cef, leef, kv or json"):
        export_lines(table(), "xml")  # type: ignore[arg-type]


def test_leef_declares_all_that_cef_carries() -> None:
    """Every field of a CEF line has a LEEF key, no two the same one."""

    def is_carried(field: Field) -> bool:
        in_header = field.header in {"vendor", "version"}
        return field.cef is not None and not in_header

    keys = [field.leef for field in FIELDS if field.leef]
    assert len(keys) == len(set(keys))
    assert {field.name for field in FIELDS if field.leef} == {
        f.name for f in FIELDS if is_carried(f)
    }
    assert set(CEF_ORDER) <= {field for field in FIELDS if field.leef}
