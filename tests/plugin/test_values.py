"""Values that are no text, numbers beyond 64 bits, odd characters: all as Halo said it."""

from __future__ import annotations

import json

import pytest

from tests.plugin.raw import ID, normalized, row


def test_extras_are_compact_and_sorted() -> None:
    """Every other non-null field is in extras: compact JSON, keys sorted at every level, UTF-8."""
    found = row(
        '{ "type": "x", "zone" : "b", "cves": [{"CVSS": 7.50, "CVE": "CVE-2016-1"}],\n'
        '"\\u00e4": "\\u00e4\\/\\"", "additional_details": null, "empty": "", "no": false }'
    )
    assert found["extras"] == (
        '{"cves":[{"CVE":"CVE-2016-1","CVSS":7.50}],"empty":"","no":false,"zone":"b","ä":"ä/\\""}'
    )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["a", "b"], '["a","b"]'),
        ({"b": 1, "a": None}, '{"a":null,"b":1}'),
        (42, "42"),
        (0, "0"),
        (False, "false"),
        ([], "[]"),
        ("", None),
        (None, None),
    ],
)
@pytest.mark.parametrize(
    ("source", "column"),
    [
        ("server_reported_fqdn", "destination_fqdn"),
        ("server_hostname", "destination_hostname"),
        ("server_platform", "operating_system"),
        ("actor_username", "actor_username"),
        ("actor_key_id", "actor_key_id"),
        ("object_name", "object_name"),
        ("server_id", "server_id"),
        ("server_group_name", "server_group_name"),
        ("policy_name", "policy"),
        ("message", "event_description"),
        ("original_log_entry", "original_log_entry"),
    ],
)
def test_a_value_that_is_no_text(source: str, column: str, given: object, text: str | None) -> None:
    """A list, an object, a number or a boolean where text is expected becomes compact JSON."""
    found = row({source: given})
    assert found[column] == text
    assert found["extras"] is None


def test_columns_of_mixed_values() -> None:
    """A value that is no text changes its own row only."""
    found = normalized(
        {"type": "a", "message": "text"},
        '{"type":["b"],"message":{"n":1.10}}',
        {"type": None, "message": "<b>bold</b>"},
    ).rows
    assert found["event_type"].to_pylist() == ["a", '["b"]', None]
    assert found["event_action"].to_pylist() == ["a", '["b"]', None]
    assert found["event_description"].to_pylist() == ["text", '{"n":1.10}', "bold"]


@pytest.mark.parametrize(
    "number",
    [
        "1.10",
        "1E5",
        "-0.0",
        "1e400",
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "3.14159265358979323846264338327950288",
        "9" * 5000,
        "0",
        "18446744073709551615",
    ],
)
@pytest.mark.parametrize("value", ["{}", "[{}]", '{{"a":[{}]}}'])
def test_numbers_are_not_changed(number: str, value: str) -> None:
    """Every digit of a number that Halo sent is in its column, or in extras, nested or not."""
    text = value.format(number)
    found = row(f'{{"type":"x","score":{text},"server_group_name":{text}}}')
    assert found["extras"] == f'{{"score":{text}}}'
    assert found["server_group_name"] == text


def test_what_json_does_not_know() -> None:
    """NaN and Infinity, which some writers put into JSON, are kept as their names."""
    assert row('{"a":NaN,"b":[-Infinity]}')["extras"] == '{"a":"NaN","b":["-Infinity"]}'


def test_control_characters_as_they_are() -> None:
    """A control character inside a text is no reason to lose an event."""
    found = row('{"type":"x","message":"a\tb\nc\x00","more":"\x1b"}')
    assert found["event_description"] == "a\tb\nc\x00"
    assert found["extras"] == '{"more":"\\u001b"}'


def test_a_lone_surrogate() -> None:
    """A surrogate without its other half becomes U+FFFD; pairs and escaped backslashes stay."""
    found = row(r'{"message":"\ud800 \ud83d\ude00 \\ud800 \udc00\ud800\u0041","k\udfff":"\uDBFF"}')
    assert found["event_description"] == "\ufffd 😀 \\ud800 \ufffd\ufffdA"
    assert json.loads(found["extras"]) == {"k\ufffd": "\ufffd"}


def test_a_key_that_comes_twice() -> None:
    """Of a key that comes twice the last value counts, as for every JSON reader."""
    found = row('{"type":"x","message":"one","message":"two","a":1.5,"a":2}')
    assert found["event_description"] == "two"
    assert found["extras"] == '{"a":2}'


def test_an_id_that_is_another() -> None:
    """The id an event was staged under is the event's; another in the event is kept in extras."""
    assert row({"id": ID})["extras"] is None
    assert row('{"id":"other"}')["extras"] == '{"id":"other"}'
    assert row('{"id":"other"}')["event_id"] == ID
