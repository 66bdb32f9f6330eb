"""What an offer is: one rentable product of one provider in one place, at one price, with evidence for each claim.

Adapters call `listed()` with what the provider says; it settles names, places, memory, money and the id, so that
every offer means the same whatever its source. A price that is missing, zero or negative is no offer: `Unlistable`.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any, Literal

from market import gpus, regions
from market.money import MILLIONTH, amount, in_usd

Availability = Literal["available", "limited", "unavailable", "unknown"]
Pricing = Literal[
    "on_demand",
    "spot",
    "reserved_1w",
    "reserved_1m",
    "reserved_3m",
    "reserved_6m",
    "reserved_1y",
    "reserved_3y",
    "token",
]
PriceSource = Literal["live_api", "price_list", "static_table", "marketplace", "token_equivalent"]
BillingUnit = Literal["second", "minute", "hour", "month", "token"]
SecurityTier = Literal["datacenter", "community"]


class Unlistable(ValueError):
    """A row that cannot become an offer; the message is the reason counted in the sync report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One product to rent. Prices are of the whole instance; `memory_gb` is of one GPU; None means not stated."""

    id: str
    provider: str
    external_id: str
    name: str
    gpu: str | None
    gpu_raw: str
    gpu_count: int
    gpu_fraction: float = 1.0
    memory_gb: float | None = None
    form_factor: str | None = None
    interconnect: str | None = None
    cpu_cores: float | None = None
    cpu_arch: str | None = None
    ram_gb: float | None = None
    storage_gb: float | None = None
    storage_type: str | None = None
    network_gbps: float | None = None
    node_count: int = 1
    pricing: Pricing = "on_demand"
    billing_unit: BillingUnit = "hour"
    price_per_hour: Decimal | None = None
    currency: str = "USD"
    price_per_hour_usd: Decimal | None = None
    exchange_rate: Decimal | None = None
    exchange_rate_as_of: date | None = None
    spot_price: Decimal | None = None
    price_per_million_input_tokens: Decimal | None = None
    price_per_million_output_tokens: Decimal | None = None
    min_rental_minutes: int | None = None
    max_rental_minutes: int | None = None
    storage_price_per_gb_month: Decimal | None = None
    egress_price_per_gb: Decimal | None = None
    region: str = "global"
    availability_zone: str | None = None
    country: str | None = None
    area: str | None = None
    availability: Availability = "unknown"
    availability_evidence: str | None = None
    availability_as_of: datetime | None = None
    security_tier: SecurityTier | None = None
    reliability: float | None = None
    sla_uptime: float | None = None
    interruption_band: str | None = None
    tokens_per_second: float | None = None
    tags: tuple[str, ...] = ()
    price_source: PriceSource = "live_api"
    price_as_of: datetime
    source_url: str
    bookable: bool = False
    direct_offer_id: str | None = None
    last_updated: datetime

    @property
    def price_per_gpu_hour(self) -> Decimal | None:
        """Price of one whole GPU for an hour, in `currency`; a fraction of a card is not scaled up to a card."""
        if self.price_per_hour is None:
            return None
        return (self.price_per_hour / self.gpu_count).quantize(MILLIONTH, rounding=ROUND_HALF_EVEN)

    @property
    def price_per_gpu_hour_usd(self) -> Decimal | None:
        """`price_per_gpu_hour` in US dollars."""
        if self.price_per_hour_usd is None:
            return None
        return (self.price_per_hour_usd / self.gpu_count).quantize(MILLIONTH, rounding=ROUND_HALF_EVEN)


# Above this a price is a mistake; it is also where a JSON number stops holding every millionth.
_BEYOND_BELIEF = Decimal(1_000_000_000)
_UNSAFE = re.compile(r"[^a-z0-9._-]+")
_MAX_SLUG = 120


@lru_cache(maxsize=65_536)
def slug(text: str) -> str:
    """Lower case and URL-path safe: `NVIDIA H100 80GB HBM3` becomes `nvidia-h100-80gb-hbm3`.

    Text that is too long, or has no safe letter, gets a checksum so that two of them stay two.
    """
    plain = text.strip().lower()
    safe = _UNSAFE.sub("-", plain).strip("-")
    if safe and len(safe) <= _MAX_SLUG:
        return safe
    if not plain:
        return "x"
    return f"{safe[: _MAX_SLUG - 9] or 'x'}-{zlib.crc32(plain.encode('utf-8', 'backslashreplace')):08x}"


def offer_id(provider: str, sku: str, region: str, pricing: Pricing = "on_demand") -> str:
    """The readable id `provider:sku:region[:pricing]`; on-demand is left out."""
    base = f"{slug(provider)}:{slug(sku)}:{slug(region)}"
    return base if pricing == "on_demand" else f"{base}:{slug(pricing)}"


_MAX_TEXT = 200
# Control and direction marks, zero-width and tag characters (they hide text from people but not from a model), and
# lone surrogates, which no database or JSON writer takes.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]+"
)


def clean_text(text: object, limit: int = _MAX_TEXT) -> str:
    """Provider text made safe to store and show: no control or direction marks, one line, bounded."""
    flat = " ".join(_CONTROL.sub(" ", str(text)).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def listed(
    *,
    provider: str,
    sku: str,
    gpu: str,
    price_per_hour: object,
    price_as_of: datetime,
    source_url: str,
    seen_at: datetime,
    gpu_count: int | None = None,
    gpu_fraction: float | None = None,
    memory_gb: float | None = None,
    form_factor: str | None = None,
    cpu_arch: str | None = None,
    name: str = "",
    external_id: str = "",
    region: str = "global",
    country: str | None = None,
    pricing: Pricing = "on_demand",
    currency: str = "USD",
    **facts: object,
) -> Offer:
    """Make an offer of what a provider says.

    `gpu` is the provider's own name, `memory_gb` its figure for one GPU (megabytes already divided by 1024),
    `price_per_hour` the price of the whole instance, `country` an ISO code when the provider gives one. `facts` are
    further fields of `Offer`. Raises Unlistable for a price that is not positive or beyond belief, a currency without
    a rate, or a count or fraction that makes no sense.
    """
    seen = gpus.identify(gpu, provider=provider, memory_gb=memory_gb, form_factor=form_factor)
    count = _whole(gpu_count if gpu_count is not None else (seen.count or 1))
    place = regions.locate(provider, region, country)
    return Offer(
        id=offer_id(provider, sku, region, pricing),
        provider=provider,
        external_id=clean_text(external_id or sku),
        name=clean_text(name or f"{count}x {gpu}"),
        gpu=seen.gpu.name if seen.gpu else None,
        gpu_raw=clean_text(gpu, 120),
        gpu_count=count,
        gpu_fraction=_share(gpu_fraction if gpu_fraction is not None else seen.fraction),
        memory_gb=seen.memory_gb,
        form_factor=seen.form_factor,
        cpu_arch=cpu_arch or seen.cpu_arch,
        pricing=pricing,
        **_priced(price_per_hour, currency),
        region=clean_text(region, 80) or "global",
        country=place.country,
        area=place.area,
        availability_as_of=seen_at if facts.get("availability", "unknown") != "unknown" else None,
        price_as_of=price_as_of,
        source_url=source_url,
        last_updated=seen_at,
        **{name: _cleaned(name, value) for name, value in facts.items()},
    )


def listed_tokens(
    *,
    provider: str,
    model: str,
    price_per_million_input_tokens: object,
    price_per_million_output_tokens: object,
    price_as_of: datetime,
    source_url: str,
    seen_at: datetime,
    name: str = "",
    tokens_per_second: float | None = None,
    tags: tuple[str, ...] = (),
) -> Offer:
    """Make an offer of a hosted model sold by the token: no GPU and no hourly price, so it is never ranked as either.

    Prices are US dollars per million tokens. Raises Unlistable when both are zero or either is negative.
    """
    paid = [amount(price_per_million_input_tokens), amount(price_per_million_output_tokens)]
    if min(paid) < 0 or max(paid) <= 0:
        raise Unlistable("token price is not positive")
    if max(paid) >= _BEYOND_BELIEF:
        raise Unlistable("token price is beyond belief")
    return Offer(
        id=offer_id(provider, model, "global", "token"),
        provider=provider,
        external_id=clean_text(model),
        name=clean_text(name or model),
        gpu=None,
        gpu_raw="",
        gpu_count=1,
        pricing="token",
        billing_unit="token",
        price_per_million_input_tokens=paid[0],
        price_per_million_output_tokens=paid[1],
        tokens_per_second=tokens_per_second,
        tags=clean_tags(tags),
        price_source="token_equivalent",
        price_as_of=price_as_of,
        source_url=source_url,
        last_updated=seen_at,
    )


_AMOUNTS = frozenset({"spot_price", "storage_price_per_gb_month", "egress_price_per_gb"})
_FREE_TEXT = {
    "availability_zone": 80,
    "interconnect": 80,
    "storage_type": 80,
    "interruption_band": 40,
    "availability_evidence": _MAX_TEXT,
}


def clean_tags(tags: Iterable[object]) -> tuple[str, ...]:
    """Tags in lower case, cleaned, sorted, each once."""
    cleaned = {clean_text(tag, 40).lower() for tag in tags if tag}
    return tuple(sorted(cleaned - {""}))


def _cleaned(name: str, value: object) -> Any:
    """A further field as it may be stored: amounts exact, free text bounded, a figure that is no number left out."""
    if name in _AMOUNTS:
        return _optional(value)
    if name == "tags":
        return clean_tags(value if isinstance(value, Iterable) and not isinstance(value, str) else (value,))
    if name in _FREE_TEXT and value is not None:
        return clean_text(value, _FREE_TEXT[name]) or None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _priced(price_per_hour: object, currency: str) -> dict[str, Any]:
    price = _positive(price_per_hour, "price")
    code = currency.strip().upper()
    converted = in_usd(price, code)
    if converted is None:
        raise Unlistable(f"no exchange rate for {clean_text(code, 8)}")
    usd, rate = converted
    return {
        "price_per_hour": price,
        "currency": code,
        "price_per_hour_usd": usd,
        "exchange_rate": rate.usd_per_unit if rate else None,
        "exchange_rate_as_of": rate.as_of if rate else None,
    }


def _whole(count: float) -> int:
    if not 1 <= count <= 100_000 or count != int(count):
        raise Unlistable("GPU count makes no sense")
    return int(count)


def _share(fraction: float) -> float:
    if not 0 < fraction <= 1:
        raise Unlistable("fraction of a GPU makes no sense")
    return fraction


def _positive(value: object, what: str) -> Decimal:
    if value is None or value == "":
        raise Unlistable(f"no {what}")
    try:
        parsed = amount(value)
    except ValueError:
        raise Unlistable(f"{what} is not a number") from None
    if parsed <= 0:
        raise Unlistable(f"{what} is not positive")
    if parsed >= _BEYOND_BELIEF:
        raise Unlistable(f"{what} is beyond belief")
    return parsed


def _optional(value: object) -> Decimal | None:
    """A side price; none when it is absent, zero or unreadable, which is no reason to lose the offer."""
    try:
        return _positive(value, "side price")
    except Unlistable:
        return None
