"""What gives a purchase its authority.

A mandate that allows it, a person's approval where that asks for one, and somebody who will end what is bought.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from market.context import Context, Market
from market.errors import ApprovalRequired, MandateRefused, NoWatchdog

if TYPE_CHECKING:
    from adapters.base import Adapter
    from market.mandates import Mandate, Purchase

WATCHDOG_LEASE = "watchdog"
NO_MANDATE_STEP = (
    "A person makes an agent key with `gpubroker keys create` and signs a mandate for it with "
    "`gpubroker mandate create`; without one only the sandbox can be booked, by the owner of this machine."
)


async def mandate_for(ctx: Context, purchase: Purchase, *, named: str | None = None) -> Mandate:
    """The mandate of the caller that allows this purchase. Raises MandateRefused with what would pass."""
    from market import mandate_book
    from market.mandates import refusal, violations

    store, now = await ctx.market.store(), ctx.market.clock.now()
    mandates = await mandate_book.for_caller(store, ctx.market.settings, ctx.caller, now)
    if named is not None:
        mandates = [one for one in mandates if one.id == named]
    if not mandates:
        raise MandateRefused(
            "No mandate allows you to spend.", next_step=NO_MANDATE_STEP, details={"violations": [], "mandates": 0}
        )
    judged = [(violations(one, purchase, now), one) for one in mandates]
    found, mandate = min(judged, key=lambda pair: len(pair[0]))
    if found:
        raise refusal(mandate.id, found)
    return mandate


async def approved(ctx: Context, mandate: Mandate, purchase: Purchase, *, subject: str, summary: str) -> bool:
    """Whether an approval is to be used up with this purchase; False when the mandate asks for none.

    Raises ApprovalRequired while nobody has decided, and when a person has said no.
    """
    from market import approvals
    from market.mandates import needs_approval

    if not needs_approval(mandate, purchase):
        return False
    market = ctx.market
    store, now = await market.store(), market.clock.now()
    asked = await approvals.ask(
        store,
        market.settings,
        subject=subject,
        caller=ctx.caller,
        mandate_id=mandate.id,
        summary=summary,
        amount=purchase.worst_total,
        now=now,
    )
    if asked.decision is None and asked.id in ctx.answers:
        asked = await approvals.decide(
            store,
            market.settings,
            asked.id,
            approved=ctx.answers[asked.id],
            by=ctx.caller.name,
            via="elicitation",
            now=now,
        )
    if asked.decision is None:
        raise await approvals.required(market.settings, asked)
    if asked.decision == "declined":
        raise ApprovalRequired(
            "A person has declined this purchase.",
            approval_id=asked.id,
            question="",
            next_step="Do not ask again for the same; quote something else.",
            details={"declined": True},
        )
    return True


async def ends_for_certain(market: Market, adapter: Adapter) -> bool:
    """Whether the provider itself ends the machines (True), or our watchdog will (False). Raises NoWatchdog."""
    if await adapter.end_enforced():
        return True
    from market import leases

    if await leases.held(await market.store(), WATCHDOG_LEASE, market.clock.now()):
        return False
    raise NoWatchdog(
        f"`{adapter.name}` does not end machines by itself and no watchdog is running: nobody would end the lease.",
        next_step="Run `gpubroker serve` on this database (it watches and tears down), then book again.",
        details={"provider": adapter.name, "run": "gpubroker serve"},
    )


def purchase_of(
    leg: object, *, instance_count: int, hours: float, unverified: bool, worst: Decimal | None = None
) -> Purchase:
    """What a mandate is asked about one leg of a quote (`market.quote_book.Leg`)."""
    from market.mandates import Purchase
    from market.quote_book import Leg

    if not isinstance(leg, Leg):
        raise TypeError("a leg of a quote is needed")
    return Purchase(
        provider=leg.provider,
        region=leg.region,
        country=leg.country,
        area=leg.area,
        gpu=leg.gpu,
        gpu_count=leg.gpu_count,
        instance_count=instance_count,
        pricing=leg.pricing,
        tags=frozenset(leg.tags),
        hours=hours,
        worst_total=leg.worst_total_usd if worst is None else worst,
        hourly_total=leg.hourly_total_usd,
        currency=leg.currency,
        unverified=unverified,
    )


def permitted(mandate: Mandate, purchases: Sequence[Purchase], ctx: Context) -> list[int]:
    """Which further legs may be tried when the first cannot be had, by position; none unless the mandate says so."""
    from market.mandates import violations

    if not mandate.failover:
        return [0]
    now = ctx.market.clock.now()
    return [0, *(n for n, one in enumerate(purchases) if n and not violations(mandate, one, now))]
