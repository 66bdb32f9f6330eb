"""The book of bookings: what was bought, its machines, and who is working on it.

A process works on a booking only while it holds its row (`take`); every change it makes names itself, so that one
that was taken for dead cannot overwrite its successor: `LeaseLost`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import Row, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from market.bookings import FINAL_STATES, LEGAL_MOVES, Booking, BookingState, Machine
from market.canonical import canonical
from market.errors import Conflict, Unavailable
from market.procurement_tables import bookings, instances, launch_secrets
from market.store import Store

_BOOKING = tuple(field.name for field in fields(Booking) if field.name not in ("machines", "plan"))
_MACHINE = tuple(field.name for field in fields(Machine) if field.name != "access")


class LeaseLost(Unavailable):
    """Another process works on this booking now: whatever this one still does must stop."""


async def add(connection: AsyncConnection, booking: Booking, sealed_launch: str) -> None:
    """Write a new booking, its machines, and what is to be launched (already encrypted)."""
    values: dict[str, Any] = {name: getattr(booking, name) for name in _BOOKING}
    await connection.execute(insert(bookings).values(plan=canonical(booking.plan), **values))
    await add_machines(connection, booking.machines)
    await connection.execute(insert(launch_secrets).values(booking_id=booking.id, sealed=sealed_launch))


async def add_machines(connection: AsyncConnection, machines: Iterable[Machine]) -> None:
    """Write further machines of a booking."""
    rows = [{name: getattr(machine, name) for name in _MACHINE} for machine in machines]
    if rows:
        await connection.execute(insert(instances), rows)


async def get(store: Store, booking_id: str) -> Booking | None:
    """One booking with its machines."""
    async with store.read() as connection:
        return await read(connection, booking_id)


async def read(connection: AsyncConnection, booking_id: str) -> Booking | None:
    """`get`, inside a transaction."""
    row = (await connection.execute(select(bookings).where(bookings.c.id == booking_id))).one_or_none()
    return None if row is None else (await _with_machines(connection, [row]))[0]


async def of_caller(
    store: Store, callers: Sequence[str] | None, *, states: Iterable[str] = (), limit: int = 50
) -> list[Booking]:
    """The newest bookings of these callers (None: of all), in these states (none named: in any)."""
    query = select(bookings).order_by(bookings.c.created_at.desc(), bookings.c.id).limit(limit)
    if callers is not None:
        query = query.where(bookings.c.caller.in_(callers))
    if wanted := list(states):
        query = query.where(bookings.c.state.in_(wanted))
    async with store.read() as connection:
        return await _with_machines(connection, (await connection.execute(query)).all())


async def by_machine(store: Store, provider: str, provider_instance_id: str) -> Booking | None:
    """The booking a provider's machine belongs to."""
    query = (
        select(bookings.c.id)
        .join(instances, instances.c.booking_id == bookings.c.id)
        .where(bookings.c.provider == provider, instances.c.provider_instance_id == provider_instance_id)
    )
    async with store.read() as connection:
        found = (await connection.execute(query)).scalars().first()
        return None if found is None else await read(connection, found)


async def open_bookings(store: Store, provider: str | None = None) -> list[Booking]:
    """Every booking that may still cost money."""
    query = select(bookings).where(bookings.c.state.not_in(FINAL_STATES)).order_by(bookings.c.created_at)
    if provider is not None:
        query = query.where(bookings.c.provider == provider)
    async with store.read() as connection:
        return await _with_machines(connection, (await connection.execute(query)).all())


async def take(store: Store, booking_id: str, runner: str, *, now: datetime, until: datetime) -> bool:
    """Hold the booking until then; False while anybody does, other tasks of this process too, or when it is over."""
    async with store.write() as connection:
        return await _take(connection, [booking_id], runner, now, until) == [booking_id]


async def renew(store: Store, booking_id: str, runner: str, *, until: datetime) -> bool:
    """Go on holding it until then; False when somebody else has taken it, or it is over."""
    mine = and_(bookings.c.id == booking_id, bookings.c.runner == runner, bookings.c.state.not_in(FINAL_STATES))
    async with store.write() as connection:
        renewed = await connection.execute(update(bookings).where(mine).values(runner_until=until))
        return renewed.rowcount == 1


async def refuse_lost(store: Store, booking_id: str, runner: str, *, now: datetime) -> None:
    """Raise LeaseLost unless `runner` still holds the booking: asked last before what cannot be taken back."""
    mine = and_(bookings.c.id == booking_id, bookings.c.runner == runner, bookings.c.runner_until > now)
    async with store.read() as connection:
        if (await connection.execute(select(bookings.c.id).where(mine))).first() is None:
            raise _lost(booking_id)


