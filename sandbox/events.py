"""A seeded generator of realistic Halo events: every known type, any number, over any range.

The same (number, range, seed, account) gives the same events, byte for byte; an account keeps its
servers, users and policies over all ranges and numbers of one seed.

What is generated from: the event catalogue (`tasks/plugin/event_types.csv`), one message a type
(`event_messages.csv`), log entries by program (`log_lines.toml`). Fields as Halo's clients know
them; about a fifth of the events carry an `original_log_entry`.
"""

from __future__ import annotations

import csv
import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from sandbox.event_times import calendar, iso, moments
from sandbox.halo_query import microseconds
from sandbox.inventory import Inventory, Words, inventory, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    Draw = Callable[[], float]

_HERE = Path(__file__).parent
_CATALOGUE = _HERE.parent / "tasks" / "plugin" / "event_types.csv"

_LOG_SHARE = 0.2
LOG_TYPE = "lids_rule_failed"
"""The type of the events that have an `original_log_entry`."""

# the JSON of each group of fields, by its letter in event_messages.csv
_GROUPS = {
    "s": "%(server_fields)s",
    "a": "%(actor_fields)s",
    "b": '"actor_username":null,"actor_key_id":"%(key)s","actor_key_label":"%(label)s",'
    '"actor_ip_address":"%(ip)s","actor_country":"%(country)s"',
    "p": '"policy_name":"%(policy)s","rule_name":"%(rule)s",'
    '"rule_reference_identifiers":%(references)s',
    "f": '"object_name":"%(object)s","scan_id":"%(scan)s","finding_id":"%(finding)s"',
    "l": '"policy_name":"%(policy)s","rule_name":"%(rule)s","original_log_entry":"%(log)s",'
    '"additional_details":%(details)s',
    "u": '"target_username":"%(target)s","server_account_username":"%(target)s",'
    '"server_account_id":"%(finding)s"',
    "t": '"target_username":"%(target)s"',
    "k": '"api_key_id":"%(key)s","api_key_label":"%(label)s"',
    "v": '"package_name":"%(package)s","package_version":"%(package_version)s",'
    '"cpe":"%(cpe)s","cves":%(cves)s',
    "d": '"daemon_version":"%(version)s","previous_daemon_version":"%(old_version)s"',
    "n": '"server_new_ip_address":"%(new_ip)s","server_old_ip_address":"%(old_ip)s"',
    "i": '"image_name":"%(image)s","registry_name":"registry.example.com"',
    "c": '"csp_account_name":"%(csp)s","csp_provider":"AWS","csp_resource":"%(resource)s"',
}
# what the API says of the groups that an event is not about
_ABSENT = {
    "s": '"server_id":null,"server_hostname":null,"server_platform":null,"server_group_name":null,'
    '"server_group_id":null,"server_ip_address":null,"server_reported_fqdn":null',
    "a": '"actor_username":null,"actor_ip_address":null,"actor_country":null',
    "p": '"policy_name":null,"rule_name":null,"rule_reference_identifiers":null',
    "f": '"object_name":null',
    "d": '"daemon_version":"%(version)s"',
    "v": '"cves":[]',
}
_REPLACES = {"b": "a", "l": "p", "t": "u"}


class _Type(NamedTuple):
    template: str
    critical: float
    kind: str
    log: bool


class _Family(NamedTuple):
    name: str
    rule: str
    lines: tuple[str, ...]


def generate(
    n: int,
    since: datetime,
    until: datetime,
    seed: int = 0,
    account: str = "alpha",
    *,
    critical: Literal["bool", "string"] = "bool",
    decimals: Sequence[int] = (3, 3, 3, 3, 6, 6, 0),
    burst: float = 0.1,
) -> Iterator[dict[str, Any]]:
    """Events of one account, oldest first, with `since <= created_at < until`.

    Args:
        n: how many; from 182 on every type of the catalogue is among them.
        since: the range's beginning.
        until: its end, not included.
        seed: of the random numbers.
        account: whose servers, users and policies.
        critical: JSON's true and false, or the strings of the oldest API ("true", "True").
        decimals: how many digits of a second `created_at` has, drawn evenly from these.
        burst: share of the events that have the `created_at` of the one before.

    Yields:
        Events as `json.loads` would give them.

    Raises:
        ValueError: an empty or backward range.
    """
    for _, body in generate_encoded(
        n, since, until, seed, account, critical=critical, decimals=decimals, burst=burst
    ):
        yield orjson.loads(body)


