"""What the caller may still spend: each mandate with what is held, spent and left, and what runs under them now."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from market.context import Context
from market.money import Money
from tools.capability import Request, Result, capability
from tools.offer_view import Moment

_MOST = 500


class SpendStatus(Request):
    """Nothing to say."""


class MandateSpend(Result):
    """One mandate, in US dollars; `committed` is held for bookings that run."""

    mandate_id: str
    budget: Money
    committed: Money
    spent: Money
    overrun: Money | None = Field(default=None, description="Owed beyond what was held; never expected.")
    remaining: Money
    hourly_budget: Money | None = None
    hourly_committed: Money
    running: int = Field(description="Machines.")
    max_concurrent: int | None = None
    approval_above: Money | None = None
    expires_at: Moment


class Spending(Result):
    """What may still be spent, and what runs."""

    mandates: list[MandateSpend]
    approvals_waiting: int
    bookings_running: int
    spending_per_hour: Money
    projected: Money = Field(description="What the running bookings come to at their ends.")
    next: str | None = None


@capability("GET /spend", scope="procure:quote", effect="read")
async def spend_status(ctx: Context, query: SpendStatus) -> Spending:
    """What your mandates still allow, what is held and spent, what runs now."""
    from market import approvals, booking_book, mandate_book
    from market.bookings import BOOKING_STATES, FINAL_STATES
    from tools.authority import NO_MANDATE_STEP
    from tools.booking_view import line

    store, now = await ctx.market.store(), ctx.market.clock.now()
    shown = []
    for mandate in await mandate_book.for_caller(store, ctx.market.settings, ctx.caller, now):
        standing = await mandate_book.standing(store, mandate.id)
        shown.append(
            MandateSpend(
                mandate_id=mandate.id,
                budget=standing.budget,
                committed=standing.committed,
                spent=standing.spent,
                overrun=standing.overrun or None,
                remaining=standing.remaining,
                hourly_budget=standing.hourly_budget,
                hourly_committed=standing.hourly_committed,
                running=standing.running,
                max_concurrent=standing.max_concurrent,
                approval_above=mandate.approval_above,
                expires_at=standing.expires_at,
            )
        )
    states = [state for state in BOOKING_STATES if state not in FINAL_STATES]
    running = await booking_book.of_caller(store, [ctx.caller.identity], states=states, limit=_MOST)
    costing = [one for one in running if one.state != "stopped"]
    return Spending(
        mandates=shown,
        approvals_waiting=await approvals.waiting_count(store, ctx.caller.identity, now),
        bookings_running=len(running),
        spending_per_hour=sum((one.price_per_hour_usd * one.instance_count for one in costing), Decimal(0)),
        projected=sum((line(one, now).projected for one in running), Decimal(0)),
        next=None if shown else NO_MANDATE_STEP,
    )
