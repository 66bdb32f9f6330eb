"""What a limit order watches: only what can be booked here, at providers its mandate allows.

A published price of somebody who cannot be booked would make the order fire at once and be refused.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from market.context import Context
from market.errors import ValidationFailed
from tools.legs import bookable_providers

if TYPE_CHECKING:
    from market.alerts import Target


async def buyable(ctx: Context, target: Target) -> Target:
    """The target narrowed to offers that can be bought; a GPU becomes a search for single machines with one of it.

    Raises ValidationFailed when nothing it names can be.
    """
    allowed, unasked = await _providers(ctx)
    if target.offer_id is not None:
        _require(frozenset({target.offer_id.partition(":")[0]}) & allowed, allowed)
        return target
    filters: dict[str, Any] = json.loads(target.filters or "{}")
    if target.gpu is not None:
        filters = {"gpu": [target.gpu], "pricing": [target.pricing], "gpu_count": 1}
        filters |= {} if target.region is None else {"region": [target.region]}
    named = frozenset(filters.get("provider", ()))
    chosen = named & allowed if named else allowed - unasked
    _require(chosen, allowed)
    text = json.dumps({**filters, "provider": sorted(chosen)}, sort_keys=True)
    return replace(target, gpu=None, region=None, filters=text)


async def _providers(ctx: Context) -> tuple[frozenset[str], frozenset[str]]:
    """Those that can be booked under a mandate of the caller; of them the simulated ones that none names."""
    from market import mandate_book
    from market.query import SIMULATED

    store, now = await ctx.market.store(), ctx.market.clock.now()
    bookable = await bookable_providers()
    mandates = await mandate_book.for_caller(store, ctx.market.settings, ctx.caller, now)
    allowed: frozenset[str] = frozenset()
    for mandate in mandates:
        allowed |= mandate.providers & bookable if mandate.providers else bookable
    return allowed, SIMULATED - frozenset(name for mandate in mandates for name in mandate.providers)


def _require(chosen: frozenset[str], allowed: frozenset[str]) -> None:
    if chosen:
        return
    raise ValidationFailed(
        "A limit order can only watch what can be booked here under your mandate.",
        next_step=f"Watch offers of {', '.join(sorted(allowed))}." if allowed else "Have a mandate that names one.",
        details={"providers": sorted(allowed)},
    )
