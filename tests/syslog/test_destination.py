from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tasks.errors import SettingsError
from tasks.syslog.relp import RelpsDestination
from tasks.syslog.sensor_url import parse_destinations
from tasks.syslog.tcp import TcpDestination
from tasks.syslog.tls import TlsDestination

if TYPE_CHECKING:
    from pathlib import Path


def test_defaults(tmp_path: Path) -> None:
    """A bare URL gets the documented defaults."""
    assert parse_destinations("tcp://Sensor.Example:601", tmp_path) == [
        TcpDestination(
            scheme="tcp",
            host="sensor.example",
            port=601,
            format="rfc3164",
            facility=1,
            severity=6,
            hostname=None,
            batch=1000,
            connections=1,
            timeout=10.0,
            rate=None,
            since=None,
            types=None,
            critical=None,
            name="tcp-sensor_example-601",
        )
    ]
    [found] = parse_destinations("tls://sensor.example:6514", tmp_path)
    assert isinstance(found, TlsDestination)
    assert (found.ca, found.cert, found.key, found.close_notify) == (None, None, None, True)
    [found] = parse_destinations("relps://relay.example", tmp_path)
    assert isinstance(found, RelpsDestination)
    assert (found.address, found.name) == ("relps://relay.example:2514", "relps-relay_example-2514")
    assert (found.ca, found.acknowledges, found.rate) == (None, True, None)


def test_every_option(tmp_path: Path) -> None:
    """Every option is read, files from the base folder."""
    for name in ("ca.pem", "my cert.pem", "key.pem"):
        (tmp_path / name).touch()
    (found,) = parse_destinations(
        "tls://[2001:db8::1]:6514?format=rfc5424&facility=Local3&severity=WARNING&host=halo"
        "&types=lids_rule_failed,a.b&critical=TRUE&batch=50&connections=8&timeout=2.5&rate=100&since=2026-01-31T12:00:00%2B02:00&name=Main_1"
        "&ca=ca.pem&cert=my%20cert.pem&key=key.pem&close_notify=off",
        tmp_path,
    )
    assert found == TlsDestination(
        scheme="tls",
        host="2001:db8::1",
        port=6514,
        format="rfc5424",
        facility=19,
        severity=4,
        hostname="halo",
        batch=50,
        connections=8,
        timeout=2.5,
        rate=100.0,
        since=datetime(2026, 1, 31, 10, tzinfo=UTC),
        types=frozenset({"lids_rule_failed", "a.b"}),
        critical=True,
        name="Main_1",
        ca=tmp_path / "ca.pem",
        cert=tmp_path / "my cert.pem",
        key=tmp_path / "key.pem",
        close_notify=False,
    )
    assert found.address == "tls://[2001:db8::1]:6514"
    assert found.priority == 19 * 8 + 4


@pytest.mark.parametrize(
    ("url", "form", "framing"),
    [
        ("udp://h:514", "rfc3164", "none"),
        ("relp://h", "rfc3164", "relp"),
        ("tcp://h:601", "rfc3164", "newline"),
        ("tcp://h:602", "rfc5424", "octet"),
        ("tls://h:6514", "rfc3164", "newline"),
        ("tls://h:6515", "rfc5424", "octet"),
        ("udp://h:602", "rfc5424", "none"),
        ("tcp://h:602?format=rfc3164", "rfc3164", "newline"),
    ],
)
def test_format_and_framing_by_port(url: str, form: str, framing: str, tmp_path: Path) -> None:
    """The ports of USM Anywhere choose the format, the format and the scheme the framing."""
    (found,) = parse_destinations(url, tmp_path)
    assert (found.format, found.framing) == (form, framing)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:30", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31T12:30:00Z", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31T12:30:00+02:00", datetime(2026, 1, 31, 10, 30, tzinfo=UTC)),
    ],
)
def test_since(text: str, since: datetime, tmp_path: Path) -> None:
    """A time without an offset is UTC, a bare date its 00:00, and a plus needs no escape."""
    (found,) = parse_destinations(f"tcp://h:1?since={text}", tmp_path)
    assert found.since == since


def test_udp_is_paced_by_default(tmp_path: Path) -> None:
    """UDP alone has a rate unless told otherwise."""
    found = parse_destinations("udp://a:1 tcp://b:1 tls://c:1 udp://d:1?rate=5", tmp_path)
    assert [one.rate for one in found] == [1000.0, None, None, 5.0]


