"""One TCP connection whose end proves that the receiver has read everything.

Syslog has no acknowledgement, and a successful ``send`` only means that this machine's kernel took
the bytes. The proof comes at the end: a correct receiver closes its side after it has read
everything up to our end. So a connection ends well only if

1. the receiver's end did not arrive before ours,
2. it arrived after ours and acknowledged all our bytes, and
3. the socket then ended cleanly: TIME_WAIT or CLOSE (Linux, TCP_INFO), no error.

Where the platform cannot tell the third, the first two and the absence of a read error have to be
enough. A proxy or load balancer answers for itself.

RELP, which has acknowledgements, goes without all that: :mod:`tasks.syslog.relp_session`.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from tasks.syslog.kernel import acknowledge_now, is_down, keep_little_unsent, unacknowledged

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.syslog.end_delay import EndDelay

# Bounds the unsent bytes in the kernel: progress shows in small steps, and fewer messages are in
# doubt after a broken connection.
_UNSENT_LIMIT = 64 * 1024
_CHUNK = 64 * 1024
_READ = 64 * 1024
_READS = 16
# Less than this in a whole time limit is no progress: it bounds the time for any size of batch.
_PROGRESS = 16 * 1024
_FIRST_STEP, _LAST_STEP = 0.00005, 0.01


def _ignore(data: bytes) -> None:
    """What the receiver says."""


class Connection:
    """A connected TCP socket. Every wait is bounded by ``timeout`` seconds without progress.

    Args:
        sock: The socket, which is closed by :meth:`close` or :meth:`abort`.
        timeout: Seconds.
        end_delay: Tells when our side may end.

    Attributes:
        timeout: As it was given.
        taken: Bytes handed to :meth:`send` of which at least a part may have gone out.
        listener: Is given what the receiver says. Syslog's receivers need not say anything: by
            default it is read, so that none blocks on us, and ignored.
        answered: Bytes of messages that the receiver has answered, where it does: progress, too.

    Raises:
        OSError: From every method: the connection is broken, or took too long.
    """

    def __init__(self, sock: socket.socket, timeout: float, end_delay: EndDelay) -> None:
        self._sock = sock
        self.timeout = timeout
        self._end_delay = end_delay
        self._connected = time.monotonic()
        self._poll = select.poll()
        self._handed = 0
        self._ended = False
        self._deadline = 0.0
        self._progress = 0
        self.taken = 0
        self.answered = 0
        self.listener: Callable[[bytes], None] = _ignore
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_little_unsent(sock, _UNSENT_LIMIT)
        self._start_clock()

    def send(self, data: memoryview) -> None:
        """Hand all of it to the kernel."""
        self._start_clock()
        before = self._handed
        try:
            self._push(data)
        finally:
            self.taken += self._handed - before

    def finish(self) -> None:
        """End the connection in order; returning means that the receiver has read everything."""
        self._wait_for_early_end()
        self._sock.shutdown(socket.SHUT_WR)
        self._start_clock()
        self._read_end()
        self._require_clean_end()

    def is_open(self) -> bool:
        """Whether the receiver has neither ended nor broken the connection. Waits for nothing."""
        try:
            self._ready(0, 0)
        except OSError:
            return False
        return not self._has_ended()

    def wait(self) -> None:
        """Return once the receiver said something, or after a while.

        Raises:
            ConnectionAbortedError: It has ended its side.
        """
        self.require_not_ended()
        self._wait(0)

    def take_arrived(self) -> None:
        """Give the listener what has arrived, without waiting."""
        for _ in range(_READS):  # a receiver may speak faster than it is read
            if self._ended or not self._receive():
                break

    def require_not_ended(self) -> None:
        """Raise if the receiver ended its side, as far as that has arrived."""
        if self._has_ended():
            raise ConnectionAbortedError("the receiver closed the connection; its log may say why")

    def end(self) -> None:
        """End our side in order, and wait for nothing."""
        self._sock.shutdown(socket.SHUT_WR)

    def describe(self) -> str:
        """What is known of the receiver's side, for people."""
        return "connected"

    def close(self) -> None:
        """Free the socket after a clean end."""
        self._sock.close()

    def abort(self) -> None:
        """Give up: what the kernel still holds is dropped rather than sent late, behind a repeat.

        The receiver sees a reset, so that half a message is not taken for a whole one.
        """
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def _push(self, data: memoryview | bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                count = self._sock.send(view[:_CHUNK])
            except BlockingIOError:
                self._wait(select.POLLOUT)
                continue
            self._handed += count
            view = view[count:]

    def _incoming(self, data: bytes) -> None:
        self.listener(data)

    def _receive(self) -> bool:
        """Take what is readable; whether there was anything, the receiver's end included."""
        try:
            data = self._sock.recv(_READ)
        except BlockingIOError:
            return False
        if data:
            self._incoming(data)
        else:
            self._ended = True
        return True

    def _wait(self, events: int) -> None:
        """Return once the socket is ready, or something was received; raise when out of time."""
        self._ready(events, self._remaining())

    def _ready(self, events: int, seconds: float) -> None:
        if not self._ended:
            events |= select.POLLIN
        self._poll.register(self._sock, events)
        for _, found in self._poll.poll(max(0.0, seconds) * 1000):
            if not self._ended and found & (select.POLLIN | select.POLLERR | select.POLLHUP):
                self._receive()

    def _start_clock(self) -> None:
        self._deadline = time.monotonic() + self.timeout
        self._progress = self._handed - unacknowledged(self._sock) + self.answered

    def _remaining(self) -> float:
        """Seconds left. The clock restarts whenever the receiver took enough bytes in its time.

        Raises:
            TimeoutError: The time is over and the receiver took less.
        """
        now = time.monotonic()
        if now >= self._deadline:
            before = self._progress
            self._start_clock()
            if self._progress - before < _PROGRESS:
                raise TimeoutError(
                    f"the receiver took nothing more for {self.timeout:g} s, or did not close "
                    "after our end; if it is only slow, raise timeout= or lower batch="
                )
        return self._deadline - now

    def _wait_for_early_end(self) -> None:
        """The first condition: the receiver has not ended its side before us."""
        acknowledge_now(self._sock)
        until = self._end_delay.until(self._connected, time.monotonic())
        while not self._has_ended() and (left := until - time.monotonic()) > 0:
            self._ready(0, left)
        if not self._has_ended():
            self._ready(0, 0)
        if self._has_ended():
            # It may still be reading, so what was sent is not discarded.
            self._sock.close()
            raise ConnectionAbortedError(
                "the receiver ended its side before we had ended ours, so that nothing shows "
                "whether it reads; check what listens there"
            )

    def _has_ended(self) -> bool:
        return self._ended

    def _read_end(self) -> None:
        """The second condition: the receiver's end, after ours."""
        while not self._ended:
            self._wait(0)

    def _require_acknowledged(self, but: int = 0) -> None:
        """Raise if the receiver sent its end before it can have received ours."""
        if unacknowledged(self._sock) > but:
            raise ConnectionAbortedError(
                "the receiver ended its side before it can have read ours; check what listens there"
            )

    def _require_clean_end(self, but: int = 0) -> None:
        """The third condition; ``but`` bytes of our end may still be on their way."""
        self._require_acknowledged(but)
        step = _FIRST_STEP
        while not is_down(self._sock):
            time.sleep(min(step, self._remaining()))
            step = min(2 * step, _LAST_STEP)
        error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
