"""The web server under the Halo API stand-in: uvicorn, with its connections at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from sandbox.halo_app import HaloApp


def server(app: HaloApp, tls: tuple[Path, Path] | None) -> uvicorn.Server:
    """A server that serves the application, not started yet.

    Args:
        app: the application; told of every connection.
        tls: (certificate file, key file) to speak HTTPS.
    """

    class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        """uvicorn's own, telling the application of its connections, which some faults break."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            app.connected(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            app.transports.pop(self.client, None)
            super().connection_lost(exc)

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
            ssl_certfile=str(tls[0]) if tls else None,
            ssl_keyfile=str(tls[1]) if tls else None,
        )
    )
