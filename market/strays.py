"""Strays: machines that run at a provider and that no booking knows (orphans), and the reverse (ghosts)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from market.procurement_tables import bookings, instances, strays
from market.store import Store

Kind = Literal["orphan", "ghost"]


@dataclass(frozen=True, slots=True)
class Stray:
    """One of them; `action` says what was done about it."""

    provider: str
    provider_instance_id: str
    kind: Kind
    label: str | None
    booking_id: str | None
    action: str
    first_seen_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class Known:
    """A machine as our book has it."""

    label: str
    booking_id: str
    state: str
    provider_instance_id: str | None
    owner: str


async def known_machines(store: Store, provider: str) -> dict[str, Known]:
    """Every machine ever ordered from a provider, by label."""
    query = (
        select(
            instances.c.label,
            instances.c.booking_id,
            instances.c.state,
            instances.c.provider_instance_id,
            bookings.c.caller,
        )
        .join(bookings, bookings.c.id == instances.c.booking_id)
        .where(bookings.c.provider == provider)
    )
    async with store.read() as connection:
        return {row[0]: Known(*row) for row in await connection.execute(query)}


async def providers_used(store: Store) -> list[str]:
    """The providers anything was ever booked at."""
    async with store.read() as connection:
        return list((await connection.execute(select(bookings.c.provider).distinct())).scalars())


async def note(
    connection: AsyncConnection,
    *,
    provider: str,
    provider_instance_id: str,
    kind: Kind,
    label: str | None,
    booking_id: str | None,
    action: str,
    at: datetime,
) -> bool:
    """Write one down; whether it was new."""
    mine = (strays.c.provider == provider, strays.c.provider_instance_id == provider_instance_id)
    seen = update(strays).where(*mine).values(last_seen_at=at, action=action, kind=kind, resolved_at=None)
    if (await connection.execute(seen)).rowcount:
        return False
    await connection.execute(
        insert(strays).values(
            provider=provider,
            provider_instance_id=provider_instance_id,
            kind=kind,
            label=label,
            booking_id=booking_id,
            action=action,
            first_seen_at=at,
            last_seen_at=at,
        )
    )
    return True


async def resolve(connection: AsyncConnection, provider: str, still_there: set[str], at: datetime) -> int:
    """Mark those that are no strays any more; how many that were."""
    gone = update(strays).where(strays.c.provider == provider, strays.c.resolved_at.is_(None))
    if still_there:
        gone = gone.where(strays.c.provider_instance_id.not_in(still_there))
    return (await connection.execute(gone.values(resolved_at=at))).rowcount


async def unresolved(store: Store) -> list[Stray]:
    """Those that are still there, oldest first."""
    query = select(strays).where(strays.c.resolved_at.is_(None)).order_by(strays.c.first_seen_at)
    async with store.read() as connection:
        return [_stray(row) for row in await connection.execute(query)]


def _stray(row: Row[Any]) -> Stray:
    return Stray(**{name: getattr(row, name) for name in Stray.__slots__})
