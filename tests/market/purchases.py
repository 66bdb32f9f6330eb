"""Quotes for tests, as `quote_offer` would make them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from market.costs import Wanted, itemised
from market.quote_book import Leg, Quote, QuoteTerms, new_quote_id
from tests.market.offer_samples import made


def leg(offer_id: str = "sandbox:h100:eu-west", price: str = "2.5", **facts: Any) -> Leg:
    """One leg of ten hours."""
    provider, _, region = offer_id.split(":")
    costs = itemised(made(offer_id, price), Wanted(duration_hours=10))
    made_of = Leg(
        offer_id=offer_id,
        provider=provider,
        external_id="h100",
        region=region,
        country="IE",
        area="eu-west",
        gpu="H100-SXM",
        gpu_count=1,
        pricing="on_demand",
        price_per_hour=Decimal(price),
        currency="USD",
        price_per_hour_usd=Decimal(price),
        storage_price_per_gb_month=Decimal("0.073"),
        storage_per_hour_usd=Decimal("0"),
        min_rental_minutes=None,
        billing_unit="hour",
        tags=("gdpr",),
        worst_total_usd=costs.worst_total,
        hourly_total_usd=costs.hourly_total,
        priced_live=True,
    )
    return replace(made_of, **facts)


def quote(now: datetime, *legs: Leg, caller: str = "local-owner", **facts: Any) -> Quote:
    """A quote of ten minutes over these legs."""
    chosen = legs or (leg(),)
    costs = itemised(made(chosen[0].offer_id, str(chosen[0].price_per_hour)), Wanted(duration_hours=10))
    made_of = Quote(
        id=new_quote_id(),
        caller=caller,
        terms=QuoteTerms(
            legs=chosen,
            instance_count=1,
            duration_hours=10.0,
            disk_gb=0.0,
            currency="USD",
            lines=tuple(costs.lines for _ in chosen),
            assumptions=costs.assumptions,
            mandate_id="mandate-one",
        ),
        expected_total=costs.expected_total,
        worst_total=max(one.worst_total_usd for one in chosen),
        created_at=now,
        expires_at=now + timedelta(minutes=10),
    )
    return replace(made_of, **facts)
