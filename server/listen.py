"""`gpubroker serve`: the application on a port, until it is told to stop."""

from __future__ import annotations

import socket
import sys

import uvicorn

from market.errors import Unavailable
from market.settings import Settings
from server.app import http_app, make_market


async def listen(settings: Settings) -> None:
    """Serve MCP and HTTP; says on stderr where. Raises Unavailable when the port is taken."""
    app = http_app(settings, make_market(settings))
    listener = _bound(settings)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"GPUBroker listens on http://{shown}:{port}  (MCP at /mcp, API at /api/v2, /openapi.json)", file=sys.stderr)
    config = uvicorn.Config(
        app, log_level=settings.log_level.lower(), ws="websockets-sansio", lifespan="on", server_header=False
    )
    await uvicorn.Server(config).serve(sockets=[listener])


def _bound(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as problem:
        listener.close()
        raise Unavailable(
            f"Cannot listen on {settings.host}:{settings.port} ({problem.strerror}).",
            next_step="Choose another port with `--port`, or `--port 0` for a free one.",
        ) from None
    return listener
