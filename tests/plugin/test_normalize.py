"""Each column of the plugin schema, from the Halo fields it is read from."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from tasks.plugin.fields import MAPPING_VERSION, NORMALIZED_SCHEMA, PLUGIN_FIELD_COUNT
from tasks.plugin.normalize import REJECTED_SCHEMA, normalize
from tests.plugin.raw import (
    CREATED,
    DEVICE,
    ID,
    MINIMAL,
    extras,
    normalized,
    raw_table,
    reason,
    row,
)


def test_an_event_of_every_field() -> None:
    """An event with every mapped Halo field fills every column that Halo fields fill."""
    found = row(
        type="fim_target_integrity_changed",
        name="File Integrity change detected",
        message="A change was detected",
        critical=True,
        server_id="5b1d73b63e3711e68ead7f4b70b6c2b8",
        server_hostname="ip-10-2-20-76",
        server_platform="Linux",
        server_group_name="old_smoke",
        server_ip_address="54.183.177.195",
        server_primary_ip_address="10.2.20.76",
        server_reported_fqdn="web.example.com",
        actor_username="jane",
        actor_ip_address="203.0.113.7",
        actor_key_id="ab12cd34",
        policy_name="FIM halo",
        object_name="/etc/passwd",
        original_log_entry="nothing known",
        created_at="2016-08-02T16:24:30.726Z",
    )
    assert found == {
        "bytes_in": None,
        "destination_address": "54.183.177.195",
        "destination_fqdn": "web.example.com",
        "destination_hostname": "ip-10-2-20-76",
        "destination_port": None,
        "device_direction": 0,
        "event_action": "fim_target_integrity_changed",
        "event_description": "A change was detected",
        "event_name": "File Integrity change detected",
        "event_receipt_time": CREATED,
        "event_severity": 9,
        "operating_system": "Linux",
        "policy": "FIM halo",
        "rep_device_address": DEVICE,
        "rep_device_rule_id": "130",
        "rep_device_type": "Unified threat management",
        "rep_device_vendor": "CloudPassage",
        "rep_device_version": "1.0",
        "source_address": "203.0.113.7",
        "source_port": None,
        "transient": False,
        "transport_protocol": None,
        "event_id": ID,
        "created_at": CREATED,
        "event_type": "fim_target_integrity_changed",
        "event_category": "Server Events",
        "actor_username": "jane",
        "actor_key_id": "ab12cd34",
        "object_name": "/etc/passwd",
        "destination_translated_address": "10.2.20.76",
        "server_id": "5b1d73b63e3711e68ead7f4b70b6c2b8",
        "server_group_name": "old_smoke",
        "extras": None,
        "original_log_entry": "nothing known",
    }


def test_the_schema_is_the_declared_one() -> None:
    """Rows have the declared columns, the plugin's 22 first, and the mapping's version."""
    rows = normalized(MINIMAL).rows
    assert rows.schema.equals(NORMALIZED_SCHEMA, check_metadata=True)
    assert rows.schema.names[:PLUGIN_FIELD_COUNT] == sorted(rows.schema.names[:PLUGIN_FIELD_COUNT])
    assert rows.schema.metadata[b"halo_usm.mapping_version"].decode() == MAPPING_VERSION
    rows.validate(full=True)


def test_nothing_in_nothing_out() -> None:
    """No raw rows give two empty tables of the right schemas."""
    found = normalized()
    assert found.rows.schema.equals(NORMALIZED_SCHEMA)
    assert found.rejected.schema.equals(REJECTED_SCHEMA)
    assert found.rows.num_rows == found.rejected.num_rows == 0
    empty_chunk = pa.concat_tables([raw_table().slice(0, 0), raw_table(MINIMAL).slice(1)])
    assert normalize(empty_chunk, DEVICE).rows.num_rows == 0


def test_an_empty_event() -> None:
    """An event without a single field is a row of constants and what its staging knows."""
    found = {name: value for name, value in row("{}").items() if value is not None}
    assert found == {
        "device_direction": 1,
        "event_receipt_time": CREATED,
        "event_severity": 3,
        "rep_device_address": DEVICE,
        "rep_device_rule_id": "999",
        "rep_device_type": "Unified threat management",
        "rep_device_vendor": "CloudPassage",
        "rep_device_version": "1.0",
        "transient": False,
        "event_id": ID,
        "created_at": CREATED,
    }


@pytest.mark.parametrize(
    ("given", "severity", "rest"),
    [
        (True, 9, None),
        ("true", 9, None),
        ("True", 9, None),
        ("TRUE", 9, None),
        (False, 3, None),
        ("false", 3, None),
        (None, 3, None),
        ("", 3, None),
        ("yes", 3, {"critical": "yes"}),
        (1, 3, {"critical": 1}),
        ([True], 3, {"critical": [True]}),
    ],
)
def test_severity(given: object, severity: int, rest: object) -> None:
    """A boolean, or the text of one, makes the severity; anything else is kept in extras."""
    found = row(critical=given)
    assert found["event_severity"] == severity
    assert extras(critical=given) == rest


def test_severity_of_an_event_that_does_not_say() -> None:
    """Without `critical` an event is not critical."""
    assert row('{"type":"x"}')["event_severity"] == 3


@pytest.mark.parametrize(
    ("fields", "direction"),
    [
        ({"actor_username": "jane"}, 0),
        ({"actor_key_id": "ab12"}, 0),
        ({"actor_username": None, "actor_key_id": ""}, 1),
        ({}, 1),
    ],
)
def test_direction(fields: dict[str, Any], direction: int) -> None:
    """Inbound where a person or a key acted, outbound otherwise."""
    assert row(fields)["device_direction"] == direction


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"name": "Server restarted", "type": "server_restarted"}, "Server restarted"),
        ({"name": None, "type": "server_restarted"}, "server_restarted"),
        ({"name": "", "type": "server_restarted"}, "server_restarted"),
        ({"name": None, "type": None}, None),
    ],
)
def test_name(fields: dict[str, Any], name: str | None) -> None:
    """The name, else the type."""
    assert row(fields)["event_name"] == name


@pytest.mark.parametrize(
    ("fields", "policy", "rest"),
    [
        ({"policy_name": "P", "rule_name": "R"}, "P", {"rule_name": "R"}),
        ({"policy_name": None, "rule_name": "R"}, "R", None),
        ({"policy_name": "", "rule_name": "R"}, "R", None),
        ({"rule_name": "R"}, "R", None),
        ({"policy_name": "P"}, "P", None),
        ({"policy_name": 0, "rule_name": "R"}, "0", {"rule_name": "R"}),
        ({}, None, None),
    ],
)
def test_policy(fields: dict[str, Any], policy: str | None, rest: object) -> None:
    """The policy, else the rule; a rule that is not the policy is in extras."""
    assert row(fields)["policy"] == policy
    assert extras(fields) == rest


@pytest.mark.parametrize(
    ("connecting", "primary", "address", "translated", "rest"),
    [
        ("203.0.113.1", "10.0.0.1", "203.0.113.1", "10.0.0.1", None),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1", None, None),
        (None, "10.0.0.1", "10.0.0.1", None, None),
        ("", "10.0.0.1", "10.0.0.1", None, None),
        ("203.0.113.1", None, "203.0.113.1", None, None),
        ("999.0.0.1", "10.0.0.1", "10.0.0.1", None, {"server_ip_address": "999.0.0.1"}),
        (
            "10.0.0.1",
            "unknown",
            "10.0.0.1",
            None,
            {"server_primary_ip_address": "unknown"},
        ),
        ("2001:db8::1", "2001:DB8:0::1", "2001:db8::1", None, None),
        ("2001:db8::1", "2001:db8::2", "2001:db8::1", "2001:db8::2", None),
        ("2001:db8::1", "10.0.0.1", "2001:db8::1", "10.0.0.1", None),
        (167772161, None, None, None, {"server_ip_address": 167772161}),
        (["10.0.0.1"], None, None, None, {"server_ip_address": ["10.0.0.1"]}),
    ],
)
def test_addresses_of_the_server(
    connecting: object, primary: object, address: str | None, translated: str | None, rest: object
) -> None:
    """The connecting address, else the primary one; both where they differ; only valid ones."""
    fields = {"server_ip_address": connecting, "server_primary_ip_address": primary}
    found = row(fields)
    assert found["destination_address"] == address
    assert found["destination_translated_address"] == translated
    assert extras(fields) == rest


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "255.255.255.255",
        "::",
        "::1",
        "2001:db8::7",
        "2001:DB8:0:0:0:0:0:7",
        "::ffff:203.0.113.7",
        "fe80::1%eth0",
    ],
)
def test_a_valid_address(address: str) -> None:
    """Addresses that Python's `ipaddress` knows are kept as Halo wrote them."""
    assert row(actor_ip_address=address)["source_address"] == address


