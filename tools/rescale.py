"""Changing a running booking in size or power: more machines of the same, a stop, a start. HTTP only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import AliasChoices, Field

from market.context import Context
from market.errors import Conflict, OrderRefused, QuoteUnusable
from tools import authority
from tools.booking_view import BookingLine, line
from tools.bookings import as_purchase, held, own, refuse_changed
from tools.capability import Door, Request, capability, intent_of
from tools.fulfilment import hands
from tools.search import SomeDollars

if TYPE_CHECKING:
    from adapters.base import Adapter
    from market.bookings import Booking
    from market.store import Store

HTTP_ONLY: frozenset[Door] = frozenset({"http", "agent"})
_ID = AliasChoices("booking_id", "id", "rental_id")


class ScaleBooking(Request):
    """How many more of the same machine."""

    booking_id: str = Field(max_length=40, validation_alias=_ID)
    add: int = Field(default=1, ge=1, le=64)
    max_total: SomeDollars = Field(description="US dollars; what they may cost at most.")
    idempotency_key: str = Field(min_length=1, max_length=255)


@capability(
    "POST /bookings/{booking_id}/scale", "POST /rentals/{booking_id}/scale",
    scope="procure:spend", effect="spend", doors=HTTP_ONLY, open_world=True,
)  # fmt: skip
async def scale_booking(ctx: Context, request: ScaleBooking) -> BookingLine:
    """Add machines of the same product to a running booking, until its end and under its mandate."""
    store = await ctx.market.store()
    booking = await own(ctx, store, request.booking_id)
    commitment = intent_of(ctx)
    if commitment.subject is None:
        await _added(ctx, store, booking, request)
        await commitment.anchored()
    return await _brought_on(ctx, booking)


async def _added(ctx: Context, store: Store, booking: Booking, request: ScaleBooking) -> None:
    from market import approvals, booking_book, mandate_book
    from market.bookings import Machine, label_of
    from market.costs import TEARDOWN_SECONDS
    from market.mandates import refusal
    from market.usage import cost

    market, commitment = ctx.market, ctx.commitment
    now = market.clock.now()
    _only_active(booking, "grow")
    hourly = booking.price_per_hour_usd * request.add
    until = booking.ends_at - now + timedelta(seconds=TEARDOWN_SECONDS)
    amount = cost(booking.price_per_hour_usd + booking.storage_per_hour_usd, until) * request.add
    if amount > request.max_total:
        raise QuoteUnusable(
            f"{request.add} more cost up to {amount:f} USD until the end, above your cap of {request.max_total:f} USD.",
            next_step="Raise `max_total` or add fewer.",
            details={"reason": "above_cap", "additional_cost": float(amount)},
        )
    purchase = as_purchase(booking, booking.ends_at, amount, instance_count=request.add, hourly=hourly)
    mandate = await authority.mandate_for(ctx, purchase, named=booking.mandate_id)
    subject = f"scale:{booking.id}:{booking.instance_count}+{request.add}"
    summary = f"Add {request.add} machines to booking {booking.id} ({booking.offer_id}), for {amount:.2f} USD at most."
    uses_approval = await authority.approved(ctx, mandate, purchase, subject=subject, summary=summary)
    ordinal = max(one.ordinal for one in booking.machines)
    fresh = [
        Machine(label=label_of(booking.id, n), booking_id=booking.id, ordinal=n, state="planned", created_at=now)
        for n in range(ordinal + 1, ordinal + 1 + request.add)
    ]
    async with held(ctx, store, booking.id) as runner, store.write() as connection:
        await refuse_changed(connection, booking)
        missing = await mandate_book.claim(
            connection, mandate, amount=amount, hourly=hourly, instances=request.add, now=now, is_new=False
        )
        if missing:
            raise refusal(mandate.id, missing)
        if uses_approval:
            await approvals.use(
                connection, market.settings,
                subject=subject, caller=ctx.caller, mandate_id=mandate.id, amount=amount, now=now,
            )  # fmt: skip
        await booking_book.add_machines(connection, fresh)
        await booking_book.change(
            connection, booking.id, runner=runner,
            instance_count=booking.instance_count + request.add, claimed=booking.claimed + amount,
            hourly_claimed=booking.hourly_claimed + hourly, next_check_at=now,
        )  # fmt: skip
        if commitment is not None:
            details = {"add": request.add, "held": amount}
            await commitment.begin(connection, action="scale_booking", subject=booking.id, details=details)


class PowerBooking(Request):
    """Which booking."""

    booking_id: str = Field(max_length=40, validation_alias=_ID)


@capability("POST /bookings/{booking_id}/stop", scope="procure:spend", effect="write", doors=HTTP_ONLY, open_world=True)
async def stop_booking(ctx: Context, request: PowerBooking) -> BookingLine:
    """Halt the machines and keep their disks, where the provider can; the disks go on costing money."""
    return await _power(ctx, request.booking_id, "stop")


@capability(
    "POST /bookings/{booking_id}/start", scope="procure:spend", effect="write", doors=HTTP_ONLY, open_world=True
)
async def start_booking(ctx: Context, request: PowerBooking) -> BookingLine:
    """Run stopped machines again, until the same end."""
    return await _power(ctx, request.booking_id, "start")


async def _power(ctx: Context, booking_id: str, step: Literal["stop", "start"]) -> BookingLine:
    from adapters.base import Adapter
    from market import booking_book, journal
    from tools.providers import known

    store = await ctx.market.store()
    booking = await own(ctx, store, booking_id)
    able: Callable[[type[Adapter]], object] = {"stop": lambda one: one.stop, "start": lambda one: one.start}[step]
    if able(known(booking.provider)) is able(Adapter):
        raise OrderRefused(f"`{booking.provider}` cannot {step} machines.", next_step="End the booking instead.")
    wanted = "active" if step == "stop" else "stopped"
    if booking.state != wanted:
        raise Conflict(
            f"Booking `{booking.id}` is {booking.state}; to {step} it, it must be {wanted}.",
            next_step="Look at it with `list_bookings`.",
            details={"state": booking.state},
        )
    now = ctx.market.clock.now()
    async with held(ctx, store, booking.id) as runner, store.write() as connection:
        await refuse_changed(connection, booking)
        await journal.intend(connection, booking_id=booking.id, step=step, at=now)
        await booking_book.change(connection, booking.id, runner=runner, next_check_at=now)
        if ctx.commitment is not None:
            await ctx.commitment.begin(connection, action=f"{step}_booking", subject=booking.id, details={})
    return await _brought_on(ctx, booking)


def _only_active(booking: Booking, what: str) -> None:
    if booking.state != "active":
        raise Conflict(
            f"Booking `{booking.id}` is {booking.state}; only an active one can {what}.",
            next_step="Look at it with `list_bookings`.",
            details={"state": booking.state},
        )


async def _brought_on(ctx: Context, booking: Booking) -> BookingLine:
    brought = await asyncio.shield(asyncio.ensure_future(hands(ctx.market).advance(booking.id)))
    return line(brought or booking, ctx.market.clock.now())
