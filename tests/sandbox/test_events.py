from __future__ import annotations

import csv
import json
import re
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.events import generate, generate_encoded, types
from sandbox.halo_query import microseconds

ROOT = Path(__file__).parents[2]
SINCE = datetime(2026, 3, 14, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=3)


@pytest.fixture(scope="module")
def many() -> list[dict[str, Any]]:
    """Enough events for every kind of value to be among them."""
    return list(generate(20_000, SINCE, UNTIL, seed=7))


def test_deterministic() -> None:
    """The same number, range, seed and account give the same bytes; anything else, others."""
    once = list(generate_encoded(300, SINCE, UNTIL, 1, "alpha"))
    assert once == list(generate_encoded(300, SINCE, UNTIL, 1, "alpha"))
    for other in (
        generate_encoded(300, SINCE, UNTIL, 2, "alpha"),
        generate_encoded(300, SINCE, UNTIL, 1, "beta"),
        generate_encoded(301, SINCE, UNTIL, 1, "alpha"),
        generate_encoded(300, SINCE, UNTIL + timedelta(seconds=1), 1, "alpha"),
    ):
        assert not {body for _, body in other} & {body for _, body in once}


def test_both_forms_agree() -> None:
    """The dicts are what the JSON says, and each comes with its `created_at`."""
    encoded = list(generate_encoded(500, SINCE, UNTIL))
    decoded = list(generate(500, SINCE, UNTIL))
    assert [json.loads(body) for _, body in encoded] == decoded
    for (moment, _), event in zip(encoded, decoded, strict=True):
        assert microseconds(datetime.fromisoformat(event["created_at"])) == moment


def test_every_type(many: list[dict[str, Any]]) -> None:
    """Every type of the catalogue comes, from 182 events on, with the portal's name."""
    with (ROOT / "tasks/plugin/event_types.csv").open(newline="") as handle:
        names = {row["type"]: row["portal_name"] for row in csv.DictReader(handle)}
    assert set(types()) == set(names)
    assert {event["type"] for event in generate(182, SINCE, UNTIL)} == set(names)
    for event in many:
        assert event["name"] == names[event["type"]] or not names[event["type"]]
        assert event["name"]


@settings(max_examples=40)
@given(
    n=st.integers(0, 400),
    start=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    span=st.timedeltas(timedelta(microseconds=1), timedelta(days=90)),
    seed=st.integers(0, 5),
)
def test_range(n: int, start: datetime, span: timedelta, seed: int) -> None:
    """As many events as asked for, in order, none outside `[since, until)`, ids unique."""
    events = list(generate(n, start, start + span, seed))
    times = [datetime.fromisoformat(event["created_at"]) for event in events]
    assert len({event["id"] for event in events}) == n
    assert times == sorted(times)
    assert all(start <= moment < start + span for moment in times)


def test_empty_range() -> None:
    """An empty or backward range is refused."""
    with pytest.raises(ValueError, match="no time between"):
        next(generate(1, UNTIL, SINCE))


def test_shape(many: list[dict[str, Any]]) -> None:
    """Events are flat, of 22 to 32 keys and about a kilobyte, a fifth with a log entry."""
    sizes = [len(json.dumps(event, ensure_ascii=False).encode()) for event in many]
    assert 850 < mean(sizes) < 1150
    assert 22 < mean(len(event) for event in many) < 28
    assert 0.18 < mean(bool(event.get("original_log_entry")) for event in many) < 0.22
    for event in many:
        assert re.fullmatch("[0-9a-f]{32}", event["id"])
        assert isinstance(event["critical"], bool)
        assert isinstance(event["message"], str)


def test_values_vary(many: list[dict[str, Any]]) -> None:
    """HTML, entities, other scripts, nulls, absent fields, lists, IPv6: all of them come."""
    text = "\n".join(event["message"] for event in many)
    for sign in ("<strong>", "&quot;", "&amp;", "&rarr;", '"', "José", "müller", "=", "\\", "|"):
        assert sign in text
    servers = [event for event in many if event.get("server_id")]
    assert {event["server_platform"] for event in servers} == {"Linux", "Windows"}
    for name in ("server_label", "server_reported_fqdn", "ec2_instance_id"):
        kinds = Counter(type(event.get(name, ...)).__name__ for event in servers)
        assert set(kinds) == {"str", "NoneType", "ellipsis"}
    assert any(":" in event["server_ip_address"] for event in servers)
    cves = [event["cves"] for event in many if event.get("cves")]
    assert all(set(item) == {"CVE", "CVSS"} for listed in cves for item in listed)
    assert {event["critical"] for event in many} == {True, False}


def test_times(many: list[dict[str, Any]]) -> None:
    """Times have 0, 3 or 6 decimals; many are equal, sometimes hundreds of them."""
    decimals = {len(event["created_at"].partition(".")[2].rstrip("Z")) for event in many}
    assert decimals == {0, 3, 6}
    same = Counter(event["created_at"] for event in many)
    assert sum(n for n in same.values() if n > 1) > 0.1 * len(many)
    assert max(same.values()) > 50
    whole = generate(50, SINCE, UNTIL, decimals=[0], burst=0)
    assert all(re.fullmatch(r"[^.]+Z", event["created_at"]) for event in whole)


def test_critical_as_the_oldest_api_sent_it() -> None:
    """By option `critical` is a string, in both spellings."""
    said = {event["critical"] for event in generate(500, SINCE, UNTIL, critical="string")}
    assert said == {"true", "True", "false", "False"}


def test_log_entries(many: list[dict[str, Any]]) -> None:
    """Every family of log entries comes, whole; Windows events are well-formed XML."""
    logs: dict[str, list[str]] = {}
    for event in many:
        if event.get("original_log_entry"):
            family = event["additional_details"]["family"]
            logs.setdefault(family, []).append(event["original_log_entry"])
            assert (family == "windows") == (event["server_platform"] == "Windows")
    assert set(logs) == {
        "sshd", "netfilter", "ufw", "firewalld", "nftables", "apache", "nginx", "windows", "sudo",
        "su", "pam", "vsftpd", "postfix", "haproxy", "cisco", "auditd", "application",
    }  # fmt: skip
    for lines in logs.values():
        assert not any("%(" in line or "{" + "}" in line for line in lines)
    found = {
        element.text
        for line in logs["windows"]
        for element in fromstring(line).iter()
        if element.tag.endswith("EventID")
    }
    assert found == {"4624", "4625", "4776", "5156"}
    sshd = "\n".join(logs["sshd"])
    for said in ("Failed password", "Accepted", "Invalid user", "disconnect", "2001:db8:"):
        assert said in sshd
    assert any("\n\tat " in line for line in logs["application"])


def test_speed() -> None:
    """Generating costs well below 100 microseconds of CPU an event, whatever else runs here."""
    list(generate_encoded(200, SINCE, UNTIL))
    started = time.process_time()
    for _ in generate_encoded(5_000, SINCE, UNTIL):
        pass
    assert (time.process_time() - started) / 5_000 < 100e-6
