"""What the normalizer is compared with: one event at a time, as the vendor's connectors do it."""

from __future__ import annotations

import html
import ipaddress
import re
from typing import TYPE_CHECKING, Any

import orjson

from tasks.plugin.fields import CEF_ORDER, PRODUCT, Field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    Event = dict[str, Any]

_TAG = re.compile(r"<[^>]+>")
_TAKEN = {source for field in CEF_ORDER for source in field.source} | {"name", "critical", "id"}


def lines_of(
    events: Iterable[tuple[str, datetime, Event]],
    device_address: str,
    catalogue: Mapping[str, tuple[str, str]],
) -> list[str]:
    """CEF lines by a dict and an f-string a value; nothing is read out of log entries.

    Args:
        events: The id of each, its time, and what Halo sent.
        device_address: The CEF `dvc`.
        catalogue: Signature id and category by type.
    """
    plan = [
        (field.name, field.cef, f" {field.cef}Label={field.label}" if field.label else "")
        for field in CEF_ORDER
    ]
    lines = []
    for event_id, created_at, event in events:
        signature_id, category = catalogue.get(event["type"], ("999", None))
        row = {field.name: _first(event, field) for field in CEF_ORDER}
        row |= {
            "event_id": event_id,
            "event_receipt_time": created_at.strftime("%b %d %Y %H:%M:%S UTC"),
            "event_description": html.unescape(_TAG.sub("", event["message"])),
            "event_category": category,
            "rep_device_address": device_address,
            "device_direction": 0
            if event.get("actor_username") or event.get("actor_key_id")
            else 1,
            "extras": _extras(event),
        }
        if row["destination_translated_address"] == row["destination_address"]:
            row["destination_translated_address"] = None
        pairs = [
            f"{key}={_escaped(row[column])}{label}"
            for column, key, label in plan
            if row[column] is not None
        ]
        name = (event["name"] or event["type"]).replace("\\", "\\\\").replace("|", "\\|")
        severity = 9 if event["critical"] else 3
        lines.append(
            f"CEF:0|CloudPassage|{PRODUCT}|1.0|{signature_id}|{name}|{severity}|{' '.join(pairs)}"
        )
    return lines


def _first(event: dict[str, Any], field: Field) -> Any:
    for source in field.source:
        value = event.get(source)
        if value and (field.ipv6 is None or _is_address(value)):
            return value
    return None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _extras(event: dict[str, Any]) -> str | None:
    rest = {key: value for key, value in event.items() if key not in _TAKEN and value is not None}
    if event.get("policy_name") and event.get("rule_name"):
        rest["rule_name"] = event["rule_name"]
    return orjson.dumps(rest, option=orjson.OPT_SORT_KEYS).decode() if rest else None


def _escaped(value: Any) -> str:
    return (
        str(value)
        .replace("\\", "\\\\")
        .replace("=", "\\=")
        .replace("\n", "\\n")
        .replace("\r", "\\r")
        .replace("\t", " ")
    )
