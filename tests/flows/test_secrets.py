"""A password in an address, well-formed or not, shows nowhere."""

from __future__ import annotations

import logging
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from flows.cli.app import run
from tests.flows.command import command_for
from tests.syslog.helpers import ScriptedReceiver
from tests.test_redaction import ADDRESSES, MARKER

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.halo_api import HaloStandIn

SINCE = ("--since", str(datetime.now(UTC).date()))
COMMANDS = (
    ("check",),
    ("sync",),
    ("extract", *SINCE),
    ("transform",),
    ("load",),
    ("replay", *SINCE, "--only", "all"),
    ("status",),
    ("status", "--json"),
    ("audit", "--event", "0" * 32),
    ("audit", *SINCE, "--json"),
    ("export", *SINCE, "--format", "cef"),
)
HTTPS = "https://halo.invalid"
STANDING = {
    "HALO_AUTH_FILE": "auth",
    "HALO_STAGING": "staging",
    "USM_SENSOR": "tcp://127.0.0.1:1",
}
ADDRESSES_OF = {
    "HALO_API_URL": "https",
    "HALO_STAGING": "gopher",  # s3:// would be tried
    "PREFECT_API_URL": "http",
    "USM_SENSOR": "tls",
}
"""The settings that are addresses, each with a scheme."""
NO_PROXIES = (
    "http://user:{}@[::1",
    "http://[::1:{}/x",
    "http://user:{}",
    "http:///user:{}@host",
    "ht tps://user:{}@host",
    "http://host:{}/",
    "socks5://user:{}@host",
)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """A command takes over signals; here it runs in the process of the tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def said(
    in_folder: Path,
    halo: HaloStandIn,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Callable[..., str]:
    """Runs a command with settings, and returns all that it wrote anywhere."""
    halo.write_auth(in_folder / "auth")
    caplog.set_level(logging.DEBUG)

    def run_with(*command: str, **settings: str) -> str:
        for name, value in ({"HALO_API_URL": halo.url} | STANDING | settings).items():
            monkeypatch.setenv(name, value)
        code = run(command)
        out, err = capfd.readouterr()
        names = "\n".join(map(str, in_folder.rglob("*")))
        return f"exit code {code}.\n{out}\n{err}\n{caplog.text}\n{names}"

    return run_with


@pytest.mark.parametrize("name", ADDRESSES_OF)
def test_no_command_shows_the_password_of_an_address(said: Callable[..., str], name: str) -> None:
    """It is not in the output, a log or a name on disk, with any fault in the address."""
    for template in ADDRESSES[::3]:  # tests/test_redaction.py has them all
        scheme = ADDRESSES_OF[name]
        address = template.replace("https", scheme).replace("s3:", f"{scheme}:").format(MARKER)
        for command in COMMANDS:
            text = said(*command, **{name: address})
            assert MARKER not in text, (address, command)
            assert "exit code 2." in text or name in {"HALO_STAGING", "USM_SENSOR"}, (
                address,
                command,
            )


@pytest.mark.parametrize("template", NO_PROXIES)
def test_no_command_shows_the_password_of_a_malformed_proxy(
    said: Callable[..., str], template: str
) -> None:
    """The Halo API's: what is wrong is named without it."""
    for command in ("check",), ("sync",):
        text = said(*command, HALO_API_URL=HTTPS, HTTPS_PROXY=template.format(MARKER))
        assert "HTTPS_PROXY" in text
        assert MARKER not in text


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
)
def test_a_proxy_that_does_not_let_through_shows_no_password(
    tmp_path: Path, halo: HaloStandIn, answer: bytes
) -> None:
    """A well-formed address of a proxy that refuses, or hangs up."""
    with ScriptedReceiver(lambda connection: refuse(connection, answer)) as proxy:
        address = proxy.url().removeprefix("tcp://").partition("?")[0]
        halo_usm = command_for(tmp_path, halo, "tcp://127.0.0.1:1")
        (tmp_path / "auth").write_text("key|s3cr3t|alpha\n")
        halo_usm.settings |= {
            "HALO_API_URL": HTTPS,
            "HALO_AUTH_FILE": "auth",
            "HTTPS_PROXY": f"http://user:{MARKER}@{address}",
        }
        done = halo_usm("check", code=1)
    assert "FAIL account alpha" in done.stdout
    assert MARKER not in done.stdout + done.stderr


def refuse(connection: socket.socket, answer: bytes) -> None:
    """Read the request and refuse it."""
    connection.recv(65536)
    connection.sendall(answer)
    connection.close()
