"""Each column of the plugin schema, from the Halo fields it is read from."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tasks.plugin.fields import MAPPING_VERSION, NORMALIZED_SCHEMA, PLUGIN_FIELD_COUNT
from tasks.plugin.normalize import REFUSED_SCHEMA, normalize
from tests.plugin.raw import (
    CREATED,
    DEVICE,
    ID,
    MINIMAL,
    extras,
    normalized,
    raw_table,
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
    assert found.rejected.schema.equals(REFUSED_SCHEMA)
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
