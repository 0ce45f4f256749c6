"""A real rsyslog with the listeners of a USM Anywhere sensor and RELP's, on free loopback ports.

    with RSyslog(folder) as sensor:
        …  # send to sensor.url("tls-rfc5424")
        assert sensor.messages("tls-rfc5424") == ["CEF:0|…"]

It is Debian's, unpacked by `tests/install_rsyslog.sh`, and runs as the user of the tests, with
every file in the folder. Its main queue is of type "Direct": what a connection's thread has read is
in the file before it reads on, so that "read" can be told from the file. With rsyslog's default, a
queue in memory, whatever was read and not yet written is lost with the process, and no sender
can know.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.syslog_daemon import (
    LISTENERS,
    SyslogDaemon,
    find_program,
    require_there,
    settled_lines,
)

__all__ = ["LISTENERS", "RELP", "RSyslog", "find", "require"]

RELP = ("relp-rfc3164", "relps-rfc5424")
"""What it listens on beside `LISTENERS`: RELP over TCP, and over TLS."""

_UNPACKED = Path(__file__).parents[1] / ".venv" / "rsyslog"

_HEAD = """\
global(workDirectory="{folder}" maxMessageSize="128k" net.enableDNS="off")
main_queue(queue.type="Direct")
module(load="imudp") module(load="imptcp") module(load="imtcp") module(load="mmnormalize")
module(load="imrelp" tls.tlslib="openssl")
template(name="raw" type="string" string="%rawmsg%\\n")
template(name="parsed" type="string" string="%$!all-json%\\n")
"""
# Between the colon behind RFC 3164's tag and the text stands a space, which rsyslog takes for text.
_LISTENER = """
template(name="{name}" type="string" string="%pri%\\t%timereported:::date-rfc3339%\\t%hostname%\
\\t%programname%\\t%msg:{text}:$%\\n")
ruleset(name="{name}") {{
    action(type="omfile" file="{file}" template="{name}")
    action(type="omfile" file="{file}.raw" template="raw")
    {parse}
}}
input(type="{module}" address="{host}" port="{port}" ruleset="{name}" {more})
"""
_PARSE = """\
    action(type="mmnormalize" rule=["rule=: %cef:cef%", "rule=:%cef:cef%"])
    action(type="omfile" file="{file}.json" template="parsed")
"""
_NEWLINES = 'supportOctetCountedFraming="off"'
_TLS = """streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon"
    streamDriver.caFile="{ca}" streamDriver.certFile="{cert}" streamDriver.keyFile="{key}"
    gnutlsPriorityString="MinProtocol=TLSv1.2" """
_RELPS = """tls="on" tls.caCert="{ca}" tls.myCert="{cert}" tls.myPrivKey="{key}" """


class Installation(NamedTuple):
    """Where rsyslog and what it loads are."""

    program: str
    libraries: str
    modules: str

    def command(self, config: Path) -> list[str]:
        """What runs it in the foreground."""
        return [self.program, "-n", "-iNONE", "-M", self.modules, "-f", str(config)]

    @property
    def environment(self) -> dict[str, str]:
        """What it needs in its environment."""
        return {"LD_LIBRARY_PATH": self.libraries}


class Parsed(NamedTuple):
    """A CEF line as liblognorm's parser understood it: header by its names, and pairs."""

    header: dict[str, str]
    pairs: dict[str, str]


@cache
def find() -> Installation | None:
    """The rsyslog that was unpacked beside the project."""
    program = find_program(str(_UNPACKED / "usr" / "sbin" / "rsyslogd"))
    modules = next(iter(_UNPACKED.glob("usr/lib/*/rsyslog")), None)
    if program is None or modules is None:
        return None
    return Installation(program, str(modules.parent), str(modules))


def require() -> None:
    """Skip the test where rsyslog is missing, or fail it where CI wants it there."""
    require_there(
        there=find() is not None,
        reason="rsyslog is missing: sh tests/install_rsyslog.sh unpacks Debian's",
    )


class RSyslog(SyslogDaemon):
    """Runs while the context is entered; may be killed and started again.

    Args:
        folder: For its configuration, state and output; made if missing.
        host: The address to listen on.
        parses_cef: Parse each message by liblognorm's parser for CEF, too.
    """

    name = "rsyslog"
    listeners = (*LISTENERS, *RELP)

    def __init__(self, folder: Path, *, host: str = "127.0.0.1", parses_cef: bool = False) -> None:
        super().__init__(folder.resolve(), host)  # rsyslog changes to the root folder
        found = find()
        assert found is not None, "call require() first"
        self._found = found
        tls, relps = (
            form.format(ca=self.ca, cert=self._own.cert, key=self._own.key)
            for form in (_TLS, _RELPS)
        )
        module = {"udp": "imudp", "tcp-rfc3164": "imptcp", "relp": "imrelp", "relps": "imrelp"}
        more = {"tcp-rfc3164": _NEWLINES, "tls": tls, "relps": relps}
        self._config = self._folder / "rsyslog.conf"
        self._config.write_text(
            _HEAD.format(folder=self._folder)
            + "".join(
                _LISTENER.format(
                    name=name,
                    module=module.get(name, module.get(scheme, "imtcp")),
                    text=2 if name.endswith("rfc3164") else 1,
                    parse=_PARSE.format(file=self.file(name)) if parses_cef else "",
                    host=host,
                    port=self._ports[name],
                    more=more.get(name, more.get(scheme, "")),
                    file=self.file(name),
                )
                for name in self.listeners
                for scheme in [name.partition("-")[0]]
            )
        )

    def _command(self) -> list[str]:
        return self._found.command(self._config)

    def _environment(self) -> dict[str, str]:
        return super()._environment() | self._found.environment

    def raw(self, listener: str) -> list[str]:
        """What a listener has read, in order, as it came but for the framing."""
        return settled_lines(Path(f"{self.file(listener)}.raw"))

    def parsed(self, listener: str) -> list[Parsed]:
        """What liblognorm understood of each message, in order.

        Raises:
            ValueError: It could not parse one.
        """
        return [_parsed(line) for line in settled_lines(Path(f"{self.file(listener)}.json"))]


def _parsed(line: str) -> Parsed:
    found: dict[str, Any] = json.loads(line)
    if "cef" not in found:
        raise ValueError(f"not parsed as CEF: {line[:300]}")
    pairs = found["cef"].pop("Extensions")
    return Parsed(found["cef"], pairs)
