"""A TCP receiver that can be killed: reads each connection to its end, writes, then closes.

python -m tests.staging.killable_receiver PORT FILE
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys


def main() -> None:
    """Receive until killed; a connection's bytes are in the file before it is closed."""
    port, path = int(sys.argv[1]), sys.argv[2]
    sink = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                while part := connection.recv(1024):
                    os.write(sink, part)


if __name__ == "__main__":
    main()
