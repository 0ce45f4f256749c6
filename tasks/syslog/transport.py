"""The interface of all transports, and the outcome of a delivery.

```
encoding (message) → framing → socket (udp; tcp over connection; tls_transport over tcp;
                                       relp_transport over either of these two)
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

import pyarrow as pa

if TYPE_CHECKING:
    from datetime import datetime

    from tasks.syslog.destination import Destination

CONFIRMED = "confirmed"
SENT = "sent"
FAILED = "failed"
UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True)
class Outcome:
    """What became of one batch.

    Attributes:
        statuses: One a message, in order: ``confirmed`` (the receiver is known to have read it),
            ``sent`` (UDP: handed to the network, nobody can know more), ``unconfirmed`` (handed
            over at least in part, and nothing proves that it was read) or ``failed`` (never
            handed over, or refused).
        error: The fault and remedy for messages that are neither confirmed nor sent; None where
            there are none.
        refused: Which messages the receiver refused, each by itself; None for none.
    """

    statuses: pa.StringArray
    error: str | None = None
    refused: pa.BooleanArray | None = None

    @classmethod
    def of(cls, *runs: tuple[str, int], error: str | None = None) -> Outcome:
        """Statuses from runs of equal ones: ``("unconfirmed", 3), ("failed", 997)``."""
        empty = pa.array([], pa.string())
        return cls(pa.concat_arrays([empty, *(pa.repeat(*run) for run in runs)]), error)


class Transport(Protocol):
    """The socket of one destination. Not for several threads at once."""

    @property
    def certificate_until(self) -> datetime | None:
        """Until when the receiver's certificate is valid, in UTC.

        None without TLS, and until there was a connection.
        """

    def deliver(self, messages: pa.BinaryArray | pa.ChunkedArray) -> Outcome:
        """Carry one batch of framed messages over: connect, send, confirm, close.

        A kind that confirms without closing may keep its connection for the next batch.

        Every expected fault is an outcome, and each of connecting, sending and closing takes a
        bounded time. If any other exception passes through (Ctrl-C, a signal handler's), the
        connection was aborted and the caller calls the whole batch ``unconfirmed``: any part of it
        may have gone out.
        """

    def check(self) -> str:
        """Describe the receiver without sending it any message.

        Raises:
            SensorError: It cannot be used; says why and what to do.
        """

    def close(self) -> None:
        """End in order what was kept open; the transport may be used again."""


class StreamConnection(Protocol):
    """A connection that is ready for a batch."""

    def is_open(self) -> bool:
        """Whether the receiver has not ended it, as far as that has arrived. Waits for nothing."""

    def close(self) -> None:
        """Close it without a batch."""


AnyConnection = TypeVar("AnyConnection", bound=StreamConnection)


class StreamTransport(Transport, Protocol[AnyConnection]):
    """The transport of a destination that several connections may lead to at once.

    It is safe in several threads: what they learn of the receiver, and the rate, is of all of them.

    Attributes:
        keeps_connections: Whether a connection serves batch after batch; else it ends with one.
    """

    keeps_connections: ClassVar[bool]

    def connect(self) -> AnyConnection:
        """Connect now for a batch to come. Who does not use it closes it.

        Raises:
            SensorError: There is no connection; says why and what to do.
        """

    def deliver(
        self,
        messages: pa.BinaryArray | pa.ChunkedArray,
        connection: AnyConnection | None = None,
    ) -> Outcome:
        """See `Transport`; on a connection that was made before, where one is given."""

    def require_served(self, count: int) -> None:
        """See that the receiver serves so many connections at the same time; nothing is sent.

        Raises:
            SensorError: It does not.
        """


def check(destination: Destination) -> str:
    """One line for people: what the receiver is, and how messages are framed for it.

    Sends nothing. Over TCP and TLS it goes through connecting, the handshake and the orderly close
    that a confirmation needs.

    Raises:
        SensorError: The receiver cannot be used; says why and what to do.
        SettingsError: The certificate files cannot be used.
    """
    from tasks.syslog.framing import FRAMINGS

    framing = FRAMINGS[destination.framing].description
    found = destination.open_transport().check()
    return f"{destination.address}: {found}; {destination.format}, {framing}"
