"""Webhooks in the database: who is called about what, each call until it has arrived, and what providers tell us."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Row, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from market import outbox
from market.procurement_tables import bookings, callbacks, instances, webhook_deliveries, webhooks
from market.store import Store

GIVEN_UP_AFTER = timedelta(days=3)
"""After this a delivery that fails is given up, and a webhook at which nothing arrives is disabled."""
KEPT = timedelta(days=30)
_MANY_IDS = 500
_EACH_AT_ONCE = 2
_END_STATES = ("terminated", "failed", "compensated")

DeliveryState = Literal["waiting", "delivered", "given_up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An address somebody wants to be called at; the secrets are encrypted, the previous one with its end before it."""

    id: str
    owner: str
    url: str
    sealed_secret: str
    events: tuple[str, ...]
    created_at: datetime
    sealed_previous_secret: str | None = None
    failures: int = 0
    """Calls that failed since one arrived."""
    disabled_at: datetime | None = None
    disabled_reason: str | None = None

    def wants(self, kind: str, *, concerns_everybody: bool) -> bool:
        """Whether it is to be called about this; what concerns everybody only when it was asked for by name."""
        group = f"{kind.partition('.')[0]}.*"
        return kind in self.events or group in self.events or ("*" in self.events and not concerns_everybody)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to one webhook."""

    id: str
    webhook_id: str
    event_id: int
    kind: str
    body: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    response_status: int | None = None
    error: str | None = None
    next_attempt_at: datetime | None = None
    delivered_at: datetime | None = None


def new_webhook_id() -> str:
    """A name nobody can guess."""
    return f"webhook-{secrets.token_hex(8)}"


def new_delivery(webhook_id: str, event_id: int, kind: str, body: str, now: datetime) -> Delivery:
    """A delivery that is due at once."""
    return Delivery(
        id=f"delivery-{secrets.token_hex(8)}",
        webhook_id=webhook_id,
        event_id=event_id,
        kind=kind,
        body=body,
        state="waiting",
        attempts=0,
        created_at=now,
        next_attempt_at=now,
    )


async def add(connection: AsyncConnection, webhook: Webhook) -> None:
    """Keep a new webhook."""
    values = {name: getattr(webhook, name) for name in Webhook.__slots__}
    await connection.execute(insert(webhooks).values(**{**values, "events": " ".join(webhook.events)}))


async def of_owner(store: Store, owner: str, webhook_id: str | None = None) -> list[Webhook]:
    """The webhooks of one owner, oldest first, or the one asked for."""
    query = select(webhooks).where(webhooks.c.owner == owner).order_by(webhooks.c.created_at, webhooks.c.id)
    if webhook_id is not None:
        query = query.where(webhooks.c.id == webhook_id)
    async with store.read() as connection:
        return [_webhook(row) for row in await connection.execute(query)]


async def enabled(store: Store) -> list[Webhook]:
    """Every webhook that is to be called."""
    async with store.read() as connection:
        rows = await connection.execute(select(webhooks).where(webhooks.c.disabled_at.is_(None)))
        return [_webhook(row) for row in rows]


async def remove(connection: AsyncConnection, owner: str, webhook_id: str) -> bool:
    """Delete a webhook of this owner and its deliveries; False when there is none."""
    mine = select(webhooks.c.id).where(webhooks.c.id == webhook_id, webhooks.c.owner == owner)
    if (await connection.execute(mine.with_for_update())).first() is None:
        return False
    await connection.execute(delete(webhook_deliveries).where(webhook_deliveries.c.webhook_id == webhook_id))
    await connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))
    return True


async def rotate(
    connection: AsyncConnection, owner: str, webhook_id: str, *, sealed_secret: str, sealed_previous_secret: str | None
) -> bool:
    """Give it another secret; False when there is no such webhook."""
    mine = update(webhooks).where(webhooks.c.id == webhook_id, webhooks.c.owner == owner)
    changed = mine.values(sealed_secret=sealed_secret, sealed_previous_secret=sealed_previous_secret)
    return (await connection.execute(changed)).rowcount == 1


async def queue(connection: AsyncConnection, deliveries: Sequence[Delivery]) -> None:
    """Let these be delivered; one whose webhook was deleted meanwhile is left out."""
    wanted = sorted({one.webhook_id for one in deliveries})
    known: set[str] = set()
    for start in range(0, len(wanted), _MANY_IDS):
        there = select(webhooks.c.id).where(webhooks.c.id.in_(wanted[start : start + _MANY_IDS])).with_for_update()
        known.update((await connection.execute(there)).scalars())
    rows = [{name: getattr(one, name) for name in Delivery.__slots__} for one in deliveries if one.webhook_id in known]
    if rows:
        await connection.execute(insert(webhook_deliveries), rows)


async def due(store: Store, now: datetime, limit: int = 5_000) -> list[tuple[Delivery, Webhook]]:
    """What is to be sent now, longest due first; of each webhook two at most, so that none crowds out the others."""
    table = webhook_deliveries.c
    place = func.row_number().over(partition_by=table.webhook_id, order_by=(table.next_attempt_at, table.event_id))
    ready = (
        select(table.id.label("ready"), place.label("place"))
        .where(table.state == "waiting", table.next_attempt_at <= now)
        .where(or_(table.claimed_until.is_(None), table.claimed_until <= now))
        .subquery()
    )
    query = (
        select(webhook_deliveries)
        .join(ready, ready.c.ready == table.id)
        .where(ready.c.place <= _EACH_AT_ONCE)
        .order_by(table.next_attempt_at, table.event_id)
        .limit(limit)
    )
    async with store.read() as connection:
        found = [_delivery(row) for row in await connection.execute(query)]
        hooks = {row.id: _webhook(row) for row in await _hooks(connection, {one.webhook_id for one in found})}
    return [(one, hooks[one.webhook_id]) for one in found if hooks[one.webhook_id].disabled_at is None]


async def _hooks(connection: AsyncConnection, ids: Iterable[str]) -> list[Row[Any]]:
    wanted = sorted(ids)
    found: list[Row[Any]] = []
    for start in range(0, len(wanted), _MANY_IDS):
        query = select(webhooks).where(webhooks.c.id.in_(wanted[start : start + _MANY_IDS]))
        found += (await connection.execute(query)).all()
    return found


async def claim(connection: AsyncConnection, ids: Sequence[str], now: datetime, until: datetime) -> set[str]:
    """Take these for sending until a moment; those another process has taken are not among the result."""
    table = webhook_deliveries.c
    free = (table.id.in_(ids), table.state == "waiting", or_(table.claimed_until.is_(None), table.claimed_until <= now))
    taken = update(webhook_deliveries).where(*free).values(claimed_until=until).returning(table.id)
    return set((await connection.execute(taken)).scalars())


async def arrived(connection: AsyncConnection, delivery: Delivery, status: int, now: datetime) -> None:
    """Note that the receiver has taken it."""
    await _change(connection, delivery, state="delivered", response_status=status, delivered_at=now, error=None)
    await connection.execute(update(webhooks).where(webhooks.c.id == delivery.webhook_id).values(failures=0))


async def missed(
    connection: AsyncConnection,
    delivery: Delivery,
    *,
    status: int | None,
    error: str,
    now: datetime,
    next_attempt_at: datetime,
) -> bool:
    """Note a failed attempt; given up after three days, and with it the webhook when nothing arrived in that time.

    Returns whether the webhook was disabled.
    """
    over = now - delivery.created_at >= GIVEN_UP_AFTER
    later = None if over else next_attempt_at
    state: DeliveryState = "given_up" if over else "waiting"
    await _change(connection, delivery, state=state, response_status=status, error=error, next_attempt_at=later)
    hook = webhooks.c.id == delivery.webhook_id
    await connection.execute(update(webhooks).where(hook).values(failures=webhooks.c.failures + 1))
    if not over:
        return False
    table = webhook_deliveries.c
    newest = select(func.max(table.delivered_at)).where(table.webhook_id == delivery.webhook_id)
    last = (await connection.execute(newest)).scalar()
    if last is not None and last > now - GIVEN_UP_AFTER:
        return False
    return await disable(connection, delivery.webhook_id, f"nothing arrived for three days: {error}", now)


async def _change(connection: AsyncConnection, delivery: Delivery, **values: object) -> None:
    attempts = {"attempts": delivery.attempts + 1, "claimed_until": None}
    mine = webhook_deliveries.c.id == delivery.id
    await connection.execute(update(webhook_deliveries).where(mine).values(**attempts, **values))


async def postpone(connection: AsyncConnection, later: Sequence[tuple[str, datetime]]) -> None:
    """Try these later without having tried now: their host is being left alone."""
    rows = [{"delivery": delivery_id, "later": at} for delivery_id, at in later]
    if rows:
        moved = update(webhook_deliveries).where(webhook_deliveries.c.id == bindparam("delivery"))
        await connection.execute(moved.values(next_attempt_at=bindparam("later")), rows)


async def disable(connection: AsyncConnection, webhook_id: str, reason: str, now: datetime) -> bool:
    """Call it no more, give up what waits and publish `webhook.disabled`; False when it was disabled already."""
    live = (webhooks.c.id == webhook_id, webhooks.c.disabled_at.is_(None))
    ended = update(webhooks).where(*live).values(disabled_at=now, disabled_reason=reason[:500])
    row = (await connection.execute(ended.returning(webhooks.c.owner))).first()
    if row is None:
        return False
    waiting = (webhook_deliveries.c.webhook_id == webhook_id, webhook_deliveries.c.state == "waiting")
    given_up = update(webhook_deliveries).where(*waiting).values(state="given_up", next_attempt_at=None)
    await connection.execute(given_up)
    told = {"webhook_id": webhook_id, "reason": reason[:500]}
    await outbox.publish(connection, at=now, kind="webhook.disabled", subject=webhook_id, owner=row.owner, payload=told)
    return True


async def deliveries_of(store: Store, webhook_id: str, *, limit: int = 50) -> list[Delivery]:
    """The newest deliveries of one webhook."""
    table = webhook_deliveries.c
    query = select(webhook_deliveries).where(table.webhook_id == webhook_id)
    async with store.read() as connection:
        rows = await connection.execute(query.order_by(table.created_at.desc(), table.event_id.desc()).limit(limit))
        return [_delivery(row) for row in rows]


async def replay(
    connection: AsyncConnection, webhook_id: str, now: datetime, *, delivery_id: str | None, since: datetime | None
) -> int:
    """Deliver one again, or each event since a moment once; the event ids stay. Enables a disabled webhook again.

    Returns how many were queued.
    """
    table = webhook_deliveries.c
    query = select(webhook_deliveries).where(table.webhook_id == webhook_id)
    query = query.where(table.id == delivery_id) if delivery_id is not None else query.where(table.created_at >= since)
    once = {row.event_id: row for row in await connection.execute(query.order_by(table.created_at))}
    again = [new_delivery(webhook_id, row.event_id, row.kind, row.body, now) for _, row in sorted(once.items())]
    if again:
        mine = update(webhooks).where(webhooks.c.id == webhook_id)
        await connection.execute(mine.values(disabled_at=None, disabled_reason=None, failures=0))
        await queue(connection, again)
    return len(again)


async def booking_at(connection: AsyncConnection, provider: str, provider_instance_id: str) -> str | None:
    """The booking, not ended yet, one of whose machines a provider calls so."""
    query = (
        select(bookings.c.id)
        .join(instances, instances.c.booking_id == bookings.c.id)
        .where(bookings.c.provider == provider, instances.c.provider_instance_id == provider_instance_id)
        .where(bookings.c.state.not_in(_END_STATES))
    )
    return (await connection.execute(query.limit(1))).scalar()


async def look_soon(
    connection: AsyncConnection, provider: str, event_id: str, body_hash: str, booking_id: str, now: datetime
) -> bool:
    """Have a booking's state asked for now, once for each event of a provider; False for one that was seen before."""
    inserting = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    seen = inserting(callbacks).values(provider=provider, event_id=event_id, body_hash=body_hash, received_at=now)
    if (await connection.execute(seen.on_conflict_do_nothing().returning(callbacks.c.event_id))).first() is None:
        return False
    later = or_(bookings.c.next_check_at.is_(None), bookings.c.next_check_at > now)
    await connection.execute(update(bookings).where(bookings.c.id == booking_id, later).values(next_check_at=now))
    return True


async def prune(connection: AsyncConnection, now: datetime) -> int:
    """Remove deliveries that are over, and callbacks, after 30 days; how many."""
    table = webhook_deliveries.c
    over = delete(webhook_deliveries).where(table.state != "waiting", table.created_at < now - KEPT)
    old = delete(callbacks).where(callbacks.c.received_at < now - KEPT)
    return (await connection.execute(over)).rowcount + (await connection.execute(old)).rowcount


def _webhook(row: Row[Any]) -> Webhook:
    values = {name: getattr(row, name) for name in Webhook.__slots__}
    return Webhook(**{**values, "events": tuple(row.events.split())})


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**{name: getattr(row, name) for name in Delivery.__slots__})
