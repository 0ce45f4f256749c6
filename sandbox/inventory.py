"""What an account of the generator owns: servers, users, policies, packages, images.

Everything here is text that is already escaped for a JSON string, keyed by the name of the hole
that it fills in a message, a log line or an event's fields.
"""

from __future__ import annotations

import json
from functools import lru_cache
from random import Random
from typing import NamedTuple

Words = dict[str, str]

_SERVERS = 40
# shares: of Windows servers, and of fields that a server has as null or not at all
_WINDOWS = 0.25
_NULL = 0.15
_ABSENT = 0.15
_GROUPS = ("Production", "Staging", "DMZ — außen", "Payments & Billing", "Büro München", "開発")
_LABELS = ("web", "db", "cache", "mail", "build", "дом", "löschbar", "app <blue>")
_USERS = (
    ("alice@example.com", "203.0.113.7", "DE"),
    ("bob", "198.51.100.23", "US"),
    ("José Núñez", "192.0.2.144", "ES"),
    ("o'brien", "203.0.113.99", "IE"),
    ("chen.wei", "2001:db8:85a3::8a2e:370:7334", "CN"),
    ("svc|deploy=prod", "198.51.100.9", "US"),
    ("CORP\\administrator", "192.0.2.8", "GB"),
    ("zoë@example.org", "2001:db8::c001", "NL"),
)
_TARGETS = ("nagios", "backup", "jdoe", "sysop", "müller", "CORP\\svc-sql", "guest")
_OBJECTS = {
    "Linux": (
        "/etc/passwd",
        "/etc/ssh/sshd_config",
        "/usr/bin/sudo",
        "/var/www/html/index.php",
        "/etc/cron.d/a=b",
        "/opt/app/ä ö|ü.conf",
    ),
    "Windows": (
        "C:\\Windows\\System32\\drivers\\etc\\hosts",
        "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run",
        "C:\\inetpub\\wwwroot\\web.config",
    ),
}
_PACKAGES = (
    ("openssl", "1.1.1k-7", (("CVE-2022-0778", 7.5), ("CVE-2023-0286", 7.4))),
    ("bash", "4.2.46-34", (("CVE-2014-6271", 9.8),)),
    (
        "log4j",
        "2.14.1",
        (("CVE-2021-44228", 10.0), ("CVE-2021-45046", 9.0), ("CVE-2021-45105", 5.9)),
    ),
    ("sudo", "1.8.31-1", (("CVE-2021-3156", 7.8),)),
    ("curl", "7.61.1-18", (("CVE-2023-38545", 9.8),)),
    ("kernel", "4.18.0-305", ()),
)
_IMAGES = ("shop/web:1.4.2", "shop/api:latest", "tools/build:2024-11", "intern/größe:β")
_RESOURCES = (
    "arn:aws:s3:::logs-bucket",
    "arn:aws:ec2:eu-central-1:123456789012:instance/i-0abc",
    "arn:aws:iam::123456789012:user/ci",
)
_RULES = (
    "5.2.10 Ensure that SSH root login is disabled: PermitRootLogin = no",
    "6.1.2 Ensure that permissions on /etc/passwd are 0644 & owned by root",
    "5.4.1.1 Ensure that password expiration is < 365 days for all users",
    '6.1.10 Ensure that no "world" writable files exist | Stufe 1 — Größe',
    "4.1.1.2 Ensure that the auditd service is enabled and running",
    "3.1.1 Ensure that IP forwarding is disabled (IPv4 and IPv6)",
)
_POLICIES = {
    "fim": (
        "Core system files of Linux servers v2.4",
        "Web roots (größer als 1 MB) & configuration",
        "Windows Registry — Run keys = autostart",
    ),
    "firewall": ("Web tier, inbound 80/443", "Database tier = restricted", "Bastion | jump hosts"),
    "lids": ("Core System Linux v3.1", "Windows Security Events v2.1", "Web & mail server logs"),
    "sca": (
        "CIS CentOS Linux 7 Benchmark v2.2.0 Level 1",
        "CIS Windows Server 2019 Benchmark v1.1.0",
        "PCI-DSS 3.2.1 for card holder servers",
    ),
    "km": ("Disk encryption keys", "Backup keys"),
    "portal": ("Portal audit policy",),
    "cloud": ("CIS Amazon Web Services Foundations",),
}
_REFERENCES = ("null", '["CIS 5.2.10","PCI-DSS 2.2.4"]', "[]", '["NIST SP 800-53 AC-6"]')