@pytest.mark.parametrize(
    "text",
    [
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.4 ",
        " 1.2.3.4",
        "1.2.3.4\n",
        "1.2.3.4/32",
        "1.2.3.4:80",
        "[2001:db8::7]",
        "2001:db8:::7",
        "12345::",
        "::ffff:203.0.113.07",
        "fe80::1%",
        "fe80::1%eth0 spt=22",
        "fe80::1%eth0\nCEF:0",
        "1.2.3.4%eth0",
        "\u0661.2.3.4",
        "host.example.com",
        "-",
        "1" * 100_000,
        {"ip": "1.2.3.4"},
    ],
)
def test_an_invalid_address(text: object) -> None:
    """What is no address counts as absent and is kept in extras."""
    assert row(actor_ip_address=text)["source_address"] is None
    assert extras(actor_ip_address=text) == {"actor_ip_address": text}


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
    ("number"),
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
        ('{"a":' + "[" * 300 + "]" * 300 + "}", "nested too deeply"),
        ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_an_event_that_is_none(text: str | bytes | None, why: str) -> None:
    """A text that is no JSON object is rejected with the reason."""
    assert reason(text).startswith(why)


def test_a_value_nested_deeply() -> None:
    """Two hundred levels are no reason to lose an event."""
    nested = "[" * 200 + "1.10" + "]" * 200
    assert row(f'{{"a":{nested}}}')["extras"] == f'{{"a":{nested}}}'


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


def test_order_over_many_chunks() -> None:
    """Rows come in the order of the raw table, however many chunks it has."""
    events: list[Any] = [{"id": f"{n:032x}", "type": "x", "name": str(n)} for n in range(5000)]
    raw = raw_table(*events)
    chunked = pa.concat_tables([raw.slice(0, 100), raw.slice(100, 1), raw.slice(101)])
    found = normalize(chunked, DEVICE).rows
    assert found["event_name"].to_pylist() == [str(n) for n in range(5000)]
    assert found.equals(normalize(raw, DEVICE).rows)


def test_columns_a_raw_file_has_besides() -> None:
    """Other columns of the raw table, and the kind of its text, make no difference."""
    raw = raw_table(MINIMAL)
    large = raw.set_column(2, "event", raw["event"].cast(pa.large_string()))
    more = large.append_column("extracted_at", raw["created_at"])
    assert normalize(more, DEVICE).rows.equals(normalize(raw, DEVICE).rows)
