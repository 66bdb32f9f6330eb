"""The usage ledger: what each machine has cost, by the second, appended and never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Literal

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from market.bookings import Booking, Machine
from market.money import MILLIONTH
from market.procurement_tables import bookings, instances, usage_ledger
from market.store import Store

Kind = Literal["compute", "storage", "minimum", "adjustment"]
_HOUR = Decimal(3600)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger, in US dollars."""

    booking_id: str
    label: str
    kind: Kind
    from_at: datetime
    to_at: datetime
    seconds: float
    amount: Decimal
    note: str


def cost(price_per_hour: Decimal, span: timedelta) -> Decimal:
    """What a span costs at an hourly price, to the millionth of a dollar."""
    seconds = Decimal(span.days * 86_400 + span.seconds) + Decimal(span.microseconds) / 1_000_000
    return (price_per_hour * seconds / _HOUR).quantize(MILLIONTH, rounding=ROUND_HALF_EVEN)


def running_cost(booking: Booking, machine: Machine, until: datetime) -> Decimal:
    """What a machine has cost since it was last metered."""
    start = machine.metered_until or machine.started_at
    if start is None or until <= start:
        return Decimal(0)
    computing = Decimal(0) if machine.state == "stopped" else booking.price_per_hour_usd
    return cost(computing, until - start) + cost(booking.storage_per_hour_usd, until - start)


async def meter(connection: AsyncConnection, booking: Booking, machine: Machine, until: datetime) -> Decimal:
    """Write down what a machine cost since it was last metered; the amount. Metering twice to one moment adds nothing.

    A stopped machine costs its disk alone.
    """
    start = machine.metered_until or machine.started_at
    if start is None or until <= start:
        return Decimal(0)
    seen = instances.c.metered_until.is_not_distinct_from(machine.metered_until)
    counted = update(instances).where(instances.c.label == machine.label, seen).values(metered_until=until)
    if (await connection.execute(counted)).rowcount != 1:
        return Decimal(0)  # somebody else has counted these seconds meanwhile
    span = until - start
    lines: Mapping[Kind, Decimal] = {
        "compute": Decimal(0) if machine.state == "stopped" else cost(booking.price_per_hour_usd, span),
        "storage": cost(booking.storage_per_hour_usd, span),
    }
    for kind, amount in lines.items():
        if amount:
            await _append(connection, booking, machine.label, kind, start, until, amount, "")
    return await _add_to_booking(connection, booking.id, sum(lines.values(), Decimal(0)))


async def adjust(
    connection: AsyncConnection, booking: Booking, label: str, kind: Kind, amount: Decimal, at: datetime, note: str
) -> Decimal:
    """Write down what the seconds do not say: a minimum rental, or the difference to the provider's bill."""
    await _append(connection, booking, label, kind, at, at, amount, note)
    return await _add_to_booking(connection, booking.id, amount)


async def entries(store: Store, booking_id: str) -> list[Entry]:
    """The ledger of one booking, oldest first."""
    query = select(usage_ledger).where(usage_ledger.c.booking_id == booking_id).order_by(usage_ledger.c.id)
    names = Entry.__slots__
    async with store.read() as connection:
        return [Entry(**{name: getattr(row, name) for name in names}) for row in await connection.execute(query)]


async def total(connection: AsyncConnection, booking_id: str) -> Decimal:
    """What the ledger says a booking has cost."""
    query = select(func.sum(usage_ledger.c.amount)).where(usage_ledger.c.booking_id == booking_id)
    found: Any = (await connection.execute(query)).scalar_one()
    return Decimal(0) if found is None else found


async def _append(
    connection: AsyncConnection,
    booking: Booking,
    label: str,
    kind: Kind,
    from_at: datetime,
    to_at: datetime,
    amount: Decimal,
    note: str,
) -> None:
    await connection.execute(
        insert(usage_ledger).values(
            booking_id=booking.id,
            label=label,
            kind=kind,
            from_at=from_at,
            to_at=to_at,
            seconds=(to_at - from_at).total_seconds(),
            amount=amount,
            note=note,
            recorded_at=to_at,
        )
    )


async def _add_to_booking(connection: AsyncConnection, booking_id: str, amount: Decimal) -> Decimal:
    row = bookings.update().where(bookings.c.id == booking_id).values(spent=bookings.c.spent + amount)
    await connection.execute(row)
    return amount
