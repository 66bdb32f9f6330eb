"""One booking while this process holds it: what is known of it, and how what is done is written down."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from market import booking_book
from market.bookings import Booking, BookingState, Machine
from market.context import Market
from market.money import in_usd

if TYPE_CHECKING:
    from decimal import Decimal

    from adapters.base import Adapter
    from market.instances import Instance
    from market.store import Open, Store

log = logging.getLogger("gpubroker.bookings")

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:-]{0,252}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")
_ADDRESS = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9._:/\[\]-]{0,252}")
"""A host or its address, with a port, a scheme or neither."""

Point = Callable[[str], Awaitable[None]]
"""Told of every moment at which the process may die and another must be able to go on."""

ACTOR = "gpubroker"
"""Who the audit log names for what the marketplace does by itself."""


async def passing(_moment: str) -> None:
    """The point of everyday: nothing happens there."""


@dataclass(slots=True)
class Work:
    """A booking that is held, the provider it is at, and the time."""

    market: Market
    store: Store
    adapter: Adapter
    booking: Booking
    runner: str
    point: Point = passing

    @property
    def now(self) -> datetime:
        """The present moment."""
        return self.market.clock.now()

    async def reload(self) -> Booking:
        """The booking as it stands in the database."""
        found = await booking_book.get(self.store, self.booking.id)
        if found is None:
            raise LookupError(self.booking.id)
        self.booking = found
        return found

    async def wait(self, seconds: float, **values: Any) -> bool:
        """Nothing more can be done now: look again then. Always False, for `return await work.wait(2)`."""
        later = self.now + timedelta(seconds=seconds)
        async with self.store.write() as connection:
            await booking_book.change(connection, self.booking.id, runner=self.runner, next_check_at=later, **values)
        return False

    async def move(self, connection: Open, to: BookingState, reason: str = "", **values: Any) -> None:
        """Bring the booking into its next state, with the event and the audit entry of it, in one transaction."""
        if reason:
            values["reason"] = reason
        values.setdefault("next_check_at", None)
        await booking_book.move(connection, self.booking, to, runner=self.runner, **values)
        await announce(connection, self.booking, f"booking.{to}", self.now, {"reason": reason} if reason else {})

    async def end(self, reason: str, closes_as: str = "terminated") -> bool:
        """Begin to give everything back; what the booking will be called then is settled now. Always True."""
        async with self.store.write() as connection:
            await self.begin_end(connection, reason, closes_as)
        await self.reload()
        return True

    async def begin_end(self, connection: Open, reason: str, closes_as: str) -> None:
        """`end`, inside a transaction."""
        await begin_end(connection, self.booking, self.adapter, self.runner, self.now, reason, closes_as)

    def live(self) -> list[Machine]:
        """The machines that may exist at the provider."""
        return [machine for machine in self.booking.machines if machine.state not in ("gone", "failed")]


async def begin_end(
    connection: Open,
    booking: Booking,
    adapter: Adapter,
    runner: str,
    now: datetime,
    reason: str,
    closes_as: str = "terminated",
) -> None:
    """Write down that a booking is to be ended, by when its machines must be gone, and tell of it."""
    patience = now + timedelta(seconds=adapter.end_seconds)
    values = {"reason": reason, "closes_as": closes_as, "settle_until": patience, "next_check_at": None}
    await booking_book.move(connection, booking, "terminating", runner=runner, **values)
    await announce(connection, booking, "booking.terminating", now, {"reason": reason})


async def announce(connection: Open, booking: Booking, kind: str, at: datetime, facts: Mapping[str, object]) -> None:
    """Tell the outbox and the audit log what happened to a booking."""
    from market import audit, outbox

    told = {
        "booking_id": booking.id,
        "provider": booking.provider,
        "offer_id": booking.offer_id,
        "gpu": booking.gpu,
        "instances": booking.instance_count,
        "ends_at": booking.ends_at,
        **facts,
    }
    await outbox.publish(connection, at=at, kind=kind, subject=booking.id, owner=booking.caller, payload=told)
    await audit.append(connection, at=at, actor=ACTOR, action=kind, subject=booking.id, details=told)


def access_of(instance: Instance) -> dict[str, object] | None:
    """How the machine is reached; None while its provider does not say, or says what is no host or user.

    People paste the line that is made of it into a shell.
    """
    if instance.ssh_host is None or not (_HOST.fullmatch(instance.ssh_host) and _USER.fullmatch(instance.ssh_user)):
        return None
    found: dict[str, object] = {
        "ssh_host": instance.ssh_host,
        "ssh_port": instance.ssh_port,
        "ssh_user": instance.ssh_user,
    }
    if instance.ports:
        found["ports"] = {str(inner): outer for inner, outer in instance.ports if _ADDRESS.fullmatch(outer)}
    return found


def began(instance: Instance, machine: Machine, now: datetime) -> datetime:
    """From when a machine costs money: what its provider says, never before we asked nor later than now."""
    said = instance.started_at or now
    return min(max(said, machine.created_at), now)


def price_in_usd(instance: Instance) -> Decimal | None:
    """What the provider says it charges an hour, in US dollars; None when it does not say, or in no known currency."""
    if instance.price_per_hour is None:
        return None
    converted = in_usd(instance.price_per_hour, instance.currency)
    return None if converted is None else converted[0]
