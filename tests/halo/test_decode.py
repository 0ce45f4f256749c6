"""Page bytes → events: no value changed, none lost, whatever is in them."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox import odd_events
from tasks.halo.decode import Page, decode
from tasks.halo.fetched_events import FetchedEvents, parse_created
from tasks.retry_policy import RetryableFault
from tasks.time_window import Window

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
NOON_DAY = Window.of_day(NOON.date())
PLAIN = b'{"id":"a","created_at":"2026-03-04T12:00:00Z"}'

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
items = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["a", "b", "c", ""]) | values,
        "created_at": st.sampled_from(["2026-03-04T12:00:00.123Z", "never"]) | values,
        "type": st.text() | values,
        "critical": st.sampled_from(["true", "False", "x"]) | values,
        "message": values,
    },
)


def page(*texts: bytes, count: bytes = b"1") -> bytes:
    """A page with these items."""
    return b'{"count":' + count + b',"pagination":{},"events":[' + b",".join(texts) + b"]}"


def staged(*texts: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of events and of what is malformed, of a page with these items."""
    fetched = FetchedEvents()
    fetched.add(decode(page(*texts)))
    events, malformed = fetched.tables(NOON_DAY)
    return events.to_pylist(), malformed.to_pylist()


@given(
    given_items=st.lists(items | values, max_size=5),
    escaped=st.booleans(),
    indent=st.sampled_from([None, 2]),
)
@example(
    given_items=[{"id": "a", "created_at": "2026-03-04T12:00:00Z", "message": "\ud800"}],
    escaped=True,
    indent=None,
)
def test_every_item_is_an_event_or_malformed_and_keeps_its_text(
    given_items: list[Any], *, escaped: bool, indent: int | None
) -> None:
    """Any JSON items, as any server writes them: each is staged or put apart, to the byte."""
    texts = []
    for item in given_items:
        text = json.dumps(item, ensure_ascii=escaped, indent=indent)
        texts.append(text.encode("utf-8", "surrogatepass" if escaped else "replace"))
    found = decode(page(*texts))
    kept = [bytes(text) for text in found.texts] + [item.text for item in found.malformed]
    assert sorted(kept) == sorted(texts)
    assert len(found.keys) == len(texts)
    fetched = FetchedEvents()
    fetched.add(found)
    events, malformed = fetched.tables(NOON_DAY)
    keys = events["event_id"].to_pylist() + malformed["event_id"].to_pylist()
    assert set(keys) == set(found.keys)
    assert len(events) == len(set(events["event_id"].to_pylist()))


@pytest.mark.parametrize("name", odd_events.odd(NOON))
def test_odd_events_are_events(name: str) -> None:
    """Big integers, lone surrogates, duplicate keys, deep nesting: staged as they were sent."""
    text = odd_events.odd(NOON)[name]
    (event,), malformed = staged(text)
    assert malformed == []
    assert event["event"].encode() == text
    assert event["created_at"] == NOON


@pytest.mark.parametrize("name", odd_events.malformed(NOON))
def test_malformed_events_say_why(name: str) -> None:
    """What has no id or no date is put apart, with a reason and the whole text."""
    text = odd_events.malformed(NOON)[name]
    (event,), (bad,) = staged(PLAIN, text)
    assert event["event_id"] == "a"
    assert bad["event"].encode() == text
    assert bad["reason"]
    if name in {"no id", "null id", "empty id", "a number", "null"}:
        assert bad["event_id"] == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        b'{"id":"' + b"x" * 257 + b'","created_at":"2026-03-04T12:00:00Z"}',
        b'{"id":["a"],"created_at":"2026-03-04T12:00:00Z"}',
        b'{"id":"\\ud800","created_at":"2026-03-04T12:00:00Z"}',
        b'{"id":"b","created_at":"2026-13-04T12:00:00Z"}',
        b'{"id":"b","created_at":"0000-00-00"}',
        b'{"id":"b","created_at":"0001-01-01T00:00:00+05:00"}',
        b'{"id":"b","created_at":{}}',
        b'{"id":' + b"[" * 20_000 + b"]" * 20_000 + b',"created_at":"2026-03-04T12:00:00Z"}',
        b"{" + b"[" * 20_000 + b"]" * 20_000 + b':1,"id":"b","created_at":"2026-03-04T12:00:00Z"}',
        b'{"id":"b" "created_at":"2026-03-04T12:00:00Z"}',
        b'{"id":"b","created_at":"2026-03-04T12:00:00Z" "name":"c"}',
        b'{"id":"b","created_at":"2026-03-04T12:00:00Z","name"}',
    ],
)
def test_what_cannot_be_staged_costs_no_neighbour(text: bytes) -> None:
    """An item that is no event by any reading is malformed; the ones beside it are staged."""
    other = PLAIN.replace(b'"a"', b'"z"')
    events, malformed = staged(PLAIN, text, other)
    assert [event["event_id"] for event in events] == ["a", "z"]
    assert malformed[0]["event"].encode() == text


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-03-04T12:00:00Z", 0),
        ("2026-03-04T12:00:00.5Z", 500_000),
        ("2026-03-04T12:00:00.123Z", 123_000),
        ("2026-03-04T12:00:00.123456Z", 123_456),
        ("2026-03-04T12:00:00.123456789Z", 123_456),
        ("2026-03-04T14:00:00.123+02:00", 123_000),
        ("2026-03-04 12:00:00.123Z", 123_000),
        ("2026-03-04T12:00:00", 0),
    ],
)
def test_dates_of_any_precision_are_read(text: str, micros: int) -> None:
    """None, 3, 6 or more decimals, alone or mixed on a page, are the same moment in columns."""
    event = b'{"id":"b","created_at":"' + text.encode() + b'"}'
    events, malformed = staged(PLAIN, event)
    assert malformed == []
    assert events[1]["created_at"] == NOON.replace(microsecond=micros) == parse_created(text)


