"""The booking journal: the intent is written before each step at a provider, the outcome after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson
from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from market.canonical import canonical
from market.procurement_tables import journal
from market.store import Store

Step = Literal["launch", "adopt", "terminate", "extend", "stop", "start"]
Ended = Literal["done", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One step: what was meant, and what came of it when that is known."""

    id: int
    booking_id: str
    step: Step
    label: str | None
    attempt: int
    state: str
    intent: Mapping[str, Any]
    outcome: Mapping[str, Any] | None
    started_at: datetime
    finished_at: datetime | None


async def intend(
    connection: AsyncConnection,
    *,
    booking_id: str,
    step: Step,
    at: datetime,
    label: str | None = None,
    attempt: int = 1,
    intent: Mapping[str, Any] | None = None,
) -> int:
    """Write down a step before it is taken; the number of the entry."""
    written = insert(journal).values(
        booking_id=booking_id,
        step=step,
        label=label,
        attempt=attempt,
        state="intended",
        intent=canonical(intent or {}),
        started_at=at,
    )
    return int((await connection.execute(written.returning(journal.c.id))).scalar_one())


async def conclude(
    connection: AsyncConnection, entry_id: int, *, state: Ended, at: datetime, outcome: Mapping[str, Any] | None = None
) -> None:
    """Write down what came of it; a step that has an outcome keeps the first."""
    await connection.execute(
        update(journal)
        .where(journal.c.id == entry_id, journal.c.state == "intended")
        .values(state=state, outcome=canonical(outcome or {}), finished_at=at)
    )


async def unfinished(connection: AsyncConnection, booking_id: str) -> list[Entry]:
    """The steps nobody has written an outcome for, oldest first."""
    query = select(journal).where(journal.c.booking_id == booking_id, journal.c.state == "intended")
    return [_entry(row) for row in await connection.execute(query.order_by(journal.c.id))]


async def entries(store: Store, booking_id: str) -> Sequence[Entry]:
    """Everything that was done for a booking, oldest first."""
    async with store.read() as connection:
        query = select(journal).where(journal.c.booking_id == booking_id).order_by(journal.c.id)
        return [_entry(row) for row in await connection.execute(query)]


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        id=row.id,
        booking_id=row.booking_id,
        step=row.step,
        label=row.label,
        attempt=row.attempt,
        state=row.state,
        intent=orjson.loads(row.intent),
        outcome=None if row.outcome is None else orjson.loads(row.outcome),
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
