"""RELP: a listener that acknowledges each message once its application has taken it.

TCP and TLS prove that a receiver has read a batch; a relay that speaks RELP, such as rsyslog's
imrelp, says so itself, message by message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tasks.syslog.destination import StreamDestination
from tasks.syslog.tcp import TcpTransport
from tasks.syslog.tls import TlsOptions

if TYPE_CHECKING:
    from tasks.syslog.relp_session import RelpSession
    from tasks.syslog.transport import StreamTransport


class RelpDestination(StreamDestination):
    """One RELP listener."""

    default_port: ClassVar[int | None] = 2514  # that of rsyslog's documentation

    @property
    def framing(self) -> str:
        """See :class:`Destination`."""
        return "relp"

    def open_transport(self) -> StreamTransport[RelpSession]:
        """See :class:`Destination`."""
        from tasks.syslog.relp_transport import RelpTransport

        return RelpTransport(self, TcpTransport(self))


class RelpsDestination(RelpDestination, TlsOptions):
    """One RELP listener that is reached through TLS."""

    def open_transport(self) -> StreamTransport[RelpSession]:
        """See :class:`Destination`."""
        from tasks.syslog.relp_transport import RelpTransport
        from tasks.syslog.tls_transport import TlsTransport

        return RelpTransport(self, TlsTransport(self))
