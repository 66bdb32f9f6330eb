"""The bookings of a caller: seen, made longer, ended."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from pydantic import AliasChoices, Field

from market.context import Context
from market.errors import Conflict, InFlight, NotFound, QuoteUnusable
from market.money import Money
from tools import authority
from tools.booking_view import BookingLine, line
from tools.capability import Request, Result, capability, intent_of
from tools.fulfilment import HOLD, hands
from tools.offer_view import Moment
from tools.search import SomeDollars

if TYPE_CHECKING:
    from market.bookings import Booking
    from market.mandates import Purchase
    from market.store import Open, Store

ASK_AGAIN_SECONDS = 1.0
MOST_WAITS = 15
_ID = AliasChoices("booking_id", "id", "rental_id")


class ListBookings(Request):
    """Which bookings."""

    booking_id: str | None = Field(default=None, max_length=40, validation_alias=_ID)
    state: (
        Literal["open", "pending", "provisioning", "active", "stopped", "terminating", "terminated", "failed", "stuck"]
        | None
    ) = Field(default=None, description="`open`: whatever may still cost money.")
    limit: int = Field(default=10, ge=1, le=50)


class Bookings(Result):
    """Newest first."""

    items: list[BookingLine]
    spending_per_hour: Money = Field(description="What the shown ones cost an hour now.")
    warnings: list[str] = Field(default_factory=list)


@capability(
    "GET /bookings", "GET /bookings/{booking_id}", "GET /rentals", "GET /rentals/{booking_id}",
    scope="bookings:read", effect="read",
)  # fmt: skip
async def list_bookings(ctx: Context, request: ListBookings) -> Bookings:
    """Your bookings: state, how to log in, what they have cost and will, time left."""
    from market import booking_book
    from market.bookings import FINAL_STATES, LEGAL_MOVES

    store, now = await ctx.market.store(), ctx.market.clock.now()
    if request.booking_id is not None:
        found = [await own(ctx, store, request.booking_id)]
    else:
        states = (
            [name for name in LEGAL_MOVES if name not in FINAL_STATES]
            if request.state == "open"
            else [request.state]
            if request.state
            else []
        )
        found = await booking_book.of_caller(store, _whose(ctx), states=states, limit=request.limit)
    running = [one for one in found if one.state in ("pending", "provisioning", "active", "terminating", "stuck")]
    return Bookings(
        items=[line(one, now) for one in found],
        spending_per_hour=sum((one.price_per_hour_usd * one.instance_count for one in running), Decimal(0)),
        warnings=[f"Booking {one.id} is stuck: {one.reason}" for one in found if one.state == "stuck"],
    )


class ExtendBooking(Request):
    """By how much, and at most for how much."""

    booking_id: str = Field(max_length=40, validation_alias=_ID)
    hours: float = Field(gt=0, le=8_760, allow_inf_nan=False, description="Added to the present end.")
    max_total: SomeDollars = Field(description="US dollars; what the added hours may cost at most.")
    idempotency_key: str = Field(min_length=1, max_length=255, description="As for `book_quote`.")


class ExtendedBooking(BookingLine):
    """The booking, with its new end."""

    new_end_time: Moment
    additional_cost: Money


@capability(
    "POST /bookings/{booking_id}/extend", "POST /rentals/{booking_id}/extend",
    scope="procure:spend", effect="spend", open_world=True,
)  # fmt: skip
async def extend_booking(ctx: Context, request: ExtendBooking) -> ExtendedBooking:
    """Keep a booking longer, at its own price, under the mandate."""
    store = await ctx.market.store()
    booking = await own(ctx, store, request.booking_id)
    commitment = intent_of(ctx)
    cost = _cost_of(booking, request.hours)
    ends_at = booking.ends_at + timedelta(hours=request.hours)
    if commitment.subject is None:
        await _extension(ctx, store, booking, request, ends_at, cost)
        await commitment.anchored()
    brought = await asyncio.shield(asyncio.ensure_future(hands(ctx.market).advance(booking.id))) or booking
    shown = line(brought, ctx.market.clock.now())
    if brought.ends_at <= booking.ends_at and commitment.subject is None:
        shown = shown.model_copy(update={"next": "The provider has not confirmed the new end yet; look again soon."})
    return ExtendedBooking(**dict(shown), new_end_time=brought.ends_at, additional_cost=cost)


def _cost_of(booking: Booking, hours: float) -> Decimal:
    from market.usage import cost

    hourly = booking.price_per_hour_usd + booking.storage_per_hour_usd
    return cost(hourly, timedelta(hours=hours)) * booking.instance_count


async def _extension(
    ctx: Context, store: Store, booking: Booking, request: ExtendBooking, ends_at: datetime, cost: Decimal
) -> None:
    """Hold the money of the added hours and write down that they are wanted, in one transaction."""
    from market import approvals, booking_book, journal, mandate_book
    from market.mandates import refusal

    if booking.state != "active":
        raise Conflict(
            f"Booking `{booking.id}` is {booking.state}; only an active one can be made longer.",
            next_step="Look at it with `list_bookings`, or quote and book anew.",
            details={"state": booking.state},
        )
    if cost > request.max_total:
        raise QuoteUnusable(
            f"The added hours cost {cost:f} USD, above your cap of {request.max_total:f} USD.",
            next_step="Raise `max_total` or add fewer hours.",
            details={"reason": "above_cap", "additional_cost": float(cost)},
        )
    purchase = as_purchase(booking, ends_at, cost)
    mandate = await authority.mandate_for(ctx, purchase, named=booking.mandate_id)
    subject = f"extend:{booking.id}:{ends_at.isoformat()}"
    summary = f"Keep booking {booking.id} ({booking.offer_id}) {request.hours:g} hours longer, for {cost:.2f} USD."
    uses_approval = await authority.approved(ctx, mandate, purchase, subject=subject, summary=summary)
    market, commitment = ctx.market, ctx.commitment
    now = market.clock.now()
    async with held(ctx, store, booking.id) as runner, store.write() as connection:
        await refuse_changed(connection, booking)
        missing = await mandate_book.claim(
            connection, mandate, amount=cost, hourly=Decimal(0), instances=0, now=now, is_new=False
        )
        if missing:
            raise refusal(mandate.id, missing)
        if uses_approval:
            await approvals.use(
                connection, market.settings,
                subject=subject, caller=ctx.caller, mandate_id=mandate.id, amount=cost, now=now,
            )  # fmt: skip
        intent = {"ends_at": ends_at, "amount": cost}
        await journal.intend(connection, booking_id=booking.id, step="extend", at=now, intent=intent)
        await booking_book.change(
            connection, booking.id, runner=runner, claimed=booking.claimed + cost, next_check_at=now
        )
        if commitment is not None:
            details = {"until": ends_at, "held": cost}
            await commitment.begin(connection, action="extend_booking", subject=booking.id, details=details)


async def refuse_changed(connection: Open, booking: Booking) -> None:
    """Raise Conflict when a held booking is no longer what was judged, or a change of it is under way."""
    from market import booking_book, journal

    fresh = await booking_book.read(connection, booking.id)
    under_way = [entry.step for entry in await journal.unfinished(connection, booking.id)]
    judged = (booking.state, booking.ends_at, booking.claimed, booking.instance_count)
    if under_way or fresh is None or (fresh.state, fresh.ends_at, fresh.claimed, fresh.instance_count) != judged:
        raise Conflict(
            f"Booking `{booking.id}` is being changed by another call.",
            next_step="Look at it with `list_bookings`; if more is still wanted, ask again with a new key.",
            details={"under_way": under_way},
        )


def as_purchase(
    booking: Booking,
    ends_at: datetime,
    cost: Decimal,
    *,
    instance_count: int | None = None,
    hourly: Decimal = Decimal(0),
) -> Purchase:
    """The longer booking as the mandate judges it: all its hours, the money of the added ones."""
    from market.mandates import Purchase
    from tools.providers import known

    leg = booking.plan[0]
    return Purchase(
        provider=booking.provider,
        region=booking.region,
        country=leg.get("country"),
        area=leg.get("area"),
        gpu=booking.gpu,
        gpu_count=booking.gpu_count,
        instance_count=booking.instance_count if instance_count is None else instance_count,
        pricing=booking.pricing,
        tags=frozenset(leg.get("tags", ())),
        hours=(ends_at - booking.created_at) / timedelta(hours=1),
        worst_total=cost,
        hourly_total=hourly,
        currency=booking.currency,
        unverified=known(booking.provider).unverified,
    )


class TerminateBooking(Request):
    """Which booking."""

    booking_id: str = Field(max_length=40, validation_alias=_ID)


@capability(
    "DELETE /bookings/{booking_id}", "PUT /bookings/{booking_id}/cancel", "POST /bookings/{booking_id}/terminate",
    "DELETE /rentals/{booking_id}",
    scope="procure:spend", effect="write", open_world=True,
)  # fmt: skip
async def terminate_booking(ctx: Context, request: TerminateBooking) -> BookingLine:
    """End a booking: stop it, see at the provider that it is gone, and settle the final cost."""
    market = ctx.market
    store = await market.store()
    booking = await own(ctx, store, request.booking_id)
    if not booking.is_final and booking.state not in ("terminating", "stuck"):
        await _to_be_ended(ctx, store, booking)
    for _ in range(MOST_WAITS):
        brought = await asyncio.shield(asyncio.ensure_future(hands(market).advance(booking.id)))
        if brought is None or brought.is_final or brought.state == "stuck":
            break
        await market.sleep(ASK_AGAIN_SECONDS)
    return line(await own(ctx, store, booking.id), market.clock.now())


async def _to_be_ended(ctx: Context, store: Store, booking: Booking) -> None:
    from market import booking_book
    from tools.providers import provider
    from tools.work import begin_end

    market, commitment = ctx.market, ctx.commitment
    now = market.clock.now()
    async with held(ctx, store, booking.id) as runner, store.write() as connection:
        fresh = await booking_book.read(connection, booking.id)
        if fresh is None or fresh.is_final or fresh.state in ("terminating", "stuck"):
            return
        reason = f"ended by {ctx.caller.name}"
        await begin_end(connection, fresh, provider(market, fresh.provider), runner, now, reason)
        if commitment is not None:
            details = {"state": fresh.state}
            await commitment.begin(connection, action="terminate_booking", subject=booking.id, details=details)
    if commitment is not None:
        await commitment.anchored()


async def own(ctx: Context, store: Store, booking_id: str) -> Booking:
    """A booking of this caller. Raises NotFound; the owner of the machine sees everybody's."""
    from market import booking_book

    booking = await booking_book.get(store, booking_id)
    mine = _whose(ctx)
    if booking is None or (mine is not None and booking.caller not in mine):
        raise NotFound("No such booking of yours.", next_step="`list_bookings` without an id shows all of them.")
    return booking


def _whose(ctx: Context) -> list[str] | None:
    return None if ctx.caller.agent_key_id is None and ctx.caller.may("admin") else [ctx.caller.identity]


class held:
    """Holding a booking's row while it is changed from outside its own steps. Raises InFlight while it is worked on."""

    def __init__(self, ctx: Context, store: Store, booking_id: str) -> None:
        self._market, self._store, self._id = ctx.market, store, booking_id
        self._runner = f"{hands(ctx.market).runner}-door"

    async def __aenter__(self) -> str:
        from market import booking_book

        for _ in range(MOST_WAITS):
            now = self._market.clock.now()
            if await booking_book.take(self._store, self._id, self._runner, now=now, until=now + HOLD):
                return self._runner
            await self._market.sleep(ASK_AGAIN_SECONDS)
        raise InFlight(
            f"Booking `{self._id}` is being worked on, or is over.",
            next_step="Look at it with `list_bookings` and try again.",
            details={"retry_after_seconds": 5},
        )

    async def __aexit__(self, *_problem: object) -> None:
        from market import booking_book

        await asyncio.shield(booking_book.release(self._store, self._id, self._runner))
