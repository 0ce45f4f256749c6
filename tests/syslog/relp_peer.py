"""The receiver's side of RELP, a frame at a time: it says what no honest receiver would, too."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple

from tests.syslog.helpers import ScriptedReceiver, batch, destination, statuses

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from tasks.syslog.transport import Outcome

    Manner = Callable[["RelpPeer"], object]
    """What a peer does once a session is open."""

OFFERS = b"200 OK\nrelp_version=0\nrelp_software=peer,1.0,http://peer.example\ncommands=syslog"


class Frame(NamedTuple):
    """A frame that the sender sent."""

    number: int
    command: bytes
    data: bytes


class RelpPeer:
    """Speaks over an accepted socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = connection.makefile("rb")

    def read(self) -> Frame:
        """The next frame.

        Raises:
            ConnectionError: There is none.
        """
        words = [self._word() for _ in range(3)]
        data = self._file.read(int(words[2]))
        if len(data) < int(words[2]) or (data and self._file.read(1) != b"\n"):
            raise ConnectionError
        return Frame(int(words[0]), words[1], data)

    def say(self, number: int, data: bytes = b"200 OK", command: bytes = b"rsp") -> None:
        """Send a frame, by default the answer that takes a message."""
        tail = b" " + data if data else b""
        self.socket.sendall(b"%d %s %d%s\n" % (number, command, len(data), tail))

    def open(self, offers: bytes = OFFERS) -> None:
        """Answer the sender's open."""
        number, command, _ = self.read()
        assert (number, command) == (1, b"open")
        self.say(number, offers)

    def messages(self, count: int) -> list[Frame]:
        """So many messages, without answering."""
        return [self.read() for _ in range(count)]

    def serve(self, received: list[bytes]) -> None:
        """Take everything to the end, as an honest receiver does."""
        while True:
            number, command, data = self.read()
            if command == b"close":
                self.say(number, b"")
                return
            received.append(data)
            self.say(number)

    def _word(self) -> bytes:
        word = b""
        while (byte := self._file.read(1)) not in b" \n":
            word += byte
        if not byte:
            raise ConnectionError
        return word


class Peer(ScriptedReceiver):
    """Speaks RELP on each connection, after the sender's open."""

    def __init__(self, manner: Manner, *, context: ssl.SSLContext | None = None) -> None:
        def behaviour(connection: socket.socket) -> None:
            self.connections += 1
            peer = RelpPeer(connection)
            peer.open()
            manner(peer)

        self.connections = 0
        super().__init__(behaviour, context=context)

    def url(self, **options: object) -> str:
        """Its sensor URL."""
        url = super().url(**options)
        return url.replace("tcp://", "relp://").replace("tls://", "relps://")


def deliver_to(manner: Manner, count: int = 10, **options: object) -> Outcome:
    """Deliver a batch to a peer, once."""
    with Peer(manner) as peer:
        to = destination(peer.url(**options))
        transport = to.open_transport()
        outcome = transport.deliver(batch(to, count))
        transport.close()
    assert (outcome.error is None) == (statuses(outcome) == {"confirmed"})
    return outcome
