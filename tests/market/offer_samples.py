"""Offers and queries for tests: one made by hand, and strategies that collide on purpose."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from market.offers import Offer
from market.query import SORTS, Query

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
CARDS = [
    ("H100-SXM", "NVIDIA H100 80GB HBM3", 80.0),
    ("H100-PCIe", "H100 PCIe", 80.0),
    ("A100-80GB", "A100-SXM4-80GB", 80.0),
    ("RTX-4090", "GeForce RTX 4090", 24.0),
    ("A10", "NVIDIA A10", 24.0),
    (None, "Mystery X1", None),
    (None, "Überkarte", 48.0),
]
PLACES = [
    ("aws", "us-east-1", "US", "us-east"),
    ("aws", "eu-west-1", "IE", "eu-west"),
    ("runpod", "EU-RO-1", "RO", "eu-east"),
    ("vast", "Germany, DE", "DE", "eu-central"),
    ("vast", "global", None, None),
]
PRICES = ["0.1", "0.25", "0.333333", "1", "1.000001", "2.5", "8", "33.12", "100"]
TAGS = ["gdpr", "hipaa", "soc2", "green energy"]


def made(offer_id: str = "aws:a:us-east-1", price: str | None = "2.5", **facts: Any) -> Offer:
    """One offer, an H100 unless said."""
    usd = None if price is None else Decimal(price)
    known: dict[str, Any] = {
        "provider": "aws",
        "external_id": "p5.4xlarge",
        "name": "1x H100 SXM",
        "gpu": "H100-SXM",
        "gpu_raw": "NVIDIA H100 80GB HBM3",
        "gpu_count": 1,
        "memory_gb": 80.0,
        "region": "us-east-1",
        "country": "US",
        "area": "us-east",
        "price_per_hour": usd,
        "price_per_hour_usd": usd,
        "price_as_of": NOON,
        "source_url": "https://prices.example",
        "last_updated": NOON,
    }
    return Offer(id=offer_id, **(known | facts))


def token_offer(offer_id: str = "deepinfra:llama:global:token", **facts: Any) -> Offer:
    """A hosted model, sold by the token."""
    sold = {"pricing": "token", "billing_unit": "token", "price_source": "token_equivalent"}
    model = {"gpu": None, "gpu_raw": "", "memory_gb": None, "name": "Llama 70B", "provider": "deepinfra"}
    price = {"price_per_million_input_tokens": Decimal("0.1")}
    return made(offer_id, None, **(sold | model | price | facts))


@st.composite
def offers(draw: st.DrawFn) -> list[Offer]:
    """A small catalogue with many ties, missing figures, slices, token prices and resold machines."""
    count = draw(st.integers(0, 24))
    found = [draw(_offer(number)) for number in range(count)]
    ids = [offer.id for offer in found]
    if not ids:
        return found
    link = st.one_of(st.none(), st.none(), st.sampled_from([*ids, "gone:x:y"]))
    return [replace(offer, direct_offer_id=draw(link)) for offer in found]


@st.composite
def _offer(draw: st.DrawFn, number: int) -> Offer:
    provider, region, country, area = draw(st.sampled_from(PLACES))
    if draw(st.integers(0, 7)) == 0:
        return token_offer(f"deepinfra:model-{number}:global:token", last_updated=NOON, country=None, region="global")
    gpu, raw, memory = draw(st.sampled_from(CARDS))
    fraction = draw(st.sampled_from([1.0, 1.0, 1.0, 1 / 7, 0.5]))
    return made(
        f"{provider}:sku-{number * 7 % 25}:{number}",
        draw(st.sampled_from(PRICES)),
        provider=provider,
        region=region,
        country=country,
        area=area,
        gpu=gpu,
        gpu_raw=raw,
        name=draw(st.sampled_from(["", raw, "8x big-box_v2 ", "Höhle 4"])),
        external_id=draw(st.sampled_from(["p5.48xlarge", "m-17", "17"])),
        memory_gb=draw(st.sampled_from([memory, memory, None])),
        gpu_fraction=fraction,
        gpu_count=draw(st.sampled_from([1, 2, 3, 7, 8])),
        cpu_cores=draw(st.sampled_from([None, 4.0, 26.0])),
        ram_gb=draw(st.sampled_from([None, 32.0, 200.5])),
        storage_gb=draw(st.sampled_from([None, 100.0])),
        cpu_arch=draw(st.sampled_from([None, "x86_64", "arm64"])),
        security_tier=draw(st.sampled_from([None, "datacenter", "community"])),
        reliability=draw(st.sampled_from([None, 0.9, 0.995])),
        pricing=draw(st.sampled_from(["on_demand", "spot", "reserved_1y"])),
        availability=draw(st.sampled_from(["available", "limited", "unknown"])),
        tags=tuple(sorted(draw(st.sets(st.sampled_from(TAGS))))),
        price_source=draw(st.sampled_from(["live_api", "price_list", "static_table"])),
        bookable=draw(st.booleans()),
        last_updated=NOON - timedelta(minutes=draw(st.integers(0, 3))),
    )


def _some(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=2).map(tuple)


def _maybe(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


FILTERS: dict[str, st.SearchStrategy[Any]] = {
    "text": st.sampled_from(["h100", "nvidia h1", "17", "ü", "GREEN", "zzz", "p5 48", "box"]),
    "gpu": _some("h100", "H100 SXM", "a10", "mystery", "rtx 4090", "HBM3", "über", "none such"),
    "provider": _some("aws", "vast", "AWS", "deepinfra", "none"),
    "region": _some("eu", "us-east", "Germany", "EU-RO-1", "us-east-1", "nowhere"),
    "availability": _some("available", "limited", "unknown", "unavailable"),
    "tags": _some(*TAGS, "GDPR"),
    "pricing": _some("on_demand", "spot", "reserved", "reserved_1y", "token"),
    "memory_gb_min": _maybe(0, 24, 48.0, 80),
    "memory_gb_max": _maybe(24, 79.9, 80),
    "total_memory_gb_min": _maybe(24, 160, 640),
    "gpu_count_min": _maybe(1, 2, 8),
    "gpu_count_max": _maybe(1, 7),
    "price_min": _maybe(*map(Decimal, PRICES)),
    "price_max": _maybe(*map(Decimal, PRICES)),
    "price_per_gpu_max": _maybe(*map(Decimal, PRICES), Decimal("0.333334")),
    "cpu_cores_min": _maybe(4, 5),
    "ram_gb_min": _maybe(32, 200.5),
    "storage_gb_min": _maybe(1, 101),
    "cpu_arch": _maybe("x86_64", "arm64"),
    "security_tier": _maybe("datacenter", "community"),
    "reliability_min": _maybe(0.5, 0.99),
    "price_source": _some("live_api", "static_table"),
    "bookable": _maybe(True, False),
    "fresh_only": st.booleans(),
    "include_fractions": st.booleans(),
}


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """A query of up to four filters in any order."""
    chosen = draw(st.sets(st.sampled_from(sorted(FILTERS)), max_size=4))
    asked = {name: draw(FILTERS[name]) for name in sorted(chosen)}
    return Query(**asked, sort=draw(st.sampled_from(SORTS)), limit=draw(st.integers(1, 7)))
