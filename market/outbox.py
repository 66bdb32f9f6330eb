"""The outbox: what happened, written in the transaction that caused it, read by whoever tells others.

Each consumer keeps its own place and is given every event at least once, in the order of the rows' numbers. On SQLite
writers take turns, so that is the order in which they commit. PostgreSQL gives numbers before it commits, and a low one
can appear after a higher one was read. So a publisher there first holds a shared advisory lock that names the newest
number given so far: every number of its own will be higher. A reader takes the newest number given, then looks which
locks are held, then reads: up to that number, and no further than the lowest lock names. Whatever it passes over was
either committed before it read, or rolled back. Nobody waits for anybody, and only publishers of this database count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from market.canonical import canonical
from market.procurement_tables import outbox, outbox_cursors
from market.store import Store

KEPT = timedelta(days=30)

_SPACE = 0x6F75
"""The upper 16 bits of our advisory locks; the number stands in the 48 below."""
_GIVEN = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS id FROM outbox_id_seq"
_HOLD = text(f"SELECT pg_advisory_xact_lock_shared(({_SPACE}::bigint << 48) | given.id) FROM ({_GIVEN}) AS given")  # noqa: S608
_NEWEST = text(_GIVEN)
_LOWEST_HELD = text(
    "SELECT min(((classid::bigint & 65535) << 32) | objid::bigint) FROM pg_locks "
    "WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND classid::bigint >> 16 = :space "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
).bindparams(space=_SPACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. `owner` is the caller it concerns, empty when it concerns everybody."""

    id: int
    at: datetime
    kind: str
    subject: str
    owner: str
    payload: dict[str, Any]

    @property
    def position(self) -> int:
        """The place of whoever has dealt with this one and all before it."""
        return self.id


async def publish(
    connection: AsyncConnection, *, at: datetime, kind: str, subject: str, owner: str, payload: Mapping[str, object]
) -> None:
    """Write an event in the caller's transaction: it is told if and only if the cause is kept.

    Readers wait with all later events until that transaction ends, so publish towards its end.
    """
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
    if connection.dialect.name == "postgresql":
        await connection.execute(_HOLD)
    rows = [
        {
            "at": at,
            "kind": kind,
            "subject": subject,
            "owner": owner,
            "payload": payload if isinstance(payload, str) else canonical(payload),
        }
        for subject, payload in events
    ]
    await connection.execute(insert(outbox), rows)


async def read_after(store: Store, consumer: str, limit: int = 500) -> list[Event]:
    """The next events for a consumer, oldest first; the same ones again until it has advanced past them."""
    async with store.read() as connection:
        query = select(outbox).where(outbox.c.id > await _place(connection, consumer))
        if store.dialect == "postgresql":
            query = query.where(outbox.c.id <= await _horizon(connection))
        return [_event(row) for row in await connection.execute(query.order_by(outbox.c.id).limit(limit))]


async def newest(store: Store) -> int:
    """The number of the newest event that can be read; 0 while there is none."""
    async with store.read() as connection:
        if store.dialect == "postgresql":
            return await _horizon(connection)
        return int((await connection.execute(select(func.coalesce(func.max(outbox.c.id), 0)))).scalar_one())


async def since(store: Store, position: int, limit: int = 500) -> list[Event]:
    """What came after an event, for a reader that keeps its own place and nothing else."""
    async with store.read() as connection:
        query = select(outbox).where(outbox.c.id > position)
        if store.dialect == "postgresql":
            query = query.where(outbox.c.id <= await _horizon(connection))
        return [_event(row) for row in await connection.execute(query.order_by(outbox.c.id).limit(limit))]


async def advance(where: Store | AsyncConnection, consumer: str, position: int) -> None:
    """Note that a consumer has dealt with everything up to `position` (an event's); never moves it back.

    With a connection it is part of that transaction, so that what was done with the events and the place go together.
    """
    if isinstance(where, Store):
        async with where.write() as connection:
            await advance(connection, consumer, position)
        return
    inserting = sqlite.insert if where.dialect.name == "sqlite" else postgresql.insert
    statement = inserting(outbox_cursors).values(consumer=consumer, position=position)
    await where.execute(
        statement.on_conflict_do_update(
            index_elements=["consumer"],
            set_={"position": statement.excluded.position},
            where=statement.excluded.position > outbox_cursors.c.position,
        )
    )


async def prune(connection: AsyncConnection, now: datetime) -> int:
    """Remove events older than 30 days that every consumer has dealt with; how many.

    The newest event stays: SQLite would give its number to the next one, which every consumer believes to have read.
    """
    newest = select(func.max(outbox.c.id)).scalar_subquery()
    query = delete(outbox).where(outbox.c.at < now - KEPT, outbox.c.id < newest)
    slowest = (await connection.execute(select(func.min(outbox_cursors.c.position)))).scalar()
    if slowest is not None:
        query = query.where(outbox.c.id <= slowest)
    return (await connection.execute(query)).rowcount


async def _horizon(connection: AsyncConnection) -> int:
    """The number up to which nothing can appear any more. The caller's next statement sees all that is below it.

    The order of the two statements is the point: a number given before the first one belongs to a publisher whose lock
    the second one sees, or which has ended.
    """
    newest = int((await connection.execute(_NEWEST)).scalar_one())
    held = (await connection.execute(_LOWEST_HELD)).scalar()
    return newest if held is None else min(newest, int(held))


async def _place(connection: AsyncConnection, consumer: str) -> int:
    query = select(outbox_cursors.c.position).where(outbox_cursors.c.consumer == consumer)
    return (await connection.execute(query)).scalar() or 0


def _event(row: Any) -> Event:
    return Event(
        id=row.id,
        at=row.at,
        kind=row.kind,
        subject=row.subject,
        owner=row.owner,
        payload=json.loads(row.payload),
    )
