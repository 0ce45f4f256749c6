"""A real syslog-ng with the five listeners of a USM Anywhere sensor, on free loopback ports.

    with SyslogNG(folder) as sensor:
        …  # send to sensor.url("tls-rfc5424")
        assert sensor.messages("tls-rfc5424") == ["CEF:0|…"]

It runs as the user of the tests, with every file in the folder. It parses what it reads and writes
a line a message, flow control on: what its file cannot take it does not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.syslog_daemon import LISTENERS, SyslogDaemon, find_program, require_there

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LISTENERS", "WINDOW", "SyslogNG", "command", "find", "require"]

WINDOW = 100
"""Messages of a connection that it holds at most, read and not written: its `log-iw-size`."""
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
    flags(no-parse) log-fetch-limit(1000) log-iw-size(50000)
); }};
log {{ source(s_{name}); }};
"""
_STREAM = "max-connections(50)"
_TLS = """max-connections(50) tls(
        key-file("{key}") cert-file("{cert}") {peer}
        ssl-options(no-sslv2, no-sslv3, no-tlsv1, no-tlsv11)
    )"""


def find() -> str | None:
    """Where syslog-ng is installed."""
    return find_program("syslog-ng")


def require() -> None:
    """Skip the test where syslog-ng is missing, or fail it where CI wants it there."""
    require_there(
        there=find() is not None,
        reason="syslog-ng is missing: apt-get install --no-install-recommends syslog-ng-core",
    )


def command(folder: Path) -> list[str]:
    """What runs it in the foreground with `syslog-ng.conf` of a folder, its state beside that."""
    program = find()
    assert program is not None, "call require() first"
    files = {"-f": "syslog-ng.conf", "-R": "persist", "-c": "control", "-p": "pid"}
    options = [part for flag, name in files.items() for part in (flag, str(folder / name))]
    return [program, "--foreground", "--no-caps", "--stderr", *options]


class SyslogNG(SyslogDaemon):
    """Runs while the context is entered; may be killed and started again.

    Args:
        folder: For its configuration, state and output; made if missing.
        host: The address to listen on.
        client_ca: An authority; then TLS takes only clients with a certificate of it.
        counts_only: Take the messages out of the stream and forget them, as fast as it can.
    """

    name = "syslog-ng"

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        client_ca: Path | None = None,
        counts_only: bool = False,
    ) -> None:
        super().__init__(folder, host)
        peer = f'ca-file("{client_ca}") peer-verify(required-trusted)'
        tls = _TLS.format(
            key=self._own.key,
            cert=self._own.cert,
            peer=peer if client_ca else "peer-verify(optional-untrusted)",
        )
        more = {"udp": "", "tcp": _STREAM, "tls": tls}
        (folder / "syslog-ng.conf").write_text(
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

    def _command(self) -> list[str]:
        return command(self._folder)
