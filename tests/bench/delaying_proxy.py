"""A proxy in a process of its own that makes a receiver far away, whatever TCP's windows allow.

What arrives, the ends included, is passed on half a round trip later; nothing is passed on before a
round trip has gone by since the connection, as connecting takes so long on a real path.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from tests.bench.listening_process import ListeningProcess

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_READ = 256 * 1024


class DelayingProxy(ListeningProcess):
    """Listens on a free port of loopback while the context is entered.

    Args:
        port: The receiver's, on loopback.
        round_trip: Seconds.
    """

    def __init__(self, port: int, round_trip: float) -> None:
        super().__init__(_serve, port, round_trip)


def _serve(there: Connection, port: int, round_trip: float) -> None:
    connections: set[asyncio.Task[None] | None] = set()  # the event loop keeps no task alive

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        begun = asyncio.get_running_loop().time() + round_trip
        from_receiver, to_receiver = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(
            _carry(reader, to_receiver, begun, round_trip / 2),
            _carry(from_receiver, writer, begun, round_trip / 2),
        )
        for end in (to_receiver, writer):
            end.close()
        connections.discard(asyncio.current_task())

    async def serve() -> None:
        server = await asyncio.start_server(connect, sock=socket.create_server(("127.0.0.1", 0)))
        there.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begun: float, delay: float
) -> None:
    """Pass on what one side sends, and its end."""
    now = asyncio.get_running_loop().time
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def read() -> None:
        data = b"first"
        while data:
            data = await reader.read(_READ)
            under_way.put_nowait((max(now(), begun) + delay, data))

    reading = asyncio.create_task(read())
    while True:
        due, data = await under_way.get()
        await asyncio.sleep(due - now())
        if not data:
            break
        writer.write(data)
        await writer.drain()
    writer.write_eof()
    await reading