def generate_encoded(
    n: int,
    since: datetime,
    until: datetime,
    seed: int = 0,
    account: str = "alpha",
    *,
    critical: Literal["bool", "string"] = "bool",
    decimals: Sequence[int] = (3, 3, 3, 3, 6, 6, 0),
    burst: float = 0.1,
) -> Iterator[tuple[int, bytes]]:
    """The same events as `generate`, as (`created_at` in microseconds since 1970, JSON)."""
    start, end = microseconds(since), microseconds(until)
    if start >= end:
        raise ValueError(f"no time between {since} and {until}")
    random = Random(f"{seed}/{account}/{n}/{start}/{end}")
    yes, no = (("true",), ("false",)) if critical == "bool" else (_YES, _NO)
    types = list(_types().values())
    usual = [kind for kind in types if not kind.log]
    logged = _types()[LOG_TYPE]
    forced = (
        dict(zip(random.sample(range(n), len(types)), types, strict=True))
        if (n >= len(types))
        else {}
    )
    known = inventory(seed, account)
    draw = random.random
    for at, packed in enumerate(moments(random, n, (start, end), decimals, burst)):
        moment, digits = divmod(packed, 10)
        kind = forced.get(at)
        if kind is None:
            kind = logged if draw() < _LOG_SHARE else usual[int(draw() * len(usual))]
        words = _words(draw, known, kind)
        identity = f"{random.getrandbits(128):032x}"
        words["id"] = identity
        words["finding"] = identity[::-1]
        words["scan"] = identity[16:] + words["server_id"][:16]
        words["created_at"] = iso(moment, digits)
        choices = yes if draw() < kind.critical else no
        words["critical"] = choices[int(draw() * len(choices))]
        if kind.log:
            _add_log(draw, words, moment)
        yield moment, (kind.template % words).encode()


_YES = ('"true"', '"True"')
_NO = ('"false"', '"False"')


def types() -> list[str]:
    """Every event type of the catalogue."""
    return list(_types())


def _words(draw: Draw, known: Inventory, kind: _Type) -> Words:
    words = known.servers[int(draw() * len(known.servers))].copy()
    words.update(known.actors[int(draw() * len(known.actors))])
    words.update(known.things[int(draw() * len(known.things))])
    policies = known.policies.get(kind.kind) or known.policies["sca"]
    words.update(policies[int(draw() * len(policies))])
    return words


def _add_log(draw: Draw, words: Words, moment: int) -> None:
    families = _families()[words["platform"]]
    family = families[int(draw() * len(families))]
    seconds, day, clock = calendar(moment)
    last = int(draw() * 254) + 1
    words.update(
        rule=family.rule,
        ip=f"{_NETWORKS[int(draw() * 3)]}.{last}",
        ip6=f"2001:db8:{last:x}::{int(draw() * 65_535) + 1:x}",
        dip=words["server_ip"] if ":" not in words["server_ip"] else words["primary_ip"],
        port=str(1024 + int(draw() * 64_000)),
        dport=_PORTS[int(draw() * len(_PORTS))],
        bytes=str(40 + int(draw() * 1_400)),
        pid=str(300 + int(draw() * 32_000)),
        number=str(10_000 + int(draw() * 900_000)),
        mac=_MAC,
        stamp=f"{day.syslog} {clock}",
        clf=f"{day.web}:{clock} +0000",
        iso=f"{day.iso}T{clock}Z",
        epoch=str(seconds),
    )
    user = _LOGINS[int(draw() * len(_LOGINS))]
    words["user"] = user
    words["log"] = family.lines[int(draw() * len(family.lines))] % words
    words["details"] = f'{{"family":"{family.name}","matches":{last % 7 + 1}}}'


_NETWORKS = ("203.0.113", "198.51.100", "192.0.2")
_PORTS = ("22", "23", "80", "443", "445", "1433", "3306", "3389", "5432", "6379", "8080", "27017")
_LOGINS = ("root", "admin", "oracle", "ubuntu", "postgres", "git", "test", "jenkins", "deploy")
_MAC = "02:42:ac:11:00:02:02:42:5e:8a:1b:77:08:00"


@cache
def _types() -> dict[str, _Type]:
    with _CATALOGUE.open(encoding="utf-8", newline="") as handle:
        names = {row["type"]: row["portal_name"] for row in csv.DictReader(handle)}
    found = {}
    with (_HERE / "event_messages.csv").open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            name = row["type"]
            portal = names[name] or name.replace("_", " ").capitalize()
            found[name] = _Type(
                _template(name, portal, row["message"], row["about"]),
                0.6 if row["critical"] == "1" else 0.02,
                name.partition("_")[0],
                "l" in row["about"],
            )
    return {name: found[name] for name in names}


def _template(name: str, portal: str, message: str, about: str) -> str:
    covered = set(about) | {_REPLACES.get(letter, letter) for letter in about}
    groups = [_GROUPS[letter] for letter in about]
    groups += [text for letter, text in _ABSENT.items() if letter not in covered]
    return (
        f'{{"id":"%(id)s","type":"{name}","name":"{quoted(portal)}",'
        f'"message":"{quoted(message)}","created_at":"%(created_at)s","critical":%(critical)s,'
        + ",".join(groups)
        + "}"
    )


@cache
def _families() -> dict[str, list[_Family]]:
    with (_HERE / "log_lines.toml").open("rb") as handle:
        said = tomllib.load(handle)["family"]
    found: dict[str, list[_Family]] = {"Linux": [], "Windows": []}
    for family in said:
        lines = tuple(quoted(line) for line in family["lines"])
        found[family["platform"]].append(_Family(family["name"], family["rule"], lines))
    return found
