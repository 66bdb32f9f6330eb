"""One offer in full: its own facts, what is known of its GPU, and what its price did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import AliasChoices, Field

from market.context import Context
from market.errors import NotFound
from market.money import Money
from market.offers import clean_text
from tools.capability import Request, Result, capability
from tools.evidence import proved
from tools.offer_view import Moment, Number, OfferSheet, cautions, sheet

if TYPE_CHECKING:
    from market.catalogue import PricePoint
    from market.snapshot import Snapshot

_DAYS = 30


class GetOffer(Request):
    """Which offer."""

    id: str = Field(
        min_length=1, max_length=300, validation_alias=AliasChoices("id", "offer_id"), description="Offer id."
    )


class PriceSummary(Result):
    """What the price did over the last 30 days, in the offer's currency; of tokens the output price."""

    changes: int = Field(description="How often it moved.")
    lowest: Money | None = None
    highest: Money | None = None
    first_seen_at: Moment | None = None


class OfferFacts(OfferSheet):
    """One offer in full, with what is known of its GPU, its price history and the alternatives."""

    gone_at: Moment | None = Field(default=None, description="When the provider stopped listing it.")
    gpu_tflops_bf16_dense: Number | None = None
    gpu_memory_bandwidth_gbps: Number | None = None
    price_history: PriceSummary | None = None
    warnings: list[str] | None = None


@capability("GET /providers/{id}", scope="market:read", effect="read")
async def get_offer(ctx: Context, query: GetOffer) -> OfferFacts:
    """Show one offer in full: machine, price and its source, evidence of availability, price history summary."""
    from market import catalogue, gpus

    snapshot = await ctx.market.snapshot()
    states = await ctx.market.provider_states()
    now = ctx.market.clock.now()
    store = await ctx.market.store()
    stored = await catalogue.offer(store, query.id)
    if stored is None:
        raise no_such_offer(query.id, snapshot)
    (offer,), refused = await proved(ctx.market, [stored.offer])
    points = await catalogue.history(store, offer.id, since=now - timedelta(days=_DAYS), limit=2_000)
    card = gpus.catalogue().get(offer.gpu) if offer.gpu else None
    warnings = cautions([offer], states, now) + refused
    if stored.gone_at is not None:
        warnings.append(f"The provider has not listed it since {stored.gone_at:%Y-%m-%d %H:%M} UTC.")
    return OfferFacts.model_construct(
        **sheet(offer, states, now),
        gone_at=stored.gone_at,
        gpu_tflops_bf16_dense=card.bf16_tflops if card else None,
        gpu_memory_bandwidth_gbps=card.memory_bandwidth_gbps if card else None,
        price_history=_summary(points, stored.first_seen_at),
        warnings=warnings or None,
    )


def _summary(points: Sequence[PricePoint], first_seen_at: datetime) -> PriceSummary:
    """A point is also written when only availability changed: a change here is one of the price."""
    prices = [price for point in points if (price := _price(point)) is not None]
    return PriceSummary(
        changes=sum(after != before for before, after in pairwise(prices)),
        lowest=min(prices, default=None),
        highest=max(prices, default=None),
        first_seen_at=first_seen_at,
    )


def _price(point: PricePoint) -> Decimal | None:
    for price in (point.price_per_hour, point.price_per_million_output_tokens, point.price_per_million_input_tokens):
        if price:
            return price
    return None


def no_such_offer(offer_id: str, snapshot: Snapshot) -> NotFound:
    """The error for an id that is not in the catalogue, with the closest ids of the same provider."""
    nearest = snapshot.nearest_ids(offer_id)
    close = ", ".join(f"`{name}`" for name in nearest)
    return NotFound(
        f"There is no offer `{clean_text(offer_id, 120)}`.",
        next_step=f"Nearest: {close}." if close else "Take an id from `search_offers`.",
        details={"nearest": nearest},
    )