class Inventory(NamedTuple):
    """One account's belongings; policies by the first word of the event types they are for."""

    servers: list[Words]
    actors: list[Words]
    things: list[Words]
    policies: dict[str, list[Words]]


def quoted(text: str) -> str:
    """Text as it stands inside a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


@lru_cache(maxsize=2048)
def inventory(seed: int, account: str) -> Inventory:
    """The belongings of an account, the same for every call."""
    random = Random(f"{seed}/{account}")
    return Inventory(
        [_server(random, number) for number in range(_SERVERS)],
        [_actor(random, *user) for user in _USERS],
        [_thing(random) for _ in range(64)],
        {
            kind: [_policy(random, name) for name in names for _ in range(3)]
            for kind, names in _POLICIES.items()
        },
    )


def _server(random: Random, number: int) -> Words:
    platform = "Windows" if random.random() < _WINDOWS else "Linux"
    identity = f"{random.getrandbits(128):032x}"
    host = f"{random.choice(('web', 'db', 'app', 'mx', 'build'))}-{number:03}"
    group = random.choice(_GROUPS)
    primary = f"10.{random.randrange(8)}.{random.randrange(256)}.{number + 10}"
    connecting = random.choice(
        (f"203.0.113.{number + 1}", primary, f"2001:db8:{number + 1:x}::1", primary)
    )
    fields: dict[str, str | None] = {
        "server_id": identity,
        "server_hostname": host,
        "server_platform": platform,
        "server_group_name": group,
        "server_group_id": f"{random.getrandbits(128):032x}",
        "server_ip_address": connecting,
        "server_primary_ip_address": primary,
        "server_reported_fqdn": f"{host}.eu-central-1.production.corp.example.com",
        "server_label": random.choice(_LABELS),
        "server_display_name": f"{host} ({group}), {platform} {number % 3 + 20}.04 LTS",
        "ec2_instance_id": f"i-{random.getrandbits(64):016x}",
        "ec2_account_id": f"{random.randrange(10**12):012}",
    }
    for name in ("server_label", "server_reported_fqdn", "ec2_instance_id", "ec2_account_id"):
        lot = random.random()
        if lot < _NULL:
            fields[name] = None
        elif lot < _NULL + _ABSENT:
            del fields[name]
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    objects = _OBJECTS[platform]
    return {
        "server_fields": text[1:-1],
        "server_id": identity,
        "server": quoted(host),
        "host": quoted(host),
        "platform": platform,
        "server_ip": connecting,
        "primary_ip": primary,
        "group": quoted(group),
        "object": quoted(random.choice(objects)),
        "old_ip": primary,
        "new_ip": f"10.9.{random.randrange(256)}.{number + 10}",
    }


def _actor(random: Random, user: str, address: str, country: str) -> Words:
    key = f"{random.getrandbits(32):08x}"
    label = random.choice(("SIEM read-only", "CI / CD", 'audit "2024"'))
    fields = {
        "actor_username": user,
        "actor_ip_address": address,
        "actor_country": country,
        "actor_key_id": None,
        "actor_key_label": None,
    }
    return {
        "actor_fields": json.dumps(fields, ensure_ascii=False, separators=(",", ":"))[1:-1],
        "user": quoted(user),
        "ip": address,
        "country": country,
        "key": key,
        "label": quoted(label),
    }


def _thing(random: Random) -> Words:
    name, version, cves = random.choice(_PACKAGES)
    listed = ",".join(f'{{"CVE":"{cve}","CVSS":{score}}}' for cve, score in cves)
    old = random.randrange(1, 8)
    return {
        "target": quoted(random.choice(_TARGETS)),
        "package": name,
        "package_version": version,
        "cpe": f"cpe:/a:{name}:{name}:{version}",
        "cves": f"[{listed}]",
        "cve": cves[0][0] if cves else "CVE-2024-0001",
        "image": quoted(random.choice(_IMAGES)),
        "csp": "shop-production (123456789012)",
        "resource": random.choice(_RESOURCES),
        "version": f"4.{old + 1}.0",
        "old_version": f"4.{old}.{random.randrange(5)}",
    }


def _policy(random: Random, name: str) -> Words:
    return {
        "policy": quoted(name),
        "rule": quoted(random.choice(_RULES)),
        "references": random.choice(_REFERENCES),
    }
