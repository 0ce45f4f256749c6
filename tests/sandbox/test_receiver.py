from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.deframer import Deframer
from sandbox.receiver import Receiver

if TYPE_CHECKING:
    from pathlib import Path

MESSAGES = [b"<14>one", b"<14>two", "<14>drei ä".encode()]


def connect(receiver: Receiver, name: str) -> socket.socket:
    """A plain connection to one of its ports."""
    return socket.create_connection(("127.0.0.1", receiver.port(name)), 5)


def counted(messages: list[bytes]) -> bytes:
    """Framed by octet counting."""
    return b"".join(b"%d %s" % (len(message), message) for message in messages)


@pytest.mark.parametrize("stream", [b"\n".join(MESSAGES) + b"\n", counted(MESSAGES)])
def test_reads_both_framings_and_closes_after_the_end(stream: bytes) -> None:
    """Over TCP it tells the framing by itself, and closes only after the sender's end."""
    with Receiver("tcp") as receiver, connect(receiver, "tcp") as sock:
        sock.sendall(stream)
        assert receiver.wait_for(3, "tcp") == MESSAGES
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(5)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
        assert receiver.counts() == {"tcp": 3}
        assert (receiver.connections, receiver.torn, receiver.faults) == (1, 0, [])


def test_answers_close_notify() -> None:
    """Over TLS it ends with a close_notify of its own."""
    with Receiver("tls") as receiver:
        ca = parse_qs(urlsplit(receiver.url("tls")).query)["ca"][0]
        context = ssl.create_default_context(cafile=ca)
        with connect(receiver, "tls") as plain:
            sock = context.wrap_socket(plain, server_hostname="127.0.0.1")
            sock.sendall(counted(MESSAGES))
            with sock.unwrap() as rest:  # raises where no close_notify comes
                assert rest.recv(1) == b""
        assert receiver.messages("tls") == MESSAGES


def test_reads_datagrams() -> None:
    """Over UDP a datagram is a message."""
    with Receiver("udp") as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for message in MESSAGES:
            sock.sendto(message, ("127.0.0.1", receiver.port("udp")))
        assert receiver.wait_for(3) == MESSAGES
        with pytest.raises(TimeoutError, match="3 of 4 messages"):
            receiver.wait_for(4, "udp", seconds=0.1)


def test_what_breaks_off_is_counted() -> None:
    """Half a message at the end, and a stream framed in no known way, are kept apart."""
    with Receiver("tcp") as receiver:
        for stream in (b"<14>whole\n<14>ha", b"9 <14>whole12345678901234"):
            with connect(receiver, "tcp") as sock:
                sock.sendall(stream)
                sock.shutdown(socket.SHUT_WR)
                assert sock.recv(1) == b""
        receiver.wait_for(2)
    assert receiver.messages() == [b"<14>whole", b"<14>whole"]
    assert receiver.torn == 2
    assert len(receiver.faults) == 1


def test_writes_what_it_reads(tmp_path: Path) -> None:
    """With an output file each message is a line of it."""
    output = tmp_path / "received.log"
    with Receiver("tcp", output=output) as receiver, connect(receiver, "tcp") as sock:
        sock.sendall(counted(MESSAGES))
        receiver.wait_for(3)
        assert output.read_bytes() == b"".join(message + b"\n" for message in MESSAGES)


def test_stops_under_open_connections() -> None:
    """Leaving the context hangs up on whoever is still there."""
    with Receiver() as receiver:
        tcp, tls = connect(receiver, "tcp"), connect(receiver, "tls")
        tcp.sendall(b"<14>x\n")
        receiver.wait_for(1)
    for sock in (tcp, tls):
        with sock:
            assert sock.recv(1) == b""


def test_urls() -> None:
    """A URL is what the sensor setting takes, with options on demand."""
    with Receiver() as receiver:
        assert receiver.url("tcp") == f"tcp://127.0.0.1:{receiver.port('tcp')}"
        assert receiver.url("udp", rate=5).endswith(f":{receiver.port('udp')}?rate=5")
        assert "?ca=/" in receiver.url("tls")


def test_unknown_listener() -> None:
    """A listener that there is not is refused."""
    with pytest.raises(ValueError, match="unknown listeners"):
        Receiver("sctp")


def test_as_a_program(tmp_path: Path) -> None:
    """As a program it says where it listens, shows what comes, and what it counted in the end."""
    output = tmp_path / "received.log"
    command = [sys.executable, "-m", "sandbox.receiver", "--listen", "tcp", "--listen", "udp"]
    with subprocess.Popen(
        [*command, "--show", "--output", str(output)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        tcp, udp = (urlsplit(process.stdout.readline().strip()) for _ in range(2))
        assert (tcp.scheme, udp.scheme) == ("tcp", "udp")
        with socket.create_connection(("127.0.0.1", tcp.port or 0), 5) as sock:
            sock.sendall(counted([*MESSAGES, b"<14>clear \x1b[2J\xff"]))
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
        shown = [process.stdout.readline() for _ in range(4)]
        assert shown[-1] == "tcp: <14>clear \\x1b[2J\\xff\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "messages: 4 tcp 0 udp\n"
        assert process.wait(10) == 0
    assert len(output.read_bytes().splitlines()) == 4


def test_ports() -> None:
    """Listeners take the ports that follow the first one's."""
    with Receiver("tcp") as free:
        port = free.port("tcp")
    with Receiver("tcp", "udp", port=port) as receiver:
        assert (receiver.port("tcp"), receiver.port("udp")) == (port, port + 1)


@given(
    st.lists(st.binary(min_size=1).filter(lambda m: b"\n" not in m and not m[:1].isdigit())),
    st.lists(st.integers(1, 20)),
    st.booleans(),
)
def test_framings_survive_any_cut(messages: list[bytes], cuts: list[int], count: bool) -> None:  # noqa: FBT001
    """However a stream arrives, the messages are the same."""
    stream = counted(messages) if count else b"".join(m + b"\n" for m in messages)
    deframer = Deframer()
    read: list[bytes] = []
    for cut in cuts:
        read += deframer.feed(stream[:cut])
        stream = stream[cut:]
    read += deframer.feed(stream)
    assert read == messages
    assert not deframer.torn
