"""Alerts in the database: who wants to be told what, which of them fire, and what a limit order has come to."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from market import outbox
from market.alerts import Alert, Firing, LimitOrder, read_condition, read_target
from market.outbox import Event
from market.procurement_tables import alerts
from market.procurement_tables import outbox as events
from market.store import Store

LIVE = ("armed", "fired")
"""States an alert can still fire from."""
KEPT = timedelta(days=90)
_MANY_IDS = 500


def new_alert_id() -> str:
    """A name nobody can guess."""
    return f"alert-{secrets.token_hex(8)}"


async def add(connection: AsyncConnection, alert: Alert) -> None:
    """Keep a new alert, and tell whoever watches prices that there is one."""
    await connection.execute(insert(alerts).values(id=alert.id, **_values(alert)))
    await _tell(connection, alert, "alert.created", alert.created_at, {"alert_id": alert.id})


async def remove(connection: AsyncConnection, owner: str, alert_id: str, now: datetime) -> bool:
    """Delete an alert of this owner; False when there is none."""
    mine = delete(alerts).where(alerts.c.id == alert_id, alerts.c.owner == owner).returning(*alerts.c)
    row = (await connection.execute(mine)).one_or_none()
    if row is None:
        return False
    await _tell(connection, _alert(row), "alert.deleted", now, {"alert_id": alert_id})
    return True


async def of_owner(store: Store, owner: str, *, alert_id: str | None = None, limit: int = 50) -> list[Alert]:
    """The newest alerts of one owner, or the one asked for."""
    query = select(alerts).where(alerts.c.owner == owner)
    if alert_id is not None:
        query = query.where(alerts.c.id == alert_id)
    query = query.order_by(alerts.c.created_at.desc(), alerts.c.id).limit(limit)
    async with store.read() as connection:
        return [_alert(row) for row in await connection.execute(query)]


async def count_of_owner(connection: AsyncConnection, owner: str) -> int:
    """How many live alerts somebody has."""
    query = select(func.count()).select_from(alerts).where(alerts.c.owner == owner, alerts.c.state.in_(LIVE))
    return int((await connection.execute(query)).scalar_one())


async def live(store: Store) -> list[Alert]:
    """Every alert that can still fire."""
    async with store.read() as connection:
        rows = (await connection.execute(select(alerts).where(alerts.c.state.in_(LIVE)))).all()
    # There may be a hundred thousand: nobody is to wait while they are read.
    return await asyncio.to_thread(lambda: [_alert(row) for row in rows])


async def some(store: Store, alert_ids: Iterable[str]) -> list[Alert]:
    """These alerts; one that is gone is left out."""
    wanted = list(dict.fromkeys(alert_ids))
    found: list[Alert] = []
    async with store.read() as connection:
        for start in range(0, len(wanted), _MANY_IDS):
            chosen = select(alerts).where(alerts.c.id.in_(wanted[start : start + _MANY_IDS]))
            found += [_alert(row) for row in await connection.execute(chosen)]
    return found


async def ordering(store: Store) -> list[Alert]:
    """Alerts whose limit order is under way."""
    query = select(alerts).where(alerts.c.state == "fired", alerts.c.limit_order.is_not(None))
    async with store.read() as connection:
        found = [_alert(row) for row in await connection.execute(query.order_by(alerts.c.last_fired_at))]
    return [alert for alert in found if alert.is_ordering]


async def fire(connection: AsyncConnection, firings: Sequence[Firing], now: datetime) -> list[Alert]:
    """Note that these fired and publish `alert.fired` for each; those that are not as they were judged stay.

    Returns the alerts as they are now: an alert that somebody has changed or deleted meanwhile is not among them.
    """
    standing = await _as_judged(connection, [firing.alert for firing in firings])
    fired = [(firing, firing.outcome(now)) for firing in firings if firing.alert.id in standing]
    await _write(connection, [alert for _, alert in fired])
    by_owner: dict[str, list[tuple[str, Mapping[str, object]]]] = {}
    for firing, alert in fired:
        by_owner.setdefault(alert.owner, []).append((alert.id, firing.payload()))
    for owner, told_of in by_owner.items():
        await outbox.publish_all(connection, at=now, kind="alert.fired", owner=owner, events=told_of)
    return [alert for _, alert in fired]


async def rearm(connection: AsyncConnection, rearmed: Sequence[Alert]) -> list[Alert]:
    """Let these fire again. Returns those that were as they had been judged."""
    standing = await _as_judged(connection, rearmed)
    changed = [replace(alert, state="armed") for alert in rearmed if alert.id in standing]
    await _write(connection, changed)
    return changed


async def expire(connection: AsyncConnection, expired: Sequence[Alert], now: datetime) -> list[Alert]:
    """End these and publish `alert.expired`. Returns those that were as they had been judged."""
    standing = await _as_judged(connection, expired)
    changed = [replace(alert, state="expired") for alert in expired if alert.id in standing]
    await _write(connection, changed)
    for alert in changed:
        await _tell(connection, alert, "alert.expired", now, {"alert_id": alert.id, "what": alert.target.shown()})
    return changed


async def note_order(connection: AsyncConnection, before: Alert, after: Alert) -> bool:
    """Write how the limit order of an alert stands; False when it is not as it was before."""
    if not await _as_judged(connection, [before]):
        return False
    await _write(connection, [after])
    return True


async def tell_order(
    connection: AsyncConnection, alert: Alert, kind: str, now: datetime, facts: dict[str, object]
) -> None:
    """Publish what a limit order has come to: `alert.booked`, `alert.waiting` or `alert.refused`."""
    await _tell(connection, alert, kind, now, {"alert_id": alert.id, "what": alert.target.shown(), **facts})


async def prune(connection: AsyncConnection, now: datetime) -> int:
    """Remove alerts that are spent or expired, 90 days after their time was over; how many."""
    over = delete(alerts).where(alerts.c.state.not_in(LIVE), alerts.c.expires_at < now - KEPT)
    return (await connection.execute(over)).rowcount


async def told(store: Store, owner: str, since: int = 0, limit: int = 100) -> list[Event]:
    """What alerts had to say to one owner after an event, oldest first."""
    mine = select(events).where(events.c.id > since, events.c.owner == owner, events.c.kind.like("alert.%"))
    async with store.read() as connection:
        return [
            Event(
                **{name: getattr(row, name) for name in ("id", "at", "kind", "subject", "owner")},
                payload=json.loads(row.payload),
            )
            for row in await connection.execute(mine.order_by(events.c.id).limit(limit))
        ]


async def _tell(
    connection: AsyncConnection, alert: Alert, kind: str, now: datetime, payload: dict[str, object]
) -> None:
    await outbox.publish(connection, at=now, kind=kind, subject=alert.id, owner=alert.owner, payload=payload)


async def _as_judged(connection: AsyncConnection, judged: Sequence[Alert]) -> set[str]:
    """The ids of those that are in the database as they were judged, locked until the transaction ends."""
    wanted = {alert.id: _mark(alert.state, alert.last_event, alert.limit_order) for alert in judged}
    ids = list(wanted)
    standing: set[str] = set()
    for start in range(0, len(ids), _MANY_IDS):
        columns = select(alerts.c.id, alerts.c.state, alerts.c.last_event, alerts.c.limit_order)
        query = columns.where(alerts.c.id.in_(ids[start : start + _MANY_IDS])).with_for_update()
        for row in await connection.execute(query):
            order = None if row.limit_order is None else LimitOrder.read(row.limit_order)
            if wanted[row.id] == _mark(row.state, row.last_event, order):
                standing.add(row.id)
    return standing


def _mark(state: str, last_event: str | None, order: LimitOrder | None) -> tuple[object, ...]:
    return state, last_event, None if order is None else (order.event, order.quote_id, order.next_try_at)


async def _write(connection: AsyncConnection, changed: Sequence[Alert]) -> None:
    if changed:
        values: dict[str, Any] = {name: bindparam(name) for name in _CHANGING}
        rows = [{"alert": alert.id, **_standing(alert)} for alert in changed]
        await connection.execute(update(alerts).where(alerts.c.id == bindparam("alert")).values(values), rows)


_CHANGING = (
    "state",
    "quiet_minutes",
    "times_fired",
    "reference_value",
    "last_value",
    "last_event",
    "last_fired_at",
    "note",
    "booking_id",
    "limit_order",
)
_FIXED = ("owner", "created_at", "expires_at")


def _standing(alert: Alert) -> dict[str, Any]:
    """What changes as it fires and orders."""
    values = {name: getattr(alert, name) for name in _CHANGING}
    order = alert.limit_order
    return {**values, "limit_order": None if order is None else order.text()}


def _values(alert: Alert) -> dict[str, Any]:
    fixed = {name: getattr(alert, name) for name in _FIXED}
    return {**fixed, **_standing(alert), "target": alert.target.text(), "condition": alert.condition.text()}


def _alert(row: Row[Any]) -> Alert:
    values = {name: getattr(row, name) for name in ("id", *_FIXED, *_CHANGING)}
    order = row.limit_order
    values["limit_order"] = None if order is None else LimitOrder.read(order)
    return Alert(target=read_target(row.target), condition=read_condition(row.condition), **values)
