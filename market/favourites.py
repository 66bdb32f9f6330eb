"""What somebody keeps for later: favourite offers and saved searches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from market.errors import Conflict
from market.procurement_tables import favourites, saved_searches
from market.store import Store

MOST_KEPT = 1_000
"""Favourites of one owner, and as many saved searches."""


@dataclass(frozen=True, slots=True)
class Favourite:
    """One offer somebody likes, with their own note."""

    offer_id: str
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SavedSearch:
    """Arguments of `search_offers` as JSON, under a name."""

    name: str
    filters: str
    created_at: datetime


async def keep(connection: AsyncConnection, owner: str, favourite: Favourite) -> None:
    """Keep an offer, or change the note of one that is kept. Raises Conflict when there are too many."""
    await _room(connection, favourites, owner, favourites.c.offer_id == favourite.offer_id)
    values = {"owner": owner, "offer_id": favourite.offer_id, "note": favourite.note}
    await _upsert(connection, favourites, {**values, "created_at": favourite.created_at}, "offer_id", "note")


async def kept(store: Store, owner: str) -> list[Favourite]:
    """Everything kept, the newest first."""
    query = select(favourites).where(favourites.c.owner == owner)
    async with store.read() as connection:
        rows = await connection.execute(query.order_by(favourites.c.created_at.desc(), favourites.c.offer_id))
        return [Favourite(row.offer_id, row.note, row.created_at) for row in rows]


async def let_go(connection: AsyncConnection, owner: str, offer_id: str) -> bool:
    """Keep it no longer; False when it was not kept."""
    gone = delete(favourites).where(favourites.c.owner == owner, favourites.c.offer_id == offer_id)
    return (await connection.execute(gone)).rowcount == 1


async def save_search(connection: AsyncConnection, owner: str, search: SavedSearch) -> None:
    """Save a search, or give another to its name. Raises Conflict when there are too many."""
    await _room(connection, saved_searches, owner, saved_searches.c.name == search.name)
    values = {"owner": owner, "name": search.name, "filters": search.filters, "created_at": search.created_at}
    await _upsert(connection, saved_searches, values, "name", "filters")


async def searches(store: Store, owner: str) -> list[SavedSearch]:
    """Every saved search, by name."""
    query = select(saved_searches).where(saved_searches.c.owner == owner).order_by(saved_searches.c.name)
    async with store.read() as connection:
        return [SavedSearch(row.name, row.filters, row.created_at) for row in await connection.execute(query)]


async def search_of(store: Store, owner: str, name: str) -> str | None:
    """The filters of one saved search; None when there is none of that name."""
    query = select(saved_searches.c.filters).where(saved_searches.c.owner == owner, saved_searches.c.name == name)
    async with store.read() as connection:
        return (await connection.execute(query)).scalar_one_or_none()


async def forget_search(connection: AsyncConnection, owner: str, name: str) -> bool:
    """Delete a saved search; False when there is none of that name."""
    gone = delete(saved_searches).where(saved_searches.c.owner == owner, saved_searches.c.name == name)
    return (await connection.execute(gone)).rowcount == 1


async def _room(connection: AsyncConnection, table: Any, owner: str, same: Any) -> None:
    others = select(func.count()).select_from(table).where(table.c.owner == owner, ~same)
    if (await connection.execute(others)).scalar_one() >= MOST_KEPT:
        raise Conflict(f"There are {MOST_KEPT:,} already.", next_step="Delete some first.")


async def _upsert(connection: AsyncConnection, table: Any, values: dict[str, Any], key: str, changing: str) -> None:
    inserting = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = inserting(table).values(**values)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["owner", key], set_={changing: getattr(statement.excluded, changing)}
        )
    )
