"""A real syslog-ng with the five listeners of a USM Anywhere sensor, on free loopback ports.

    with SyslogNG(folder) as sensor:
        …  # send to sensor.url("tls-rfc5424")
        assert sensor.messages("tls-rfc5424") == ["CEF:0|…"]

It runs as the user of the tests, with every file in the folder. It parses what it reads and writes
a line a message, flow control on: what its file cannot take it does not read.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import quote

import pytest

from sandbox.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

LISTENERS = ("udp-rfc3164", "tcp-rfc3164", "tls-rfc3164", "tcp-rfc5424", "tls-rfc5424")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_START_SECONDS = 20.0
_STOP_SECONDS = 20.0
_SETTLE_SECONDS = 0.15

_HEAD = """\
@version: 3.35
options {
    keep-hostname(yes); keep-timestamp(yes); chain-hostnames(no); use-dns(no); time-zone("+00:00");
    ts-format(iso); frac-digits(3); stats-freq(0); log-msg-size(65536); create-dirs(no);
};
"""
_LISTENER = """
source s_{name} {{ {driver}(
    ip("{host}") port({port}) transport("{transport}") {more}
); }};
destination d_{name} {{ file("{file}"
    template("${{PRI}}\\t${{ISODATE}}\\t${{HOST}}\\t${{PROGRAM}}\\t${{MESSAGE}}\\n")
); }};
log {{ source(s_{name}); destination(d_{name}); flags(flow-control); }};
"""
_COUNTER = """
source s_{name} {{ {driver}(
    ip("{host}") port({port}) transport("{transport}") {more}
); }};
log {{ source(s_{name}); }};
"""
_STREAM = "max-connections(50)"
_TLS = """max-connections(50) tls(
        key-file("{key}") cert-file("{cert}") {peer}
        ssl-options(no-sslv2, no-sslv3, no-tlsv1, no-tlsv11)
    )"""


class Record(NamedTuple):
    """A message as syslog-ng understood it."""

    priority: int
    time: str
    host: str
    program: str
    message: str


def find() -> str | None:
    """Where syslog-ng is installed."""
    return shutil.which("syslog-ng", path=_PATH)


def require() -> None:
    """Skip the test where syslog-ng is missing, or fail it where CI wants it there."""
    if find() is None:
        reason = "syslog-ng is missing: apt-get install --no-install-recommends syslog-ng-core"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


class SyslogNG:
    """Runs while the context is entered; may be killed and started again.

    Args:
        folder: For its configuration, state and output; made if missing.
        host: The address to listen on.
        client_ca: An authority; then TLS takes only clients with a certificate of it.
        counts_only: Read and forget, as fast as it can.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        client_ca: Path | None = None,
        counts_only: bool = False,
    ) -> None:
        self._folder = folder
        self._host = host
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._ports = _free_ports(host)
        authority = Authority(folder / "tls")
        self.ca = authority.cert
        own = authority.issue(host, "localhost")
        peer = f'ca-file("{client_ca}") peer-verify(required-trusted)'
        tls = _TLS.format(
            key=own.key,
            cert=own.cert,
            peer=peer if client_ca else "peer-verify(optional-untrusted)",
        )
        more = {"udp": "", "tcp": _STREAM, "tls": tls}
        self._config = folder / "syslog-ng.conf"
        self._config.write_text(
            _HEAD
            + "".join(
                (_COUNTER if counts_only else _LISTENER).format(
                    name=name.replace("-", "_"),
                    driver="syslog" if name.endswith("rfc5424") else "network",
                    host=host,
                    port=self._ports[name],
                    transport=name[:3],
                    more=f"{more[name[:3]]} {'ip-protocol(6)' if ':' in host else ''}",
                    file=self.file(name),
                )
                for name in LISTENERS
            )
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            RuntimeError: It ended instead, or took too long.
        """
        program = find()
        assert program is not None, "call require() first"
        files = {"-f": self._config.name, "-R": "persist", "-c": "control", "-p": "pid"}
        options = [
            part for flag, name in files.items() for part in (flag, str(self._folder / name))
        ]
        with (self._folder / "stderr").open("ab") as stderr:
            self._process = subprocess.Popen(
                [program, "--foreground", "--no-caps", "--stderr", *options],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
        until = time.monotonic() + _START_SECONDS
        waiting = [name for name in LISTENERS if not name.startswith("udp")]
        while waiting:
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                said = (self._folder / "stderr").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"syslog-ng did not start: {said}")
            try:
                socket.create_connection((self._host, self._ports[waiting[0]]), 1).close()
                waiting.pop(0)
            except OSError:
                time.sleep(0.01)

    def stop(self) -> None:
        """End it in order (SIGTERM), as an administrator's restart does."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop if running, and start on the same ports."""
        self.stop()
        self.start()

    def port(self, listener: str) -> int:
        """Where a listener listens."""
        return self._ports[listener]

    def url(self, listener: str, /, **options: object) -> str:
        """The sensor URL of a listener, with options; what it needs itself comes with it."""
        if listener.endswith("rfc5424"):
            options.setdefault("format", "rfc5424")
        if listener.startswith("tls"):
            options.setdefault("ca", self.ca)
        query = "&".join(f"{key}={quote(str(value))}" for key, value in options.items())
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{listener[:3]}://{host}:{self._ports[listener]}" + (f"?{query}" if query else "")

    def file(self, listener: str) -> Path:
        """Where it writes what it reads, a line a message."""
        return self._folder / f"{listener}.log"

    def records(self, listener: str) -> list[Record]:
        """What a listener has read and understood, in order, once its file has stopped growing."""
        file = self.file(listener)
        size = -1
        while file.exists() and size != (size := file.stat().st_size):
            time.sleep(_SETTLE_SECONDS)
        if size < 0:
            return []
        # No CEF line holds a tab or a line feed; splitlines() would split on more than that.
        lines = file.read_bytes().decode().split("\n")[:-1]
        return [_record(line) for line in lines]

    def messages(self, listener: str) -> list[str]:
        """The message texts among :meth:`records`: the CEF lines."""
        return [record.message for record in self.records(listener)]

    def wait_for(self, listener: str, count: int, seconds: float = 10.0) -> list[str]:
        """The messages once there are ``count``, or whatever there is after so many seconds."""
        until = time.monotonic() + seconds
        while len(read := self.messages(listener)) < count and time.monotonic() < until:
            pass
        return read


def _record(line: str) -> Record:
    priority, when, host, program, message = line.split("\t", 4)
    return Record(int(priority), when, host, program, message)


def _free_ports(host: str) -> dict[str, int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = {}
    held = []
    for name in LISTENERS:
        kind = socket.SOCK_DGRAM if name.startswith("udp") else socket.SOCK_STREAM
        held.append(socket.socket(family, kind))
        held[-1].bind((host, 0))
        ports[name] = held[-1].getsockname()[1]
    for sock in held:
        sock.close()
    return ports
