"""`gpubroker serve`: the application on a port, until it is told to stop."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from market.errors import Unavailable
from market.settings import Settings
from server.app import http_app, make_market

CLOSING_SECONDS = 3
"""How long open streams may go on after a signal; an MCP client keeps one open for as long as it lives."""


async def listen(settings: Settings) -> None:
    """Serve MCP and HTTP; says on stderr where. Raises Unavailable when the port is taken."""
    app = http_app(settings, make_market(settings))
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level=settings.log_level.lower(),
        ws="websockets-sansio",
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )
    with _bound(settings) as listener, signals_only_end():
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(
            f"GPUBroker listens on http://{shown}:{port}  (MCP at /mcp, API at /api/v2, /openapi.json)",
            file=sys.stderr,
            flush=True,
        )
        await uvicorn.Server(config).serve(sockets=[listener])


def _bound(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        # From here on a client may connect; it is answered as soon as the application has started.
        listener.listen()
    except OSError as problem:
        listener.close()
        raise Unavailable(
            f"Cannot listen on {settings.host}:{settings.port} ({problem.strerror}).",
            next_step="Choose another port with `--port`, or `--port 0` for a free one.",
        ) from None
    return listener


@contextmanager
def signals_only_end() -> Iterator[None]:
    """The server shuts down in order on SIGINT and SIGTERM, and then raises the signal again: by then all is done."""
    before = {number: signal.signal(number, _done) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _done(_number: int, _frame: object) -> None:
    return None
