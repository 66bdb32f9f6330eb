"""Availability as it was proved: offers that were listed and could not be had, and for how long that counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from market.procurement_tables import refusals
from market.store import Store

COUNTS_FOR = timedelta(hours=1)
"""A refusal says something about an offer for this long."""
KEPT_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Refused:
    """How often an offer was refused lately, and when last."""

    times: int
    last_at: datetime


async def refused(
    connection: AsyncConnection,
    *,
    offer_id: str,
    provider: str,
    region: str,
    gpu: str | None,
    reason: str,
    at: datetime,
) -> None:
    """Write down that an offer could not be had."""
    row = {"offer_id": offer_id, "provider": provider, "region": region, "gpu": gpu, "reason": reason, "at": at}
    await connection.execute(insert(refusals).values(row))


async def recent(store: Store, now: datetime, offer_ids: Iterable[str] | None = None) -> dict[str, Refused]:
    """The offers refused within the last hour, by id; of these offers only when some are named."""
    query = (
        select(refusals.c.offer_id, func.count(), func.max(refusals.c.at))
        .where(refusals.c.at > now - COUNTS_FOR)
        .group_by(refusals.c.offer_id)
    )
    if offer_ids is not None:
        query = query.where(refusals.c.offer_id.in_(list(offer_ids)))
    async with store.read() as connection:
        return {row[0]: Refused(row[1], row[2]) for row in await connection.execute(query)}


async def forget(connection: AsyncConnection, now: datetime) -> int:
    """Delete what is too old to say anything."""
    return (await connection.execute(delete(refusals).where(refusals.c.at < now - KEPT_FOR))).rowcount
