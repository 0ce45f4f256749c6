"""The state of a TCP connection that Linux reports beyond POSIX; elsewhere it stays unknown."""

from __future__ import annotations

import contextlib
import socket
import sys

if sys.platform == "linux":
    import fcntl
    import termios

    _TIME_WAIT, _CLOSE = 6, 7  # linux/include/net/tcp_states.h

    def keep_little_unsent(sock: socket.socket, limit: int) -> None:
        """Let the kernel accept only about so many bytes that it has not sent yet."""
        with contextlib.suppress(OSError):  # an optimization that emulated kernels may lack
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, limit)

    def acknowledge_now(sock: socket.socket) -> None:
        """Do not delay acknowledgements: the peer's next data may wait for one (RFC 896)."""
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def unacknowledged(sock: socket.socket) -> int:
        """Bytes that the peer's kernel has not acknowledged, our own end counting as one."""
        answer = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(answer, sys.byteorder, signed=True)

    def is_down(sock: socket.socket) -> bool:
        """Whether both ends are closed and acknowledged, or the connection was reset."""
        state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return state in (_TIME_WAIT, _CLOSE)

else:

    def keep_little_unsent(sock: socket.socket, limit: int) -> None:
        """Leave it to the kernel."""

    def acknowledge_now(sock: socket.socket) -> None:
        """Leave it to the kernel."""

    def unacknowledged(sock: socket.socket) -> int:  # noqa: ARG001 - the same signature
        """Nothing is known: none."""
        return 0

    def is_down(sock: socket.socket) -> bool:  # noqa: ARG001 - the same signature
        """Nothing is known: it is."""
        return True
