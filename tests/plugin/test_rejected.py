"""Events that cannot be gone on with are rejected with a reason, their neighbours kept."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from tasks.plugin.normalize import normalize
from tests.plugin.raw import CREATED, DEVICE, ID, MINIMAL, normalized, raw_table, reason, row


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no event"),
        ("", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("{", "not JSON: Expecting property name enclosed in double quotes: line 1 column 2"),
        ('{"a":1}{"a":2}', "not JSON: Extra data: line 1 column 8 (char 7)"),
        ('{"a":1},{"a":2}', "not JSON: Extra data: line 1 column 8 (char 7)"),
        ("[]", "not a JSON object but a list"),
        ('"text"', "not a JSON object but a str"),
        ("null", "not a JSON object but a NoneType"),
        (b'{"a":"\xff"}', "not UTF-8: invalid start byte at byte 6"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":1 "b":2 "c"}x', "not JSON: Expecting ',' delimiter: line 1 column 8 (char 7)"),
        ('{"a":1,"b"}', "not JSON: Expecting ':' delimiter: line 1 column 11 (char 10)"),
    ],
)
def test_an_event_that_is_none(text: str | bytes | None, why: str) -> None:
    """A text that is no JSON object is rejected with the reason."""
    assert reason(text).startswith(why)


def test_a_value_nested_deeply() -> None:
    """Two hundred levels are no reason to lose an event."""
    nested = "[" * 200 + "1.10" + "]" * 200
    assert row(f'{{"a":{nested}}}')["extras"] == f'{{"a":{nested}}}'


@pytest.mark.parametrize("levels", [254, 300, 100_000])
def test_a_value_nested_too_deeply_is_kept_as_its_text(levels: int) -> None:
    """What is too deep for JSON to be written again is a text; the rest of the event is as ever."""
    nested = "[" * levels + "1.10" + "]" * levels
    event = f'{{"type":"x","message":{nested},"a":{nested},"b":[1.10,"\\ud800"],"n":7.50}}'
    found = row(event)
    assert (found["event_type"], found["event_description"]) == ("x", nested)
    assert found["extras"] == f'{{"a":"{nested}","b":[1.10,"\ufffd"],"n":7.50}}'


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_field_of_halo_nested_to_any_depth(opening: str, closing: str) -> None:
    """A field that is known beforehand is kept alike, wherever Python's limit of recursion lies."""
    for levels in (*range(250, 260), *range(880, 1000)):
        nested = opening * levels + "1.10" + closing * levels
        kept = nested if levels < 254 else json.dumps(nested)
        found = normalized(f'{{"cves":{nested},"cpe":"x"}}', '{"cves":[1.10]}').rows["extras"]
        assert found.to_pylist() == [f'{{"cpe":"x","cves":{kept}}}', '{"cves":[1.10]}']


@pytest.mark.parametrize("bad", ["undefined", "01", "'x'", '"\\x"', "[1,]", "{1:2}", "", "+1"])
def test_a_value_that_is_no_json_is_kept_as_its_text(bad: str) -> None:
    """It costs neither the event nor its other values; in a column of another type it is none."""
    found = row(f'{{"type":"x","name":{bad},"critical":{bad},"actor_ip_address":{bad},"n":7.50}}')
    assert (found["event_type"], found["event_name"]) == ("x", bad or "x")
    assert (found["event_severity"], found["source_address"]) == (3, None)
    assert json.loads(found["extras"]) == {
        "n": 7.5,
        **({"critical": bad, "actor_ip_address": bad} if bad else {}),
    }


def test_controls_that_are_not_escaped_are_taken_as_they_are() -> None:
    """In keys and values; extras escape them."""
    found = row('{"type":"x","message":"a\tb\x00c","k\ne\ty":"\x1b[1m"}')
    assert found["event_description"] == "a\tb\x00c"
    assert found["extras"] == '{"k\\ne\\ty":"\\u001b[1m"}'


def test_a_bad_event_among_good_ones() -> None:
    """A rejected event costs no neighbour: rows keep their order, and its own text is kept."""
    events: list[Any] = [{"id": f"{n:032x}", "type": "x", "name": str(n)} for n in range(1000)]
    bad = {3: "oops", 256: b"\xff{", 511: None, 999: "[1]"}
    for position, text in bad.items():
        events[position] = text
    found = normalized(*events)
    names = found.rows["event_name"].to_pylist()
    assert names == [str(n) for n in range(1000) if n not in bad]
    assert found.rejected["event"].to_pylist() == ["oops", "\ufffd{", None, "[1]"]
    assert found.rejected["event_id"].to_pylist() == [ID] * 4
    assert found.rejected["created_at"].to_pylist() == [CREATED] * 4


def test_rows_without_id_or_time() -> None:
    """A raw row without id or time cannot be followed to the sensor and is rejected."""
    raw = raw_table(MINIMAL, MINIMAL, MINIMAL)
    raw = raw.set_column(0, "event_id", pa.array([None, ID, ID], pa.string()))
    times = pa.array([CREATED, None, CREATED], pa.timestamp("us", tz="UTC"))
    found = normalize(raw.set_column(1, "created_at", times), DEVICE)
    assert found.rows.num_rows == 1
    assert found.rejected["reason"].to_pylist() == ["no event_id", "no created_at"]
