"""Whatever is in a row, its CEF line says it, and nothing else: by hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jc
import pycef
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.cef.render import LONGEST_LINE, render
from tasks.plugin.fields import CEF_ORDER, CEF_PREFIX, FIELDS, Field
from tests.cef.decode import decode, is_forbidden
from tests.cef.events import ROWS, TEXTS, Row, event, table

if TYPE_CHECKING:
    from datetime import datetime

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SHORTENED_FIRST = ("cs6", "cs5", "msg")
PREFIX = ("dvc", "dhost", "duser", "src", "fname", "rt", "dst")


def shown(text: str, limit: int | None) -> tuple[str, bool]:
    """What a text is on the other side, and whether that is a cut."""
    cut = limit is not None and len(text) > limit
    if limit is not None and cut:
        text = text[: limit - 1] + "…"
    kept = (
        " " if c == "\t" else c if c in "\r\n" or not is_forbidden(c) else "\ufffd" for c in text
    )
    return "".join(kept), cut


def as_rt(time: datetime) -> str:
    """Write a time as `rt`, without the locale's help."""
    return f"{MONTHS[time.month - 1]} {time.day:02} {time.year:04} {time:%H:%M:%S} UTC"


def expected(row: Row) -> tuple[dict[str, str], dict[str, str], bool]:
    """Header, pairs (in any order) and truncation that the rules give for a row."""
    header = {"version": "0", "product": "CPHalo"}
    pairs: dict[str, str] = {}
    truncated = False
    for field in FIELDS:
        value = row.get(field.name)
        if field.cef is None:
            continue
        text, cut = as_text(value, field)
        truncated |= cut
        if field.header:
            name = "device_version" if field.header == "version" else field.header
            header[name] = text.replace("\r", " ").replace("\n", " ")
        elif text and field.ipv6 and ":" in text:
            pairs |= {field.ipv6[0]: text, f"{field.ipv6[0]}Label": field.ipv6[1]}
        elif text:
            pairs[field.cef] = text
            if field.label:
                pairs[f"{field.cef}Label"] = field.label
    return header, pairs, truncated


def as_text(value: Any, field: Field) -> tuple[str, bool]:
    """A column's value as text, as the receiver is to read it."""
    if value is None:
        return "", False
    if field.type == "string":
        return shown(value, field.limit)
    return (as_rt(value) if field.type.startswith("timestamp") else str(value)), False


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_decoded_by_an_independent_parser(rows: list[Row]) -> None:
    """Every line decodes to the values of its row up to the stated rules, whatever is beside it."""
    check_decoded(rows)


def check_decoded(rows: list[Row]) -> None:
    """Render rows together and apart, decode the lines, and compare."""
    rendered = render(table(*rows))
    lines = rendered.lines.to_pylist()
    assert lines == [render(table(row)).lines[0].as_py() for row in rows]
    for row, line, truncated in zip(rows, lines, rendered.truncated.to_pylist(), strict=True):
        header, pairs, cut = expected(row)
        decoded = decode(line)
        if len(line.encode()) > LONGEST_LINE - 4:
            continue  # perhaps cut as a whole: that has a test of its own
        assert decoded.header == header
        assert dict(decoded.pairs) == pairs
        assert len(decoded.pairs) == len(pairs)
        assert truncated == cut


@pytest.mark.soak
@pytest.mark.timeout(1800)
@given(st.lists(ROWS, min_size=1, max_size=4))
@settings(max_examples=5_000)
def test_decoded_at_length(rows: list[Row]) -> None:
    """The same, for some thousand examples."""
    check_decoded(rows)


@given(ROWS)
def test_one_line_without_control_characters(row: Row) -> None:
    """A line is one line for every splitter, and holds nothing that a terminal would obey."""
    line = render(table(row)).lines[0].as_py()
    assert line.splitlines() == [line]
    assert not any(map(is_forbidden, line))
    assert len(line.encode()) <= LONGEST_LINE
    assert line.startswith("CEF:0|")


