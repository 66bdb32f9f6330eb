"""Who calls: an agent that shows its key, else the local owner.

Over HTTP the key comes as `Authorization: Bearer gpbk_…`, from a terminal and over stdio as `GPUBROKER_AGENT_KEY`. The
key is never logged and goes no further than here. Without one, whoever reaches a server bound to this machine counts
as its owner: a program on the same machine is trusted as the person who runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from market.context import LOCAL_OWNER, Caller, Market
from market.errors import NotSignedIn

CALLER = "gpubroker.caller"
"""Where the caller stands in an ASGI scope."""


async def local_caller(market: Market) -> Caller:
    """Who uses this terminal or this stdio server. Raises NotSignedIn for a key that is not good."""
    secret = market.settings.agent_key
    return await _behind(market, secret) if secret else LOCAL_OWNER


async def bearer(market: Market, shown: Sequence[str]) -> Caller:
    """Who these `Authorization` headers stand for; none is the local owner. Raises NotSignedIn."""
    if not shown:
        return LOCAL_OWNER
    scheme, _, secret = shown[0].strip().partition(" ")
    if len(shown) != 1 or scheme.lower() != "bearer" or not secret.strip():
        raise NotSignedIn(
            "The `Authorization` header cannot be read.", next_step="Send one: `Authorization: Bearer gpbk_…`."
        )
    return await _behind(market, secret)


def caller_in(scope: Mapping[str, Any]) -> Caller:
    """Who sent this request: what `server.bearer_keys` has found, else the local owner."""
    caller = scope.get(CALLER, LOCAL_OWNER)
    if not isinstance(caller, Caller):
        raise TypeError("the scope holds no caller")
    return caller


async def _behind(market: Market, secret: str) -> Caller:
    from market import agent_keys

    return (await agent_keys.presented(await market.store(), secret.strip(), market.clock.now())).caller