async def take_due(store: Store, runner: str, *, now: datetime, until: datetime, limit: int = 20) -> list[str]:
    """Hold the open bookings whose next look is due, as many as nobody else is holding."""
    free = or_(bookings.c.runner.is_(None), bookings.c.runner_until <= now)
    due = or_(bookings.c.next_check_at.is_(None), bookings.c.next_check_at <= now)
    open_ones = select(bookings.c.id).where(bookings.c.state.not_in(FINAL_STATES), free, due).limit(limit)
    query = open_ones.order_by(bookings.c.next_check_at).with_for_update(skip_locked=True)
    async with store.read() as connection:
        if (await connection.execute(open_ones)).first() is None:
            return []  # nothing to do is the usual case, and costs no write
    async with store.write() as connection:
        found = list((await connection.execute(query)).scalars())
        return await _take(connection, found, runner, now, until) if found else []


async def _take(
    connection: AsyncConnection, booking_ids: Sequence[str], runner: str, now: datetime, until: datetime
) -> list[str]:
    free = or_(bookings.c.runner.is_(None), bookings.c.runner_until <= now)
    taken = (
        update(bookings)
        .where(bookings.c.id.in_(booking_ids), bookings.c.state.not_in(FINAL_STATES), free)
        .values(runner=runner, runner_until=until)
        .returning(bookings.c.id)
    )
    found = set((await connection.execute(taken)).scalars())
    return [booking_id for booking_id in booking_ids if booking_id in found]


async def release(store: Store, booking_id: str, runner: str) -> None:
    """Let go of it."""
    async with store.write() as connection:
        mine = and_(bookings.c.id == booking_id, bookings.c.runner == runner)
        await connection.execute(update(bookings).where(mine).values(runner=None, runner_until=None))


async def change(connection: AsyncConnection, booking_id: str, *, runner: str | None, **values: Any) -> None:
    """Set columns of a booking. Raises LeaseLost when `runner` does not hold it any more."""
    if "plan" in values:
        values["plan"] = canonical(values["plan"])
    where = bookings.c.id == booking_id
    if runner is not None:
        where = and_(where, bookings.c.runner == runner)
    if (await connection.execute(update(bookings).where(where).values(**values))).rowcount != 1:
        raise _lost(booking_id)


def _lost(booking_id: str) -> LeaseLost:
    return LeaseLost(f"Another process works on booking `{booking_id}` now.", next_step="It goes on there.")


async def move(
    connection: AsyncConnection, booking: Booking, to: BookingState, *, runner: str | None, **values: Any
) -> None:
    """Bring a booking into its next state. Raises Conflict for a move that is not legal, LeaseLost like `change`."""
    if to not in LEGAL_MOVES[booking.state]:
        raise Conflict(
            f"Booking `{booking.id}` is {booking.state} and cannot become {to}.",
            next_step="Look at it with `list_bookings`.",
            details={"state": booking.state},
        )
    where = and_(bookings.c.id == booking.id, bookings.c.state == booking.state)
    if runner is not None:
        where = and_(where, bookings.c.runner == runner)
    if (await connection.execute(update(bookings).where(where).values(state=to, **values))).rowcount != 1:
        raise LeaseLost(
            f"Booking `{booking.id}` has been changed meanwhile.", next_step="Look at it with `list_bookings`."
        )


async def reconcile(connection: AsyncConnection, booking_id: str, *, cost: Decimal, note: str) -> bool:
    """Set the provider's final figure of a booking that ended without one; False when somebody has set it meanwhile."""
    owing = and_(bookings.c.id == booking_id, bookings.c.provider_cost.is_(None))
    values = {"final_cost": cost, "provider_cost": cost, "cost_note": note}
    return (await connection.execute(update(bookings).where(owing).values(values))).rowcount == 1


async def change_machine(connection: AsyncConnection, label: str, **values: Any) -> None:
    """Set columns of one machine."""
    if values.get("access") is not None:
        values["access"] = canonical(values["access"])
    await connection.execute(update(instances).where(instances.c.label == label).values(**values))


async def sealed_launch(store: Store, booking_id: str) -> str | None:
    """What is to be launched, still encrypted; None once it was erased."""
    async with store.read() as connection:
        query = select(launch_secrets.c.sealed).where(launch_secrets.c.booking_id == booking_id)
        return (await connection.execute(query)).scalar_one_or_none()


async def erase_launch(connection: AsyncConnection, booking_id: str) -> None:
    """Forget what was launched, with its secrets."""
    await connection.execute(delete(launch_secrets).where(launch_secrets.c.booking_id == booking_id))


async def _with_machines(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Booking]:
    ids = [row.id for row in rows]
    machines: dict[str, list[Machine]] = {booking_id: [] for booking_id in ids}
    query = select(instances).where(instances.c.booking_id.in_(ids)).order_by(instances.c.ordinal)
    for row in await connection.execute(query) if ids else ():
        known = None if row.access is None else orjson.loads(row.access)
        plain = {name: getattr(row, name) for name in _MACHINE}
        machines[row.booking_id].append(Machine(access=known, **plain))
    return [
        Booking(
            plan=tuple(orjson.loads(row.plan)),
            machines=tuple(machines[row.id]),
            **{name: getattr(row, name) for name in _BOOKING},
        )
        for row in rows
    ]