@given(ROWS)
def test_order_of_keys(row: Row) -> None:
    """The prefix that plugins read comes first, in its order, with no other key in between."""
    keys = [key for key, _ in decode(render(table(row)).lines[0].as_py()).pairs]
    prefix = [key for key in PREFIX if key in keys]
    assert keys[: len(prefix)] == prefix
    assert tuple(field.cef for field in CEF_PREFIX) == PREFIX
    order = [field.cef for field in CEF_ORDER]
    declared = [key for key in keys if key in order]
    assert declared == [key for key in order if key in keys]
    for at, key in enumerate(keys):
        if key.endswith("Label"):
            assert keys[at - 1] + "Label" == key


LONG = st.sampled_from(["😀", "=", "\x00", "é\\", "x", "\n"]).flatmap(
    lambda unit: st.integers(0, 4500).map(lambda times: unit * times)
)


@given(st.fixed_dictionaries({field.name: LONG for field in CEF_ORDER if field.type == "string"}))
def test_lines_that_are_too_long(row: Row) -> None:
    """A line over 60,000 bytes is cut to fit, values from their ends, in the stated order."""
    _, pairs, _ = expected(row)
    rendered = render(table(row))
    line = rendered.lines[0].as_py()
    size = len(line.encode())
    assert size <= LONGEST_LINE
    got = dict(decode(line).pairs)
    assert list(got) == [key for key, _ in decode(line).pairs]
    assert set(got) == set(pairs)
    cut = {key for key in got if got[key] != pairs[key]}
    for key in cut:
        assert got[key].endswith("…")
        assert pairs[key].startswith(got[key][:-1])
    if cut:
        assert rendered.truncated[0].as_py()
        # as much is kept as fits: one more character of the last one cut would be too many
        assert size > LONGEST_LINE - 7
    spent = [key for key in SHORTENED_FIRST if key in got and len(got[key].encode()) <= 3]
    for at, key in enumerate(SHORTENED_FIRST):
        if key in cut:
            assert {*SHORTENED_FIRST[:at]} & got.keys() <= {*spent}
    if cut - {*SHORTENED_FIRST}:
        assert {*SHORTENED_FIRST} & got.keys() <= {*spent}


HEADER_TEXT = st.text(st.characters(exclude_characters="\\|=\t\r\n ", codec="utf-8"), min_size=1)


@given(TEXTS, HEADER_TEXT, st.lists(TEXTS, min_size=3, max_size=3))
def test_third_party_parsers(message: str, name: str, others: list[str]) -> None:
    r"""PyPI's `pycef` and `jc` read the same keys and values.

    Their rules: no header field holds `\`, `|` or `=`; values stay as they are escaped; a custom
    string is named by its label.
    """
    host, policy, entry = others
    row = event(
        event_name=name,
        event_description=message,
        destination_hostname=host,
        policy=policy,
        original_log_entry=entry,
    )
    line = render(table(row)).lines[0].as_py()
    header, pairs, _ = expected(row)
    values = {key: escaped(value) for key, value in pairs.items() if not key.endswith("Label")}
    labels = {
        key.removesuffix("Label"): value for key, value in pairs.items() if key.endswith("Label")
    }
    named = {labels.get(key, key): value for key, value in values.items()}

    by_pycef = pycef.parse(line)
    assert by_pycef is not None
    assert by_pycef["Name"] == header["name"]
    assert {key: value for key, value in by_pycef.items() if not key[0].isupper()} == named

    [by_jc] = _by_jc(line, raw=True)
    assert by_jc["name"] == header["name"]
    assert by_jc["agentSeverity"] == "9"
    assert {key: by_jc[key] for key in pairs} == values | {
        f"{k}Label": v for k, v in labels.items()
    }


@given(
    st.text(
        st.characters(exclude_categories=["Cc", "Cs", "Z"], exclude_characters="\\", codec="utf-8"),
        min_size=1,
    )
)
def test_third_party_parser_unescapes(message: str) -> None:
    """Without backslashes and outer spaces, `jc` gives the very value back."""
    text, cut = shown(message, 1023)
    assume(not cut)
    [by_jc] = _by_jc(render(table(event(event_description=message))).lines[0].as_py())
    assert by_jc["msg"] == text


def _by_jc(line: str, *, raw: bool = False) -> list[dict[str, Any]]:
    records: Any = jc.parse("cef", line, raw=raw)
    return list(records)


def escaped(text: str) -> str:
    """Escape a value for the extension."""
    for character, replacement in (("\\", "\\\\"), ("=", "\\="), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, replacement)
    return text
