"""Booking: a quote is bought within a mandate, in one transaction that holds the money before anything is asked for."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anyio
from pydantic import Field

from market.context import Context
from market.errors import MandateRefused, OrderRefused, QuoteUnusable
from tools import authority, orders
from tools.booking_view import BookedQuote, line
from tools.capability import Request, capability, intent_of
from tools.fulfilment import hands
from tools.launch_request import LaunchRequest
from tools.legs import LIVE_PRICE_SECONDS, alternatives, bookable_providers
from tools.search import SomeDollars

if TYPE_CHECKING:
    from market.bookings import Booking
    from market.instances import Launch
    from market.mandates import Mandate, Purchase
    from market.offers import Offer
    from market.quote_book import Leg, Quote

PROPOSED = 3
NEW_QUOTE = "Ask `quote_offer` for a new quote."


class BookQuote(Request):
    """What to buy, and what to run on it."""

    quote_id: str = Field(max_length=80)
    idempotency_key: str = Field(
        min_length=1, max_length=255, description="Fresh random text for each purchase; the same one for its retries."
    )
    max_total: SomeDollars = Field(description="US dollars; refused when the worst case of the quote is above it.")
    launch: LaunchRequest = LaunchRequest()


@capability("POST /bookings", "POST /rentals/provision", scope="procure:spend", effect="spend", open_world=True)
async def book_quote(ctx: Context, request: BookQuote) -> BookedQuote:
    """Buy what was quoted, within the mandate. The same key never buys twice; poll `list_bookings` until active."""
    commitment = intent_of(ctx)
    if commitment.subject is not None:
        return await _brought_on(ctx, commitment.subject)
    quote = await _usable_quote(ctx, request)
    mandate, legs, purchase = await _allowed(ctx, quote)
    launch = request.launch.as_launch(quote.terms.disk_gb)
    enforces_end = await _still_so(ctx, legs[0], launch)
    uses_approval = await authority.approved(ctx, mandate, purchase, subject=quote.id, summary=quote.summary())
    booking = _booking(ctx, quote, mandate, legs, enforces_end)
    await _committed(ctx, booking, quote, mandate, launch, purchase, uses_approval=uses_approval)
    await commitment.anchored()
    return await _brought_on(ctx, booking.id)


async def _usable_quote(ctx: Context, request: BookQuote) -> Quote:
    from market import quote_book

    store, now = await ctx.market.store(), ctx.market.clock.now()
    quote = await quote_book.get(store, ctx.market.settings, request.quote_id, ctx.caller, now)
    quote.refuse_unusable(now)
    if quote.worst_total > request.max_total:
        raise QuoteUnusable(
            f"The worst case of this quote is {quote.worst_total:f} USD, above your cap of {request.max_total:f} USD.",
            next_step="Raise `max_total`, or quote fewer hours or a cheaper offer.",
            details={"reason": "above_cap", "worst_total": float(quote.worst_total)},
        )
    return quote


async def _allowed(ctx: Context, quote: Quote) -> tuple[Mandate, list[Leg], Purchase]:
    """The mandate, the legs it lets us try in their order, and what it is asked to hold. Raises MandateRefused."""
    from tools.providers import known

    terms = quote.terms
    kind = await asyncio.to_thread(known, terms.legs[0].provider)
    if not kind.bookable():
        raise OrderRefused(
            f"`{terms.legs[0].provider}` cannot be booked through GPUBroker.",
            next_step="Quote an offer whose `bookable` is true.",
        )
    purchases = [
        authority.purchase_of(
            leg,
            instance_count=terms.instance_count,
            hours=terms.duration_hours,
            unverified=known(leg.provider).unverified,
        )
        for leg in terms.legs
    ]
    mandate = await authority.mandate_for(ctx, purchases[0], named=terms.mandate_id)
    chosen = authority.permitted(mandate, purchases, ctx)
    legs = [terms.legs[n] for n in chosen if known(terms.legs[n].provider).bookable()]
    dearest = max((purchases[n] for n in chosen), key=lambda one: one.worst_total)
    return mandate, legs, dearest


async def _still_so(ctx: Context, leg: Leg, launch: Launch) -> bool:
    """Ask the provider once more before buying: can it do this, at this price, and who ends it.

    True when the provider enforces the end. Raises OrderRefused, QuoteUnusable, NoWatchdog.
    """
    from tools.providers import provider

    adapter = provider(ctx.market, leg.provider)
    if unable := sorted(launch.asked_for() - adapter.honours):
        raise OrderRefused(
            f"`{leg.provider}` cannot do {', '.join(f'`{name}`' for name in unable)} at launch.",
            next_step=f"Leave that out; it honours {', '.join(sorted(adapter.honours)) or 'nothing of a launch'}.",
            details={"honours": sorted(adapter.honours)},
        )
    live: tuple[Decimal, str] | None = None
    with anyio.move_on_after(LIVE_PRICE_SECONDS):
        live = await adapter.live_price(leg.external_id, leg.region, leg.pricing)
    if live is not None and (live[1] != leg.currency or live[0] > leg.price_per_hour):
        raise QuoteUnusable(
            f"The price is now {live[0]:f} {live[1]} an hour; the quote said {leg.price_per_hour:f} {leg.currency}.",
            next_step=NEW_QUOTE,
            details={"reason": "dearer", "price_per_hour": float(live[0]), "currency": live[1]},
        )
    return await authority.ends_for_certain(ctx.market, adapter)


def _booking(ctx: Context, quote: Quote, mandate: Mandate, legs: list[Leg], enforces_end: bool) -> Booking:
    from market.bookings import Booking

    terms, now = quote.terms, ctx.market.clock.now()
    plan = [_facts(leg) for leg in legs]
    of_leg: dict[str, Any] = orders.of_leg(plan[0])
    booking = Booking(
        id=orders.fresh_booking_id(),
        quote_id=quote.id,
        mandate_id=mandate.id,
        caller=ctx.caller.identity,
        state="pending",
        plan=tuple(plan),
        instance_count=terms.instance_count,
        attempts=0,
        claimed=max(leg.worst_total_usd for leg in legs),
        hourly_claimed=max(leg.hourly_total_usd for leg in legs),
        spent=Decimal(0),
        disk_gb=terms.disk_gb,
        enforces_end=enforces_end,
        created_at=now,
        ends_at=now + timedelta(hours=terms.duration_hours),
        **of_leg,
    )
    return orders.first_machines(booking)


def _facts(leg: Leg) -> dict[str, Any]:
    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in asdict(leg).items()}


async def _committed(
    ctx: Context,
    booking: Booking,
    quote: Quote,
    mandate: Mandate,
    launch: Launch,
    purchase: Purchase,
    *,
    uses_approval: bool,
) -> None:
    """The one transaction of a purchase: money held, quote and approval used up, booking, key, event and audit."""
    from market import approvals, booking_book, mandate_book, outbox, quote_book
    from market.mandates import refusal
    from market.sealing import Sealer

    market, commitment = ctx.market, ctx.commitment
    store, now = await market.store(), market.clock.now()
    sealed = Sealer.of(market.settings).encrypt(orders.write_launch(launch))
    async with store.write() as connection:
        missing = await mandate_book.claim(
            connection,
            mandate,
            amount=booking.claimed,
            hourly=booking.hourly_claimed,
            instances=booking.instance_count,
            now=now,
        )
        if missing:
            raise refusal(mandate.id, missing)
        if not await quote_book.use(connection, quote.id, booking.id, now):
            raise QuoteUnusable(
                "This quote was used or has expired meanwhile.", next_step=NEW_QUOTE, details={"reason": "used"}
            )
        if uses_approval:
            await approvals.use(
                connection,
                market.settings,
                subject=quote.id,
                caller=ctx.caller,
                mandate_id=mandate.id,
                amount=purchase.worst_total,
                now=now,
            )
        await booking_book.add(connection, booking, sealed)
        told = {"booking_id": booking.id, "offer_id": booking.offer_id, "held": booking.claimed}
        await outbox.publish(
            connection, at=now, kind="booking.pending", subject=booking.id, owner=booking.caller, payload=told
        )
        if commitment is not None:
            details = {**told, "quote_id": quote.id, "mandate_id": mandate.id, "ends_at": booking.ends_at}
            await commitment.begin(connection, action="book_quote", subject=booking.id, details=details)


async def _brought_on(ctx: Context, booking_id: str) -> BookedQuote:
    """Bring the booking as far as it comes now; a caller who hangs up does not stop it."""
    booking = await asyncio.shield(asyncio.ensure_future(hands(ctx.market).advance(booking_id)))
    if booking is None:
        raise MandateRefused("The booking is not there any more.", next_step="Look with `list_bookings`.")
    shown = BookedQuote(**dict(line(booking, ctx.market.clock.now())))
    if booking.state != "failed":
        return shown
    instead = await _instead(ctx, booking)
    if not instead:
        return shown
    told = "; ".join(f"`{one.id}` ({one.price_per_hour_usd:f} USD an hour, {one.availability})" for one in instead)
    return shown.model_copy(
        update={
            "alternatives": [one.id for one in instead],
            "next": f"Nothing was made and nothing is owed. Equal GPUs elsewhere: {told}. Quote one.",
        }
    )


async def _instead(ctx: Context, booking: Booking) -> list[Offer]:
    """The next best offers after one that could not be had, as the failover of a quote finds them."""
    from market import catalogue

    tried = await catalogue.offer(await ctx.market.store(), booking.offer_id)
    if tried is None:
        return []
    bookable = await bookable_providers()
    return await alternatives(ctx.market, [tried.offer], None, bookable=bookable, most=PROPOSED)
