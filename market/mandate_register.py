"""The register of mandates: what was signed, signed anew and revoked, and whether a row still says so.

The signed text is the truth. The columns repeat its limits, so that the database itself refuses to go beyond them, and
are compared with it whenever a mandate is read.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from market import outbox
from market.errors import Conflict, MandateRefused, NotFound
from market.mandate_claims import mandate_in, payload
from market.mandates import Mandate, OnRevocation
from market.procurement_tables import mandates
from market.signing import OwnerKey
from market.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Row

    from market.settings import Settings

_COUNTED = ("budget", "hourly_budget", "max_concurrent", "version", "principal", "agent", "expires_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a mandate allows in all, and how much of it is gone; money in US dollars.

    `committed` is held for bookings that run, `spent` is owed for good, `overrun` was owed beyond what was held.
    """

    budget: Decimal
    committed: Decimal
    spent: Decimal
    overrun: Decimal
    remaining: Decimal
    hourly_budget: Decimal | None
    hourly_committed: Decimal
    running: int
    max_concurrent: int | None
    expires_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the book: the mandate its text says, or why the text cannot be trusted."""

    id: str
    agent: str
    jws: str
    created_at: datetime
    standing: Standing
    mandate: Mandate | None
    refusal: MandateRefused | None


def new_id() -> str:
    """An id for a new mandate."""
    return f"mandate-{secrets.token_hex(6)}"


async def add(connection: AsyncConnection, settings: Settings, mandate: Mandate) -> bool:
    """Sign a new mandate and enter it; False when there is one of that id already."""
    jws = OwnerKey.of(settings, make=True).sign(payload(mandate))
    nothing = dict.fromkeys(("committed", "spent", "overrun", "hourly_committed"), Decimal(0))
    row = {"id": mandate.id, "jws": jws, "created_at": mandate.issued_at, "running": 0, **nothing, **columns(mandate)}
    inserting = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = inserting(mandates).values(**row).on_conflict_do_nothing(index_elements=["id"])
    return (await connection.execute(statement)).rowcount == 1


async def amend(connection: AsyncConnection, settings: Settings, mandate: Mandate) -> None:
    """Sign a mandate anew under its id with the next version; what is committed and spent stays.

    Raises Conflict when it was revoked or amended meanwhile, or when more is spent, held or running than it allows.
    """
    row = await row_of(connection, mandate.id, lock=True)
    standing = standing_of(row)
    if row.revoked_at is not None:
        raise Conflict(f"The mandate `{mandate.id}` was revoked.", next_step="Create another.")
    if row.version != mandate.version - 1:
        raise Conflict(f"The mandate `{mandate.id}` was changed meanwhile.", next_step="Look at it, then try again.")
    gone = standing.committed + standing.spent
    for name, least, limit in (
        ("budget", gone, mandate.budget),
        ("hourly_budget", standing.hourly_committed, mandate.hourly_budget),
        ("max_concurrent", standing.running, mandate.max_concurrent),
    ):
        if limit is not None and limit < least:
            raise Conflict(
                f"`{name}` cannot be {limit}: {least} of it is in use.",
                next_step=f"Name at least {least}, or revoke the mandate.",
            )
    jws = OwnerKey.of(settings, make=True).sign(payload(mandate))
    amended = update(mandates).where(mandates.c.id == mandate.id, mandates.c.version == row.version)
    await connection.execute(amended.values(jws=jws, **columns(mandate)))


async def revoke(
    connection: AsyncConnection,
    settings: Settings,
    mandate_id: str,
    now: datetime,
    *,
    policy: OnRevocation | None = None,
) -> OnRevocation | None:
    """End a mandate for good and tell the outbox what becomes of its bookings; None when it was revoked already.

    `policy` overrides what the mandate says. One that cannot be trusted is ended too, and keeps what runs unless told.
    """
    found = entered(await row_of(connection, mandate_id, lock=True), settings)
    if found.standing.revoked_at is not None:
        return None
    applied = policy or (found.mandate.on_revocation if found.mandate else "keep")
    await connection.execute(update(mandates).where(mandates.c.id == mandate_id).values(revoked_at=now))
    await outbox.publish(
        connection,
        at=now,
        kind="mandate.revoked",
        subject=mandate_id,
        owner=found.agent,
        payload={"mandate": mandate_id, "policy": applied},
    )
    return applied


async def bound_to(connection: AsyncConnection, agent: str) -> list[str]:
    """The ids of the mandates in force that name this agent."""
    query = select(mandates.c.id).where(mandates.c.agent == agent, mandates.c.revoked_at.is_(None))
    return list((await connection.execute(query.order_by(mandates.c.id))).scalars())


async def entry(store: Store, settings: Settings, mandate_id: str) -> Entry:
    """One mandate, trusted or not. Raises NotFound."""
    async with store.read() as connection:
        return entered(await row_of(connection, mandate_id), settings)


async def entries(store: Store, settings: Settings) -> list[Entry]:
    """Every mandate there ever was, oldest first."""
    async with store.read() as connection:
        rows = await connection.execute(select(mandates).order_by(mandates.c.created_at, mandates.c.id))
        return [entered(row, settings) for row in rows]


async def row_of(connection: AsyncConnection, mandate_id: str, *, lock: bool = False) -> Row[tuple[object, ...]]:
    """The row of a mandate, locked when it is to be changed. Raises NotFound."""
    query = select(mandates).where(mandates.c.id == mandate_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFound(f"There is no mandate `{mandate_id[:60]}`.", next_step="`gpubroker mandate list` shows them.")
    return row


def entered(row: Row[tuple[object, ...]], settings: Settings) -> Entry:
    """A row with the mandate its text says, or why the text cannot be trusted."""
    mandate, problem = None, None
    try:
        mandate = _trusted(row, settings)
    except MandateRefused as found:
        problem = found
    return Entry(
        id=row.id,
        agent=row.agent,
        jws=row.jws,
        created_at=row.created_at,
        standing=standing_of(row),
        mandate=mandate,
        refusal=problem,
    )


def _trusted(row: Row[tuple[object, ...]], settings: Settings) -> Mandate:
    """What the owner has signed, when the row's columns say the same."""
    mandate = mandate_in(OwnerKey.of(settings).opened(row.jws))
    if mandate.id != row.id or limits(row) != columns(mandate):
        raise untrusted("columns", f"The mandate `{row.id}` does not say what was signed: its row was changed.")
    return mandate


def limits(row: Row[tuple[object, ...]]) -> dict[str, object]:
    """The limits as the columns of a row say them."""
    return {name: getattr(row, name) for name in _COUNTED}


def columns(mandate: Mandate) -> dict[str, object]:
    """What the columns repeat of the signed text."""
    return {name: getattr(mandate, name) for name in _COUNTED}


def standing_of(row: Row[tuple[object, ...]]) -> Standing:
    """What the counters of a row say."""
    return Standing(
        budget=row.budget,
        committed=row.committed,
        spent=row.spent,
        overrun=row.overrun,
        remaining=max(Decimal(0), row.budget - row.committed - row.spent - row.overrun),
        hourly_budget=row.hourly_budget,
        hourly_committed=row.hourly_committed,
        running=row.running,
        max_concurrent=row.max_concurrent,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def untrusted(reason: str, message: str) -> MandateRefused:
    """The refusal of a mandate that cannot be relied on; `reason` is for machines."""
    return MandateRefused(
        message, next_step="The owner signs another with `gpubroker mandate create`.", details={"reason": reason}
    )
