"""Offers for the tests of the database: one typical, and a strategy for any that can be stored."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, get_args

from hypothesis import strategies as st

from market.offers import (
    Availability,
    BillingUnit,
    Offer,
    PriceSource,
    Pricing,
    SecurityTier,
)

SEEN = datetime(2026, 1, 15, 12, tzinfo=UTC)

_TYPICAL = Offer(
    id="acme:h100-8:us-east-1",
    provider="acme",
    external_id="h100-8",
    name="8x H100",
    gpu="H100 SXM",
    gpu_raw="NVIDIA H100 80GB HBM3",
    gpu_count=8,
    memory_gb=80.0,
    price_per_hour=Decimal("23.920000"),
    price_per_hour_usd=Decimal("23.920000"),
    region="us-east-1",
    country="US",
    availability="available",
    availability_as_of=SEEN,
    tags=("infiniband", "sxm"),
    price_as_of=SEEN,
    source_url="https://acme.example/prices",
    last_updated=SEEN,
)


def an_offer(sku: str = "h100-8", price: str = "23.92", seen: datetime = SEEN, **changes: Any) -> Offer:
    """An offer of Acme with this sku and price, read at `seen`; `changes` are further fields."""
    money = Decimal(price).quantize(Decimal("0.000001"))
    facts: dict[str, Any] = {
        "id": f"acme:{sku}:us-east-1",
        "external_id": sku,
        "price_per_hour": money,
        "price_per_hour_usd": money,
        "price_as_of": seen,
        "last_updated": seen,
        "availability_as_of": seen,
    }
    return replace(_TYPICAL, **(facts | changes))


def a_token_offer(model: str = "llama", price: str = "0.60", seen: datetime = SEEN) -> Offer:
    """A hosted model sold by the token."""
    return an_offer(
        model,
        seen=seen,
        gpu=None,
        gpu_raw="",
        gpu_count=1,
        pricing="token",
        billing_unit="token",
        price_per_hour=None,
        price_per_hour_usd=None,
        price_per_million_input_tokens=Decimal("0.000000"),
        price_per_million_output_tokens=Decimal(price).quantize(Decimal("0.000001")),
        price_source="token_equivalent",
    )


_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
_money = st.decimals("0.000001", "9999999", places=6)
_number = st.floats(0, 1e9, allow_nan=False)
_moment = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
_count = st.integers(1, 100_000)


def _choice(kind: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(get_args(kind))


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


any_offer = st.builds(
    Offer,
    id=st.from_regex(r"acme:[a-z0-9._-]{1,12}:[a-z0-9-]{1,8}", fullmatch=True),
    provider=st.just("acme"),
    external_id=_text,
    name=_text,
    gpu=_maybe(_text),
    gpu_raw=_text,
    gpu_count=_count,
    gpu_fraction=_number,
    memory_gb=_maybe(_number),
    form_factor=_maybe(_text),
    interconnect=_maybe(_text),
    cpu_cores=_maybe(_number),
    cpu_arch=_maybe(_text),
    ram_gb=_maybe(_number),
    storage_gb=_maybe(_number),
    storage_type=_maybe(_text),
    network_gbps=_maybe(_number),
    node_count=_count,
    pricing=_choice(Pricing),
    billing_unit=_choice(BillingUnit),
    price_per_hour=_money,
    currency=st.sampled_from(["USD", "EUR"]),
    price_per_hour_usd=_money,
    exchange_rate=_maybe(st.decimals("0.00000001", "10", places=8)),
    exchange_rate_as_of=_maybe(st.dates(date(2000, 1, 1))),
    spot_price=_maybe(_money),
    price_per_million_input_tokens=_maybe(_money),
    price_per_million_output_tokens=_maybe(_money),
    min_rental_minutes=_maybe(_count),
    max_rental_minutes=_maybe(_count),
    storage_price_per_gb_month=_maybe(_money),
    egress_price_per_gb=_maybe(_money),
    region=_text,
    availability_zone=_maybe(_text),
    country=_maybe(_text),
    area=_maybe(_text),
    availability=_choice(Availability),
    availability_evidence=_maybe(_text),
    availability_as_of=_maybe(_moment),
    security_tier=_maybe(_choice(SecurityTier)),
    reliability=_maybe(_number),
    sla_uptime=_maybe(_number),
    interruption_band=_maybe(_text),
    tokens_per_second=_maybe(_number),
    tags=st.lists(_text, max_size=4).map(tuple),
    price_source=_choice(PriceSource),
    price_as_of=_moment,
    source_url=_text,
    bookable=st.booleans(),
    direct_offer_id=_maybe(_text),
    last_updated=_moment,
)
