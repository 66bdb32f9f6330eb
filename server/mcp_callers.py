"""Who calls over MCP: told by the HTTP request of the message, or by this process where there is none."""

from __future__ import annotations

from typing import Any

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import Context as CallContext
from starlette.types import ASGIApp, Receive, Scope, Send

from market.context import Caller, Market
from server.callers import caller_in, local_caller


async def caller_of(context: CallContext[Any, Any] | None, market: Market) -> Caller:
    """Who sent this message. Raises NotSignedIn when this process was given a key that is not good."""
    request = None if context is None else context.request_context.request
    return await local_caller(market) if request is None else caller_in(request.scope)


class SignedIn:
    """Names the agent to the SDK, which then binds its sessions and the state of its questions to that agent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = AuthContextMiddleware(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; one without an agent as it came."""
        caller = caller_in(scope)
        if caller.agent_key_id is not None:
            # the SDK compares who it is and never needs the secret
            token = AccessToken(token="", client_id=caller.agent_key_id, scopes=sorted(caller.scopes))
            scope = {**scope, "user": AuthenticatedUser(token)}
        await self._app(scope, receive, send)
