"""Agents' keys: made, listed and revoked by the owner, over HTTP and from the command line."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from market.context import Context
from market.errors import Conflict
from tools.capability import Door, Request, Result, capability, intent_of
from tools.offer_view import Moment

if TYPE_CHECKING:
    from market.agent_keys import AgentKey

SCOPE = "keys:manage"
HTTP_DOOR: frozenset[Door] = frozenset({"http"})
LONGEST_DAYS = 3_660


class CreateKey(Request):
    """What to call the agent, and for how long its key is good."""

    name: str = Field(
        min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]*$", description="e.g. `research-agent`."
    )
    expires_in_days: float | None = Field(
        default=None, gt=0, le=LONGEST_DAYS, allow_inf_nan=False, description="Default: until it is revoked."
    )


class NamedKey(Request):
    """Which key."""

    key: str = Field(min_length=1, max_length=60, description="Its id, or its name.")


class ListKeys(Request):
    """No arguments."""


class KeyView(Result):
    """One agent key, without its secret."""

    id: str
    name: str
    thumbprint: str = Field(description="RFC 7638, of the public key.")
    state: Literal["good", "expired", "revoked"]
    created_at: Moment
    created_by: str
    expires_at: Moment | None = None
    revoked_at: Moment | None = None


class NewKey(KeyView):
    """A key that was made just now."""

    secret: str | None = Field(
        default=None, description="Shown this once; the agent sends it as `Authorization: Bearer …`."
    )


class Keys(Result):
    """Every key there ever was, oldest first."""

    items: list[KeyView]


class RevokedKey(KeyView):
    """A key that is good no more, and the mandates that ended with it."""

    mandates: list[str] = Field(description="Mandates revoked with it.")


@capability("POST /keys", scope=SCOPE, effect="write", doors=HTTP_DOOR)
async def create_key(ctx: Context, request: CreateKey) -> NewKey:
    """Make a key for an agent; mandates are bound to it. Its secret is shown this once."""
    from market import agent_keys

    commitment = intent_of(ctx)
    store, now = await ctx.market.store(), ctx.market.clock.now()
    if commitment.subject is not None:
        # the secret went with the answer that was lost
        async with store.read() as connection:
            return NewKey(**_shown(await agent_keys.get(connection, commitment.subject), now))
    days = request.expires_in_days
    async with store.write() as connection:
        key, secret = await agent_keys.create(
            connection,
            name=request.name.strip(),
            created_by=ctx.caller.name,
            now=now,
            expires_at=None if days is None else now + timedelta(days=days),
        )
        told = {"name": key.name, "thumbprint": key.thumbprint, "expires_at": key.expires_at}
        await commitment.begin(connection, action="key.create", subject=key.id, details=told)
    return NewKey(**_shown(key, now), secret=secret)


@capability("GET /keys", scope=SCOPE, effect="read", doors=HTTP_DOOR)
async def list_keys(ctx: Context, request: ListKeys) -> Keys:
    """List the agents' keys."""
    from market import agent_keys

    now = ctx.market.clock.now()
    return Keys(items=[KeyView(**_shown(key, now)) for key in await agent_keys.listed(await ctx.market.store())])


@capability("DELETE /keys/{key}", scope=SCOPE, effect="write", doors=HTTP_DOOR)
async def revoke_key(ctx: Context, request: NamedKey) -> RevokedKey:
    """Revoke a key and every mandate bound to it; what runs under them goes on or ends as each mandate says."""
    from market import agent_keys, mandate_register

    commitment = intent_of(ctx)
    market = ctx.market
    store, now = await market.store(), market.clock.now()
    ended: list[str] = []
    async with store.write() as connection:
        key = await agent_keys.get(connection, commitment.subject or request.key)
        if commitment.subject is None:
            if not await agent_keys.revoke(connection, key.id, now):
                raise Conflict(f"The agent key `{key.id}` was revoked already.")
            ended = await mandate_register.bound_to(connection, key.id)
            for mandate_id in ended:
                await mandate_register.revoke(connection, market.settings, mandate_id, now)
            await commitment.begin(connection, action="key.revoke", subject=key.id, details={"mandates": ended})
            key = await agent_keys.get(connection, key.id)
    return RevokedKey(**_shown(key, now), mandates=ended)


def _shown(key: AgentKey, now: datetime) -> dict[str, Any]:
    state = "good" if key.objection(now) is None else "expired" if key.revoked_at is None else "revoked"
    names = ("id", "name", "thumbprint", "created_at", "created_by", "expires_at", "revoked_at")
    return {"state": state, **{name: getattr(key, name) for name in names}}
