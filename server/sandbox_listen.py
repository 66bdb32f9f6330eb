"""Serving the simulated cloud: uvicorn with connections that can be reset, and a stand-in for the machines' SSH."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BANNER = b"SSH-2.0-GPUBroker_sandbox_stand-in\r\n"
"""What answers at a running machine's SSH address. It is a stand-in: it greets and hangs up, there is no machine."""
_NO_LINGER = struct.pack("ii", 1, 0)


class Doors:
    """The open connections of one server, so that an application may break its own off."""

    def __init__(self) -> None:
        self._open: dict[Any, asyncio.Transport] = {}

    def wire_of(self, scope: Scope) -> Line:
        """The connection a request came over."""
        return Line(self._open.get(scope["client"]))

    def protocol(self) -> type[asyncio.Protocol]:
        """uvicorn's HTTP protocol, keeping the connections here."""
        doors = self._open

        class Kept(HttpToolsProtocol):
            """A connection that is written down while it lasts."""

            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                """Write it down."""
                super().connection_made(transport)
                doors[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                """Forget it."""
                doors.pop(self.client, None)
                super().connection_lost(exc)

        return Kept


class Line:
    """One connection."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport

    async def sleep(self, seconds: float) -> None:
        """Keep the caller waiting."""
        await anyio.sleep(seconds)

    def reset(self) -> None:
        """Break off with a reset instead of an orderly end."""
        if self._transport is None:
            return
        connection = self._transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()


def server(app: ASGIApp, doors: Doors) -> uvicorn.Server:
    """A server that is not running yet; faults are its business, so it does not log them."""
    config = uvicorn.Config(
        app,
        http=doors.protocol(),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


async def run(server: uvicorn.Server, web: socket.socket, ssh: socket.socket, awake: Callable[[], bool]) -> None:
    """Serve until the server is told to stop; `awake` says whether any machine runs."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if awake():
            writer.write(BANNER)
        writer.close()

    async with await asyncio.start_server(greet, sock=ssh):
        await server.serve(sockets=[web])


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
