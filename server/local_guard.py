"""Who may talk to a server that takes every caller for its owner: programs of this machine, and no web page.

`serve` acts as the local owner only while it is bound to a loopback address. A page in a browser can reach such a
server too, so every route checks Host (against DNS rebinding) and Origin, and refuses what a proxy forwarded.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from market.errors import NotAllowed
from server.rest import refused, trace_of

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


class LocalGuard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what a program of this machine sent; answer the rest with 403."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = objection(Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.message})
        else:
            await refused(refusal, trace_of(Request(scope)))(scope, receive, send)


def objection(headers: Headers) -> NotAllowed | None:
    """Why these headers are not those of a local program, or None."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not is_loopback(f"//{hosts[0]}"):
        return NotAllowed(
            "This server answers to `localhost` only.", next_step="Use http://127.0.0.1 with the port it printed."
        )
    if not all(map(is_loopback, headers.getlist("origin"))):
        return NotAllowed("Pages of other sites may not use this server.", next_step="Call it from a local program.")
    if any(name in headers for name in _FORWARDED):
        return NotAllowed(
            "A proxy forwarded this request; without sign-in that is refused.",
            next_step="Call the server directly from its own machine.",
        )
    return None


def is_loopback(address: str) -> bool:
    """Whether an URL, or `//host:port`, names this machine and nothing else."""
    try:
        parts = urlsplit(address.strip())
        return parts.hostname in LOOPBACK_NAMES and "@" not in parts.netloc and parts.path in ("", "/")
    except ValueError:
        return False
