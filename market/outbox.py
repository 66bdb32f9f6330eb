"""The outbox: what happened, written in the transaction that caused it, read by whoever tells others.

Each consumer keeps its own place and is given every event at least once, in one order. PostgreSQL gives row numbers
before it commits, so a low number can appear after a higher one was read; there the order is that of transactions, and
a transaction's events are held back until every older one has ended (a writer that hangs, in any database of the
server, delays them but loses none). On SQLite writers take turns, so the row numbers are the order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, func, insert, literal_column, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from market.canonical import canonical
from market.procurement_tables import outbox, outbox_cursors
from market.store import Store

KEPT = timedelta(days=30)

_OWN_TRANSACTION: ColumnElement[int] = literal_column("pg_current_xact_id()::text::bigint")
_OLDEST_RUNNING: ColumnElement[int] = literal_column("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")


class Position(NamedTuple):
    """A place in the outbox: everything up to it has been dealt with. The transaction is 0 on SQLite."""

    transaction_id: int
    id: int


START = Position(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. `owner` is the caller it concerns, empty when it concerns everybody."""

    id: int
    at: datetime
    kind: str
    subject: str
    owner: str
    payload: dict[str, Any]
    position: Position


async def publish(
    connection: AsyncConnection, *, at: datetime, kind: str, subject: str, owner: str, payload: Mapping[str, object]
) -> None:
    """Write an event in the caller's transaction: it is told if and only if the cause is kept."""
    await publish_all(connection, at=at, kind=kind, owner=owner, events=[(subject, payload)])


async def publish_all(
    connection: AsyncConnection,
    *,
    at: datetime,
    kind: str,
    owner: str,
    events: Sequence[tuple[str, Mapping[str, object] | str]],
) -> None:
    """Write several events of one kind, each a subject and its payload (or that as ready JSON), as one statement."""
    if not events:
        return
    own = _OWN_TRANSACTION if connection.dialect.name == "postgresql" else None
    rows = [
        {"subject": subject, "payload": payload if isinstance(payload, str) else canonical(payload)}
        for subject, payload in events
    ]
    statement = insert(outbox).values(at=at, kind=kind, owner=owner, transaction_id=own)
    await connection.execute(statement, rows)


async def read_after(store: Store, consumer: str, limit: int = 500) -> list[Event]:
    """The next events for a consumer, oldest first; the same ones again until it has advanced past them."""
    async with store.read() as connection:
        place = await _place(connection, consumer)
        query = select(outbox)
        if store.dialect == "postgresql":
            behind = tuple_(outbox.c.transaction_id, outbox.c.id) > tuple_(place.transaction_id, place.id)
            query = query.where(outbox.c.transaction_id < _OLDEST_RUNNING, behind)
            query = query.order_by(outbox.c.transaction_id, outbox.c.id)
        else:
            query = query.where(outbox.c.id > place.id).order_by(outbox.c.id)
        return [_event(row) for row in await connection.execute(query.limit(limit))]


async def advance(where: Store | AsyncConnection, consumer: str, position: Position) -> None:
    """Note that a consumer has dealt with everything up to `position` (an event's); never moves it back.

    With a connection it is part of that transaction, so that what was done with the events and the place go together.
    """
    if isinstance(where, Store):
        async with where.write() as connection:
            await advance(connection, consumer, position)
        return
    inserting = sqlite.insert if where.dialect.name == "sqlite" else postgresql.insert
    statement = inserting(outbox_cursors).values(
        consumer=consumer, transaction_id=position.transaction_id, position=position.id
    )
    new = statement.excluded
    ahead = tuple_(new.transaction_id, new.position) > tuple_(
        outbox_cursors.c.transaction_id, outbox_cursors.c.position
    )
    await where.execute(
        statement.on_conflict_do_update(
            index_elements=["consumer"],
            set_={"transaction_id": new.transaction_id, "position": new.position},
            where=ahead,
        )
    )


async def prune(connection: AsyncConnection, now: datetime) -> int:
    """Remove events older than 30 days that every consumer has dealt with; how many.

    The newest event stays: SQLite would give its number to the next one, which every consumer believes to have read.
    """
    places = [Position(row.transaction_id, row.position) for row in await connection.execute(select(outbox_cursors))]
    query = delete(outbox).where(
        outbox.c.at < now - KEPT, outbox.c.id < select(func.max(outbox.c.id)).scalar_subquery()
    )
    if places and connection.dialect.name == "postgresql":
        least = min(places)
        query = query.where(tuple_(outbox.c.transaction_id, outbox.c.id) <= tuple_(least.transaction_id, least.id))
    elif places:
        query = query.where(outbox.c.id <= min(place.id for place in places))
    return (await connection.execute(query)).rowcount


async def _place(connection: AsyncConnection, consumer: str) -> Position:
    query = select(outbox_cursors).where(outbox_cursors.c.consumer == consumer)
    row = (await connection.execute(query)).one_or_none()
    return START if row is None else Position(row.transaction_id, row.position)


def _event(row: Any) -> Event:
    return Event(
        id=row.id,
        at=row.at,
        kind=row.kind,
        subject=row.subject,
        owner=row.owner,
        payload=json.loads(row.payload),
        position=Position(row.transaction_id or 0, row.id),
    )
