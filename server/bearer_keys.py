"""The key an agent shows over HTTP: a good one becomes the caller of the request, any other is answered with 401."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from market.context import Market
from market.errors import BrokerError, NotSignedIn
from server.callers import CALLER, bearer
from server.rest import refused, trace_of

_CHALLENGE = 'Bearer realm="gpubroker", error="invalid_token"'


class BearerKeys:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, market: Market) -> None:
        self._app = app
        self._market = market

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its caller."""
        shown = Headers(scope=scope).getlist("authorization") if scope["type"] in ("http", "websocket") else []
        if not shown:
            await self._app(scope, receive, send)
            return
        try:
            caller = await bearer(self._market, shown)
        except BrokerError as refusal:
            await _refuse(refusal, scope, receive, send)
            return
        await self._app({**scope, CALLER: caller}, receive, send)


async def _refuse(refusal: BrokerError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.message[:120]})
        return
    headers = {"WWW-Authenticate": _CHALLENGE} if isinstance(refusal, NotSignedIn) else {}
    await refused(refusal, trace_of(Request(scope)), headers=headers)(scope, receive, send)
