"""Leases: one holder at a time of a named job (the sync, the watchdog), until a stated moment."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import text

from market.rows import to_micros
from market.store import Store

_TAKE = text(
    "INSERT INTO leases (name, holder, expires_at) VALUES (:name, :holder, :expires_at) "
    "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at "
    "WHERE leases.holder = excluded.holder OR leases.expires_at <= :now "
    "RETURNING holder"
)
_HELD = text("SELECT 1 FROM leases WHERE name = :name AND expires_at > :now")
_RELEASE = text("DELETE FROM leases WHERE name = :name AND holder = :holder")


async def take(store: Store, name: str, holder: str, ttl: timedelta, now: datetime) -> bool:
    """Take or renew the lease; False while somebody else holds it. It is held until `now + ttl`."""
    values = {"name": name, "holder": holder, "expires_at": to_micros(now + ttl), "now": to_micros(now)}
    async with store.write() as connection:
        return (await connection.execute(_TAKE, values)).first() is not None


async def held(store: Store, name: str, now: datetime) -> bool:
    """Whether somebody holds it now."""
    async with store.read() as connection:
        return (await connection.execute(_HELD, {"name": name, "now": to_micros(now)})).first() is not None


async def release(store: Store, name: str, holder: str) -> None:
    """Give the lease back early; one that somebody else holds stays theirs."""
    async with store.write() as connection:
        await connection.execute(_RELEASE, {"name": name, "holder": holder})
