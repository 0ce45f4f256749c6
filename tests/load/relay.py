"""A RELP receiver that takes, refuses or hangs up on each event as it is told."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from tests.staging.rejecting_receiver import ids_in
from tests.syslog.helpers import ScriptedReceiver
from tests.syslog.relp_peer import RelpPeer

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = b"500 not this one"


class Relay(ScriptedReceiver):
    """A RELP receiver that answers each event as it is told: with what, or not and hangs up.

    Attributes:
        received: The ids of the events that it took, in order.
        offered: The ids of those that it read.
        sessions: How many it opened.

    Args:
        answer: What it is told, by the id of an event; None hangs up.
        most: How many sessions it has open at most.
    """

    def __init__(self, answer: Callable[[str], bytes | None], most: int = 100) -> None:
        super().__init__(self._behave)
        self.answer = answer
        self.received: list[str] = []
        self.offered: list[str] = []
        self.sessions = 0
        self._counting = threading.Lock()
        self._free = threading.Semaphore(most)

    def _behave(self, connection: socket.socket) -> None:
        peer = RelpPeer(connection)
        if not self._free.acquire(blocking=False):
            peer.open(b"500 no more sessions")
            return
        with self._counting:
            self.sessions += 1
        try:
            peer.open()
            self._serve_session(peer)
        finally:
            self._free.release()

    def _serve_session(self, peer: RelpPeer) -> None:
        while (message := peer.read()).command == b"syslog":
            [event] = ids_in(message.data)
            self.offered.append(event)
            answer = self.answer(event)
            if answer is None:
                peer.socket.shutdown(socket.SHUT_RDWR)
                return
            if answer.startswith(b"200"):
                self.received.append(event)
            peer.say(message.number, answer)
        peer.say(message.number, b"")

    def url(self, **options: object) -> str:
        """Its sensor URL."""
        return super().url(name="rejecting", **options).replace("tcp://", "relp://")
