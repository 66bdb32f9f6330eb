"""Agents' keys: an Ed25519 pair each, of which the store keeps the public half and the agent the secret.

The secret `gpbk_…` is shown once. Whoever presents it is the agent; mandates are bound to its public half, by its
RFC 7638 thumbprint.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from market.context import LOCAL_OWNER, Caller
from market.errors import Conflict, NotFound, NotSignedIn
from market.procurement_tables import agent_keys
from market.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Row

KEY_PREFIX = "gpbk_"
"""How the secret of a key begins."""
_SEED_BYTES = 32
_NEW_KEY = "The owner makes one with `gpubroker keys create`."

AGENT_SCOPES = frozenset(
    {
        "market:read",
        "procure:quote",
        "procure:spend",
        "bookings:read",
        "alerts:read",
        "alerts:write",
    }
)
"""What an agent may ask for; mandates, keys, approvals, the audit log and administration stay with the owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentKey:
    """One agent's public key and how long it is good for."""

    id: str
    name: str
    thumbprint: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def objection(self, now: datetime) -> str | None:
        """Why the key is not good any more, or None."""
        if self.revoked_at is not None:
            return f"The agent key `{self.id}` was revoked."
        if self.expires_at is not None and now >= self.expires_at:
            return f"The agent key `{self.id}` has expired."
        return None

    @property
    def caller(self) -> Caller:
        """Whoever has shown this key."""
        return Caller(self.name, AGENT_SCOPES, agent_key_id=self.id)


async def create(
    connection: AsyncConnection, *, name: str, created_by: str, now: datetime, expires_at: datetime | None = None
) -> tuple[AgentKey, str]:
    """A new key and its secret, which is kept nowhere. Raises Conflict when a key in use has that name."""
    taken = [key for key in await _found(connection, agent_keys.c.name == name) if key.objection(now) is None]
    if taken:
        raise Conflict(
            f"The agent key `{taken[0].id}` has the name `{name}` already.",
            next_step="Choose another name, or revoke that key first.",
        )
    from market.signing import ed25519

    seed = secrets.token_bytes(_SEED_BYTES)
    pair = ed25519(seed)
    key = AgentKey(
        id=f"key-{secrets.token_hex(6)}",
        name=name,
        thumbprint=pair.thumbprint(),
        created_by=created_by,
        created_at=now,
        expires_at=expires_at,
        revoked_at=None,
    )
    public_key = str(pair.as_dict(private=False)["x"])
    row = {name: getattr(key, name) for name in AgentKey.__dataclass_fields__}
    await connection.execute(insert(agent_keys).values(**row, public_key=public_key))
    return key, KEY_PREFIX + _encoded(seed)


async def presented(store: Store, secret: str, now: datetime) -> AgentKey:
    """The key whose secret this is. Raises NotSignedIn for a secret that is wrong, expired or revoked."""
    from market.signing import ed25519

    seed = _decoded(secret.removeprefix(KEY_PREFIX)) if secret.startswith(KEY_PREFIX) else b""
    if len(seed) != _SEED_BYTES:
        raise NotSignedIn(f"This is no agent key: one begins with `{KEY_PREFIX}`.", next_step=_NEW_KEY)
    thumbprint = ed25519(seed).thumbprint()
    async with store.read() as connection:
        found = await _found(connection, agent_keys.c.thumbprint == thumbprint)
    if not found:
        raise NotSignedIn("The agent key is not known here.", next_step=_NEW_KEY)
    objection = found[0].objection(now)
    if objection:
        raise NotSignedIn(objection, next_step=_NEW_KEY)
    return found[0]


async def caller_behind(store: Store, identity: str, now: datetime) -> Caller:
    """The caller whose things are kept under this identity, for work done on their behalf while they are away.

    Raises NotSignedIn when their key is not good any more.
    """
    if identity == LOCAL_OWNER.identity:
        return LOCAL_OWNER
    async with store.read() as connection:
        found = await _found(connection, agent_keys.c.id == identity)
    objection = found[0].objection(now) if found else f"The agent key `{identity[:60]}` is not known here."
    if objection:
        raise NotSignedIn(objection, next_step=_NEW_KEY)
    return found[0].caller


async def get(connection: AsyncConnection, key: str) -> AgentKey:
    """The key of this id or name, one in use before those that were revoked. Raises NotFound with those there are."""
    every = await _found(connection)
    named = [one for one in every if key in (one.id, one.name)]
    if not named:
        known = [f"{one.id} ({one.name})" for one in every if one.revoked_at is None][-5:]
        raise NotFound(
            f"There is no agent key `{key[:60]}`.",
            next_step=f"There are: {', '.join(known)}." if known else _NEW_KEY,
            details={"nearest": known},
        )
    return max(named, key=lambda one: (one.revoked_at is None, one.created_at))


async def listed(store: Store) -> list[AgentKey]:
    """Every key there ever was, oldest first."""
    async with store.read() as connection:
        return await _found(connection)


async def revoke(connection: AsyncConnection, key_id: str, now: datetime) -> bool:
    """End a key for good; False when it was already."""
    ended = update(agent_keys).where(agent_keys.c.id == key_id, agent_keys.c.revoked_at.is_(None))
    return (await connection.execute(ended.values(revoked_at=now))).rowcount == 1


async def _found(connection: AsyncConnection, *conditions: object) -> list[AgentKey]:
    query = select(agent_keys).order_by(agent_keys.c.created_at, agent_keys.c.id)
    for condition in conditions:
        query = query.where(condition)  # type: ignore[arg-type]  # what == on a column gives is typed as bool
    return [_key(row) for row in await connection.execute(query)]


def _key(row: Row[tuple[object, ...]]) -> AgentKey:
    return AgentKey(**{name: getattr(row, name) for name in AgentKey.__dataclass_fields__})


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
