"""A syslog receiver for UDP, TCP and TLS that records what it reads.

In a test or the demo, from threads of the same process:

    with Receiver() as receiver:
        …  # send to receiver.url("tcp")
        assert receiver.messages("tcp") == [b"<14>Aug 22 16:24:30 host cpapi: CEF:0|…"]

As a program, to try the settings of a destination against, until SIGTERM or Ctrl-C:

    python -m sandbox.receiver --listen tls --port 6514 --show

It is honest: it reads to the sender's end and only then closes its own side, over TLS with a
close_notify, unless told otherwise. The framing is told from the first byte (RFC 6587, 3.4.1).
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import ssl
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import quote

from cyclopts import App, Parameter

from sandbox.certificates import server_context, throw_away
from sandbox.deframer import Deframer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

LISTENERS = ("udp", "tcp", "tls")
_READ = 256 * 1024
_DATAGRAM = 65_536
_DATAGRAM_BUFFER = 4 * 1024 * 1024  # a burst waits here while the machine is busy
_IDLE_SECONDS = 300.0  # a peer that says nothing for so long has gone


class Receiver:
    """Listens on ports of one address while the context is entered.

    Args:
        listeners: Any of ``udp``, ``tcp``, ``tls``.
        host: The address to listen on.
        port: The port of the first listener; each further one takes the next. 0 takes free ones.
        output: A file to append each message to, a line each.
        context: For TLS; by default a throw-away certificate of a throw-away authority.
        close_notify: Whether to end TLS as RFC 5425 requires; without, nothing is confirmed.
        keep: Whether to hold what was read in memory, for `messages` to give.
        on_messages: Called with a listener's name and what it has read, by one thread at a time.

    Attributes:
        torn: Connections that ended inside a message.
        faults: What broke connections off: a reset, a refused handshake, no known framing.
        connections: Connections accepted.
    """

    def __init__(
        self,
        *listeners: str,
        host: str = "127.0.0.1",
        port: int = 0,
        output: Path | None = None,
        context: ssl.SSLContext | None = None,
        close_notify: bool = True,
        keep: bool = True,
        on_messages: Callable[[str, list[bytes]], None] | None = None,
    ) -> None:
        self._names = listeners or LISTENERS
        if unknown := set(self._names) - set(LISTENERS):
            raise ValueError(f"unknown listeners {sorted(unknown)}; known are {LISTENERS}")
        self._host = host
        self._first_port = port
        self._output = output
        self._close_notify = close_notify
        self._keep = keep
        self._on_messages = on_messages
        self._context = context
        self._ca: Path | None = None
        self._exits = contextlib.ExitStack()
        self._sockets: dict[str, socket.socket] = {}
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._stopped = False
        self._messages: dict[str, list[bytes]] = {name: [] for name in self._names}
        self._counts = dict.fromkeys(self._names, 0)
        self._file: BinaryIO | None = None
        self.torn = 0
        self.faults: list[str] = []
        self.connections = 0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as exits:
            if "tls" in self._names and self._context is None:
                folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="receiver-")))
                self._context, self._ca = throw_away(folder, self._host)
            if self._output is not None:
                self._file = exits.enter_context(self._output.open("ab"))
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            asleep, self._awake = socket.socketpair()
            exits.enter_context(asleep)
            exits.enter_context(self._awake)
            for at, name in enumerate(self._names):
                address = (self._host, self._first_port and self._first_port + at)
                if name == "udp":
                    sock = exits.enter_context(socket.socket(family, socket.SOCK_DGRAM))
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DATAGRAM_BUFFER)
                    sock.bind(address)
                else:
                    sock = exits.enter_context(socket.create_server(address, family=family))
                self._sockets[name] = sock
                self._start(self._read_datagrams if name == "udp" else self._accept, name, asleep)
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Hang up on everyone and wait for the threads."""
        self._awake.close()
        with self._changed:
            self._stopped = True
            for sock in self._open:
                _hang_up(sock)
        for thread in self._threads:
            thread.join()
        self._exits.close()

    def port(self, name: str) -> int:
        """Where a listener listens."""
        return int(self._sockets[name].getsockname()[1])

    def url(self, name: str, /, **options: object) -> str:
        """The sensor URL of a listener, with options; TLS comes with its ``ca``."""
        if name == "tls" and self._ca:
            options.setdefault("ca", self._ca)
        query = "&".join(f"{key}={quote(str(value))}" for key, value in options.items())
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{name}://{host}:{self.port(name)}" + (f"?{query}" if query else "")

    def messages(self, name: str | None = None) -> list[bytes]:
        """What one listener has read so far, in order; without a name what all have."""
        with self._changed:
            names = self._names if name is None else (name,)
            return [message for one in names for message in self._messages[one]]

    def counts(self) -> dict[str, int]:
        """Messages read so far, by listener."""
        with self._changed:
            return dict(self._counts)

    def wait_for(self, count: int, name: str | None = None, seconds: float = 10.0) -> list[bytes]:
        """What was read once that is at least ``count`` messages.

        Raises:
            TimeoutError: It is still less after so many seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.messages(name)) >= count, seconds):
                raise TimeoutError(f"{len(self.messages(name))} of {count} messages came")
            return self.messages(name)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _record(self, name: str, messages: list[bytes]) -> None:
        if not messages:
            return
        with self._changed:
            self._counts[name] += len(messages)
            if self._keep:
                self._messages[name].extend(messages)
            if self._file is not None:
                self._file.write(b"".join(message + b"\n" for message in messages))
                self._file.flush()
            if self._on_messages is not None:
                self._on_messages(name, messages)
            self._changed.notify_all()

    def _read_datagrams(self, name: str, asleep: socket.socket) -> None:
        sock = self._sockets[name]
        while asleep not in select.select([sock, asleep], [], [])[0]:
            self._record(name, [sock.recv(_DATAGRAM)])

    def _accept(self, name: str, asleep: socket.socket) -> None:
        sock = self._sockets[name]
        while asleep not in select.select([sock, asleep], [], [])[0]:
            connection, _ = sock.accept()
            with self._changed:
                self.connections += 1
            self._opened(connection)
            self._start(self._serve, name, connection)

    def _opened(self, connection: socket.socket) -> None:
        """Note a connection, so that stopping ends it, also one that is being stopped already."""
        with self._changed:
            self._open.add(connection)
            if self._stopped:
                _hang_up(connection)

    def _serve(self, name: str, connection: socket.socket) -> None:
        deframer = Deframer()
        try:
            connection.settimeout(_IDLE_SECONDS)
            if name == "tls":
                assert self._context is not None
                connection = self._context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
                self._opened(connection)
                connection.do_handshake()
            while not deframer.fault and (data := connection.recv(_READ)):
                self._record(name, deframer.feed(data))
            if isinstance(connection, ssl.SSLSocket) and self._close_notify:
                connection = connection.unwrap()
        except OSError as error:
            with self._changed:
                self.faults.append(f"{name}: {error}")
        finally:
            connection.close()
        with self._changed:
            self.torn += deframer.torn
            if deframer.fault:
                self.faults.append(f"{name}: {deframer.fault}")
            self._open = {sock for sock in self._open if sock.fileno() >= 0}
            self._changed.notify_all()


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # the plain socket's: an SSLSocket's takes the session from under another thread
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def show(listener: str, messages: list[bytes]) -> None:
    """Print messages, a line each, with escapes in the place of what would act on a terminal."""
    for message in messages:
        text = message.decode(errors="backslashreplace")
        safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        print(f"{listener}: {safe}", flush=True)


def main(
    *,
    listen: Annotated[list[Literal["udp", "tcp", "tls"]] | None, Parameter(negative=())] = None,
    port: int = 0,
    host: str = "127.0.0.1",
    certfile: Path | None = None,
    keyfile: Path | None = None,
    close_notify: bool = True,
    output: Path | None = None,
    show_messages: Annotated[bool, Parameter(name="--show", negative=())] = False,
) -> None:
    """Receive syslog messages until SIGTERM or Ctrl-C; prints the sensor URLs once it listens.

    Args:
        listen: udp, tcp or tls; may be given several times, all three by default.
        port: Of the first listener; each further one takes the next. 0 takes free ones.
        host: The address to listen on.
        certfile: A certificate for TLS, with its chain; a throw-away one by default.
        keyfile: Its private key, unless the certificate's file holds both.
        close_notify: Whether to end TLS as RFC 5425 requires; some receivers don't.
        output: A file to append each message to, a line each.
        show_messages: Print each message.
    """
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before threads, so that none takes them
    with Receiver(
        *(listen or ()),
        host=host,
        port=port,
        output=output,
        context=server_context(certfile, keyfile) if certfile else None,
        close_notify=close_notify,
        keep=False,
        on_messages=show if show_messages else None,
    ) as receiver:
        for name in receiver.counts():
            print(receiver.url(name), flush=True)
        signal.sigwait(signals)
        print("messages:", *(f"{count:,} {name}" for name, count in receiver.counts().items()))


if __name__ == "__main__":
    try:
        App(default_command=main, name="python -m sandbox.receiver", version_flags=[])()
    except OSError as fault:
        sys.exit(f"{fault}; choose another --port or file")