def test_several_and_none(tmp_path: Path) -> None:
    """Any white space separates destinations; blank text has none."""
    assert [one.host for one in parse_destinations(" tcp://a:1\n\tudp://b:2 ", tmp_path)] == [
        "a",
        "b",
    ]
    assert parse_destinations(" \n", tmp_path) == []


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("udp://[fe80::1%25eth0]:514", "udp-fe80__1_eth0-514"),
        ("tcp://münchen.example:601", "tcp-m_nchen_example-601"),
        (f"tcp://{'.'.join(4 * ['a' * 60])}:601", f"tcp-{'_'.join(4 * ['a' * 60])}"[:200]),
    ],
)
def test_name_is_a_folder_name(url: str, name: str, tmp_path: Path) -> None:
    """Whatever the host, the default name fits into one folder's name."""
    (found,) = parse_destinations(url, tmp_path)
    assert found.name == name


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("sensor:601", "no URL"),
        ("http://h:1", "unknown scheme 'http'"),
        ("tcp://h", "no port"),
        ("tcp://h:0", "no port"),
        ("relp://h:0", "no port"),
        ("tcp://h:65536", "cannot be read"),
        ("tcp://h:six", "cannot be read"),
        ("tcp://[::1:601", "cannot be read"),
        ("tcp://:601", "no usable host"),
        ("tcp://a,b:601", "no usable host"),
        ("tcp://a..b:601", "no usable host"),
        (f"tcp://{'a' * 64}.example:601", "no usable host"),
        (f"tcp://{'é' * 64}.example:601", "no usable host"),
        ("tcp://h:601/path", "path or fragment"),
        ("tcp://h:601#x", "path or fragment"),
        ("tcp://h:601?colour=red", "unknown option 'colour'"),
        ("tcp://h:601?batch=1&batch=2", "batch= twice"),
        ("tcp://h:601?batch=", "without a value"),
        ("tcp://h:601?batch", "without a value"),
        ("tcp://h:601?batch=0", "batch='0'"),
        ("tcp://h:601?batch=1e3", "batch='1e3'"),
        ("tcp://h:601?batch=-1", "batch='-1'"),
        ("tcp://h:601?timeout=0", "timeout='0'"),
        ("tcp://h:601?timeout=nan", "timeout='nan'"),
        ("udp://h:601?rate=inf", "rate='inf'"),
        ("tcp://h:601?format=cef", "format='cef'"),
        ("tcp://h:601?facility=local8", "facility='local8'"),
        ("tcp://h:601?severity=6", "severity='6'"),
        ("tcp://h:601?since=yesterday", "since='yesterday'"),
        ("tcp://h:601?since=0001-01-01T00:00%2B02:00", "since='0001"),
        ("tcp://h:601?types=a,,b", "types='a,,b'"),
        ("tcp://h:601?types=a%20b", "types='a b'"),
        ("tcp://h:601?critical=false", "critical='false' cannot be used; it takes true"),
        ("tcp://h:601?name=../up", "name='../up'"),
        ("tcp://h:601?ca=x.pem", "only tls:// or relps:// knows"),
        ("tls://h:601?ca=missing.pem", "names no file"),
        ("tls://h:601?key=here.pem", "cert= beside it"),
        ("tls://h:601?close_notify=maybe", "close_notify='maybe'"),
        ("tcp://h:601 tcp://H:601?batch=5", "the same name"),
        ("tcp://h:601?name=A udp://i:514?name=a", "the same name"),
    ],
)
def test_refused(url: str, fault: str, tmp_path: Path) -> None:
    """What cannot be used is refused with the fault named, and which sensor it is."""
    (tmp_path / "here.pem").touch()
    with pytest.raises(SettingsError, match=r"^sensor \d") as refusal:
        parse_destinations(url, tmp_path)
    assert fault in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "keyid|hunter2hunter2",
        "tcp://user:hunter2hunter2@h:601",
        "hunter2hunter2hunter2://h:601",
        "tcp://h:601?hunter2hunter2hunter2=1",
        "tcp://h:601?password=hunter2hunter2",
        "tcp://h:601/hunter2hunter2",
    ],
)
def test_nothing_secret_is_echoed(url: str, tmp_path: Path) -> None:
    """What was put into the wrong place does not come back in the message."""
    with pytest.raises(SettingsError) as refusal:
        parse_destinations(url, tmp_path)
    assert "hunter2" not in str(refusal.value)
