"""The normalizer once more: an event at a time, in the plainest Python, from the plugin's page.

It leaves out what is told by log entries and messages, and HTML; everything else must agree.
"""

from __future__ import annotations

import csv
import ipaddress
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import tasks.plugin
from tests.plugin.raw import CREATED, DEVICE

_FOLDER = Path(tasks.plugin.__file__).parent


def _lines(name: str) -> list[str]:
    return (_FOLDER / name).read_text("utf-8").splitlines()


_TYPES = {row["type"]: row for row in csv.DictReader(_lines("event_types.csv"))}
_NAMES = dict(csv.reader(_lines("event_names.csv")))


def numbers_as_written(text: str) -> Any:
    """JSON with its numbers as decimals, so that nothing is rounded when two are compared."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=str)


def expected(text: str, event_id: str) -> dict[str, Any]:
    """The row of an event, its extras parsed (an empty object where it has none)."""
    event = {key: value for key, value in numbers_as_written(text).items() if value is not None}
    rest = dict(event)

    def take(*sources: str) -> str | None:
        for source in sources:
            value = event.get(source)
            if value is not None and value != "":
                rest.pop(source, None)
                return value if isinstance(value, str) else _compact(value)
            rest.pop(source, None)
        return None

    def address(source: str) -> str | None:
        value = event.get(source)
        if value == "" or _is_address(value):
            del rest[source]
        return value if value and _is_address(value) else None

    critical = event.get("critical")
    if isinstance(critical, bool) or str(critical).lower() in ("true", "false", ""):
        rest.pop("critical", None)
    connecting, primary = address("server_ip_address"), address("server_primary_ip_address")
    row: dict[str, Any] = {
        "bytes_in": None,
        "destination_port": None,
        "source_port": None,
        "transport_protocol": None,
        "destination_fqdn": take("server_reported_fqdn"),
        "destination_hostname": take("server_hostname"),
        "event_action": take("type"),
        "event_type": take("type"),
        "event_name": take("name", "type"),
        "event_description": take("message"),
        "event_receipt_time": CREATED,
        "created_at": CREATED,
        "event_id": event_id,
        "event_severity": 9 if str(critical).lower() == "true" and critical != "" else 3,
        "operating_system": take("server_platform"),
        "policy": take("policy_name", "rule_name"),
        "rep_device_address": DEVICE,
        "rep_device_type": "Unified threat management",
        "rep_device_vendor": "CloudPassage",
        "rep_device_version": "1.0",
        "transient": False,
        "actor_username": take("actor_username"),
        "actor_key_id": take("actor_key_id"),
        "object_name": take("object_name"),
        "server_id": take("server_id"),
        "server_group_name": take("server_group_name"),
        "original_log_entry": take("original_log_entry"),
        "source_address": address("actor_ip_address"),
        "destination_address": connecting or primary,
        "destination_translated_address": _if_another(primary, connecting or primary),
    }
    known = _TYPES.get(row["event_type"] or "", {})
    by_name = _NAMES.get((row["event_name"] or "").lower())
    row["rep_device_rule_id"] = known.get("signature_id") or by_name or "999"
    row["event_category"] = known.get("category")
    row["device_direction"] = 0 if row["actor_username"] or row["actor_key_id"] else 1
    rest.pop("created_at", None)
    if rest.get("id") == event_id:
        del rest["id"]
    return row | {"extras": rest}


def _compact(value: Any) -> str:
    if isinstance(value, Decimal):
        raise TypeError("a number's text is not kept here")
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def _is_address(value: Any) -> bool:
    if not isinstance(value, str) or re.search(r"[^A-Za-z0-9.:%_~-]", value):
        return False
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _if_another(address: str | None, other: str | None) -> str | None:
    if address and other and ipaddress.ip_address(address) == ipaddress.ip_address(other):
        return None
    return address
