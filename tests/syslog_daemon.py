"""What the real receivers of the tests share.

Five listeners as a USM Anywhere sensor has them, on free loopback ports, a process that may be
killed and started again, and what it wrote.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self
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
_POLL_SECONDS = 0.01
_PORTS = range(20_000, 30_000)
"""Below those that a system gives to whoever asks for any: they stay free while one is killed."""


class Record(NamedTuple):
    """A message as the receiver understood it."""

    priority: int
    time: str
    host: str
    program: str
    message: str


def find_program(name: str) -> str | None:
    """Where a program is installed, the administrator's folders included."""
    return shutil.which(name, path=_PATH)


def require_there(*, there: bool, reason: str) -> None:
    """Skip the test where something is not there, or fail it where CI wants it there."""
    if there:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class SyslogDaemon(ABC):
    """Runs while the context is entered; may be killed and started again.

    It runs as the user of the tests, with every file in its folder, and writes a line a message.

    Args:
        folder: For its configuration, state and output; made if missing.
        host: The address to listen on.

    Attributes:
        ca: The authority of its certificate, what ``ca=`` takes.
    """

    name: ClassVar[str]
    listeners: ClassVar[tuple[str, ...]] = LISTENERS

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder = folder
        self._host = host
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._ports = _free_ports(host, self.listeners)
        self._authority = Authority(folder / "tls")
        self._own = self._authority.issue(host, "localhost")
        self.ca = self._authority.cert

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @abstractmethod
    def _command(self) -> list[str]:
        """What to run: it stays in the foreground."""

    def _environment(self) -> dict[str, str]:
        """The process's environment."""
        return {**os.environ, "TZ": "UTC"}

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            OSError: Another process listens on one of its ports.
            RuntimeError: It ended instead, or took too long.
        """
        for name, port in self._ports.items():  # rsyslog would go on without that listener
            _bound(self._host, name, port).close()
        for file in self._folder.glob("*.log*"):
            _end_torn_line(file)
        with (self._folder / "stderr").open("ab") as stderr:
            self._process = subprocess.Popen(
                self._command(),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
        until = time.monotonic() + _START_SECONDS
        waiting = [name for name in self.listeners if not name.startswith("udp")]
        while waiting:
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                said = (self._folder / "stderr").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not start: {said}")
            # No connection: one that ends before a TLS handshake makes rsyslog close a descriptor
            # twice, which may be a file's by then.
            try:
                _bound(self._host, waiting[0], self._ports[waiting[0]]).close()
            except OSError:
                waiting.pop(0)
            else:
                time.sleep(_POLL_SECONDS)

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

    def port(self, listener: str) -> int:
        """Where a listener listens."""
        return self._ports[listener]

    def url(self, listener: str, /, **options: object) -> str:
        """The sensor URL of a listener, with options; what it needs itself comes with it."""
        if listener.endswith("rfc5424"):
            options.setdefault("format", "rfc5424")
        scheme = listener.partition("-")[0]
        if scheme in {"tls", "relps"}:
            options.setdefault("ca", self.ca)
        query = "&".join(f"{key}={quote(str(value))}" for key, value in options.items())
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self._ports[listener]}" + (f"?{query}" if query else "")

    def file(self, listener: str) -> Path:
        """Where it writes what it reads, a line a message."""
        return self._folder / f"{listener}.log"

    def records(self, listener: str) -> list[Record]:
        """What a listener has read and understood, in order, once its file has stopped growing."""
        return [_record(line) for line in settled_lines(self.file(listener))]

    def messages(self, listener: str) -> list[str]:
        """The message texts among :meth:`records`: the CEF lines."""
        return [record.message for record in self.records(listener)]

    def wait_for(self, listener: str, count: int, seconds: float = 10.0) -> list[str]:
        """The messages once there are ``count``, or whatever there is after so many seconds."""
        until = time.monotonic() + seconds
        while len(read := self.messages(listener)) < count and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        return read


def settled_lines(file: Path) -> list[str]:
    """The whole lines of a file once it has stopped growing; none where there is no file."""
    size = -1
    while file.exists() and size != (size := file.stat().st_size):
        time.sleep(_SETTLE_SECONDS)
    if size < 0:
        return []
    # No CEF line holds a line feed; splitlines() would split on more than that.
    return file.read_bytes().decode().split("\n")[:-1]


def _end_torn_line(file: Path) -> None:
    """Keep what a killed process wrote of a line apart from what the next process writes."""
    with file.open("rb+") as output:
        if output.seek(0, os.SEEK_END):
            output.seek(-1, os.SEEK_END)
            if output.read(1) != b"\n":
                output.write(b"\n")


def _record(line: str) -> Record:
    parts = line.split("\t", len(Record._fields) - 1)
    torn = [""] * (len(Record._fields) - len(parts))
    priority, when, host, program, message = parts + torn
    return Record(int(priority), when, host, program, message)


def _free_ports(host: str, listeners: tuple[str, ...]) -> dict[str, int]:
    ports: dict[str, int] = {}
    while len(ports) < len(listeners):
        name, port = listeners[len(ports)], secrets.choice(_PORTS)
        with suppress(OSError):
            _bound(host, name, port).close()
            if port not in ports.values():
                ports[name] = port
    return ports


def _bound(host: str, listener: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_DGRAM if listener.startswith("udp") else socket.SOCK_STREAM
    sock = socket.socket(family, kind)
    try:
        if kind == socket.SOCK_STREAM:  # connections of a killed process may linger
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