@pytest.mark.parametrize(
    ("text", "critical"),
    [
        (b"true", True),
        (b"false", False),
        (b'"True"', True),
        (b'"false"', False),
        (b"null", None),
        (b"1", None),
        (b'"yes"', None),
        (b"[]", None),
    ],
)
def test_critical_is_a_boolean_or_its_name(text: bytes, *, critical: bool | None) -> None:
    """The oldest API sent strings; anything else is no value, and no reason to lose the event."""
    (event,), _ = staged(PLAIN[:-1] + b',"critical":' + text + b"}")
    assert event["critical"] is critical


def test_fields_of_other_types_are_no_values() -> None:
    """A type or name that is no text is null in its column; the event's text has it."""
    (event,), _ = staged(PLAIN[:-1] + b',"type":["x"],"name":{}}')
    assert (event["type"], event["name"]) == (None, None)


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    """Raw is valid UTF-8, whatever an event holds; nothing else of it changes."""
    events, _ = staged(PLAIN[:-1] + b',"message":"\xff\xfe!"}', PLAIN.replace(b"a", b"\xc3", 1))
    assert events[0]["event"].endswith('"message":"\ufffd\ufffd!"}')
    assert events[1]["event_id"] == "\ufffd" or len(events) == 2
    _, (malformed,) = staged(b'{"id":"a","created_at":"never","message":"\xff"}')
    assert malformed["event"].endswith('"message":"\ufffd"}')


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (b"0", 0),
        (b"1234", 1234),
        (b'"1234"', 1234),
        (b"null", None),
        (b"-1", None),
        (b"12.5", None),
        (b'"many"', None),
        (b"[]", None),
        (b"1" * 30, None),
    ],
)
def test_count_is_a_number_or_absent(text: bytes, count: int | None) -> None:
    """A count that is none is as good as absent."""
    assert decode(page(PLAIN, count=text)).count == count
    assert decode(b'{"events":[]}').count is None


def test_no_events_may_be_null() -> None:
    """Servers without empty lists say null; without a count of 0 that is a fault."""
    assert decode(b'{"count":0,"events":null}') == Page(0, [], [], [], [])
    with pytest.raises(RetryableFault):
        decode(b'{"events":null}')


@given(st.integers(0, 300), st.sampled_from([b"", b"null", b'"x', b"]", b"<html>"]))
def test_a_body_that_is_cut_off_is_never_a_page(cut: int, rest: bytes) -> None:
    """However much of a page arrives, less than all of it is a fault and no events."""
    whole = page(PLAIN, b'{"id":"b","created_at":"x","m":"{[\\"]}"}', PLAIN)
    with pytest.raises(RetryableFault):
        decode(whole[: min(cut, len(whole) - 1)] + rest)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no page"),
        (b"<html></html>", "HTML"),
        (b"[]", "no object"),
        (b'{"error":"internal"}', "internal"),
        (b'{"error":"internal","count":0,"events":[]}', "internal"),
        (b'{"count":0,"events":[],"errors":[{"code":500}]}', "500"),
        (b'\xef\xbb\xbf{"count":0,"events":[],"error":{"code":500}}', "500"),
        (b'{"events":{}}', "no array"),
        (b'{"events":[]}{"events":[]}', "follows"),
        (b'{"events":[1}]', "match"),
        (b"{1:2}", "string"),
    ],
)
def test_what_is_no_page_is_a_fault_in_words(body: bytes, words: str) -> None:
    """An error inside a 200, HTML, or nothing: said as it is, to be asked again."""
    with pytest.raises(RetryableFault, match=words):
        decode(body)


@pytest.mark.parametrize("none", [b"null", b"[]", b"{}", b"false", b'""'])
def test_an_error_that_is_none_is_no_fault(none: bytes) -> None:
    """A page may say that it has no error."""
    assert decode(b'{"error":' + none + b"," + page(PLAIN)[1:]).keys == ["a"]


def test_a_byte_order_mark_is_no_fault() -> None:
    """A page that begins with one is read."""
    assert decode(b"\xef\xbb\xbf" + page(PLAIN)).keys == ["a"]
