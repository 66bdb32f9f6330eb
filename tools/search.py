"""Search the catalogue and open one offer: reads from memory, never from a provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AliasChoices, BeforeValidator, Field, WithJsonSchema

from market.context import Context
from market.errors import NotFound, ValidationFailed
from market.money import Money
from tools.capability import Request, Result, capability
from tools.cursor import seal, unseal
from tools.offer_view import Moment, Number, OfferLine, OfferSheet, is_stale, line, sheet

if TYPE_CHECKING:
    from market.catalogue import ProviderHealth
    from market.offers import Offer
    from market.query import Query
    from market.snapshot import Snapshot

HTTP_ONLY: dict[str, Any] = {"http_only": True}
"""Marks a field that the HTTP door offers and the tool list leaves out."""

Sort = Literal["price", "-price", "price_per_gpu", "performance_per_dollar", "freshness", "memory"]
_SORT_SPELLINGS = {
    "price_asc": "price",
    "price_desc": "-price",
    "updated_desc": "freshness",
    "performance": "performance_per_dollar",
}


def _words(value: object) -> object:
    """One word, a comma-separated string or a list, as a list."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


def _array(items: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"type": "array", "items": items, "maxItems": 20})


Availability = Literal["available", "limited", "unavailable", "unknown"]
PricingKind = Literal["on_demand", "spot", "reserved", "token"]

Words = Annotated[
    list[Annotated[str, Field(max_length=60)]],
    BeforeValidator(_words),
    _array({"type": "string", "maxLength": 60}),
    Field(max_length=20),
]
"""A list of words that may also be given as one string with commas."""

Availabilities = Annotated[
    list[Availability],
    BeforeValidator(_words),
    _array({"type": "string", "enum": list(get_args(Availability))}),
    Field(max_length=20),
]

Pricings = Annotated[
    list[PricingKind],
    BeforeValidator(_words),
    _array({"type": "string", "enum": list(get_args(PricingKind))}),
    Field(max_length=20),
]


class SearchOffers(Request):
    """Filters; all must hold, the entries of one list are alternatives."""

    q: str = Field(
        default="",
        max_length=200,
        validation_alias=AliasChoices("q", "text", "search"),
        description="Words over name, provider and tags.",
    )
    gpu: Words = Field(
        default_factory=list,
        validation_alias=AliasChoices("gpu", "gpu_type", "gpus"),
        description="`H100` means every form, `H100-SXM` one.",
    )
    gpu_count: int | None = Field(default=None, ge=1, le=100_000, description="Exactly so many GPUs.")
    gpu_count_min: int | None = Field(default=None, ge=1, le=100_000, json_schema_extra=HTTP_ONLY)
    memory_gb_min: float | None = Field(
        default=None,
        ge=0,
        le=10_000,
        validation_alias=AliasChoices("memory_gb_min", "gpu_memory_min", "vram_gb_min"),
        description="Memory of one GPU.",
    )
    memory_gb_max: float | None = Field(
        default=None,
        ge=0,
        le=10_000,
        validation_alias=AliasChoices("memory_gb_max", "gpu_memory_max"),
        json_schema_extra=HTTP_ONLY,
    )
    total_memory_gb_min: float | None = Field(
        default=None, ge=0, le=1_000_000, description="Memory of all GPUs together."
    )
    max_price: Decimal | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        validation_alias=AliasChoices("max_price", "price_max", "max_price_per_hour"),
        description="US dollars an hour for the whole instance.",
    )
    max_price_per_gpu: Decimal | None = Field(
        default=None, ge=0, le=1_000_000, description="US dollars an hour for one GPU."
    )
    price_min: Decimal | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        validation_alias=AliasChoices("price_min", "min_price"),
        json_schema_extra=HTTP_ONLY,
    )
    region: Words = Field(
        default_factory=list,
        validation_alias=AliasChoices("region", "regions"),
        description="`eu`, `us-east`, a country, or a provider's region.",
    )
    provider: Words = Field(default_factory=list, validation_alias=AliasChoices("provider", "providers"))
    availability: Availabilities = Field(
        default_factory=list, validation_alias=AliasChoices("availability", "availability_status")
    )
    pricing: Pricings = Field(
        default_factory=list, description="Default: all sold by the hour. `token`: hosted models."
    )
    tags: Words = Field(
        default_factory=list,
        validation_alias=AliasChoices("tags", "tag", "compliance_tag", "compliance_tags"),
        description="All of them, e.g. `gdpr`.",
    )
    cpu_arch: Literal["x86_64", "arm64"] | None = Field(default=None, json_schema_extra=HTTP_ONLY)
    security_tier: Literal["datacenter", "community"] | None = Field(default=None, json_schema_extra=HTTP_ONLY)
    bookable: bool | None = Field(default=None, json_schema_extra=HTTP_ONLY)
    sort: Annotated[
        Sort, BeforeValidator(lambda value: _SORT_SPELLINGS.get(value, value) if isinstance(value, str) else value)
    ] = Field(default="price", description="Cheapest first unless said.")
    limit: int | None = Field(default=None, ge=1, le=50, description="Default 10.")
    cursor: str | None = Field(default=None, max_length=2_000, description="`next_cursor` of the page before.")
    page: int | None = Field(default=None, ge=1, le=10_000, json_schema_extra=HTTP_ONLY)
    per_page: int | None = Field(
        default=None, ge=1, le=100, validation_alias=AliasChoices("per_page", "page_size"), json_schema_extra=HTTP_ONLY
    )


class Relaxation(Result):
    """One constraint to loosen and what that would find."""

    constraint: str
    change: str
    total: int
    cheapest_per_hour: Money | None = None


class OfferPage(Result):
    """A page of offers with the exact total. Prices are in US dollars unless `currency` says otherwise."""

    total: int = Field(description="All offers that match; one machine sold twice counts once.")
    items: list[OfferLine]
    next_cursor: str | None = None
    page: int | None = Field(default=None, json_schema_extra=HTTP_ONLY)
    per_page: int | None = Field(default=None, json_schema_extra=HTTP_ONLY)
    relax: list[Relaxation] | None = Field(
        default=None, description="When nothing matches: what to loosen and what it buys."
    )
    warnings: list[str] | None = None


@capability("GET /providers", "POST /providers/search", scope="market:read", effect="read")
async def search_offers(ctx: Context, query: SearchOffers) -> OfferPage:
    """Find GPU offers across every provider, cheapest first."""
    snapshot = await ctx.market.snapshot()
    states = await ctx.market.provider_states()
    now = ctx.market.clock.now()
    wanted = market_query(query, snapshot)
    warnings: list[str] = []
    if query.cursor is not None:
        position, version = unseal(query.cursor, wanted.key(), now)
        wanted = wanted.after(position)
        if version != snapshot.version:
            warnings.append("Prices changed since the first page; an offer may be missing or shown twice.")
    hits = snapshot.search(wanted)
    offers = hits.offers
    warnings += cautions(offers, states, now)
    return OfferPage(
        total=hits.total,
        items=[line(offer, states, now) for offer in offers],
        next_cursor=seal(wanted.key(), list(hits.next_position), snapshot.version, now) if hits.next_position else None,
        page=query.page,
        per_page=wanted.limit if query.page is not None else None,
        relax=relaxed(snapshot, wanted) if hits.total == 0 else None,
        warnings=warnings or None,
    )


def market_query(query: SearchOffers, snapshot: Snapshot) -> Query:
    """The request in the market's own terms. Raises ValidationFailed for words that mean nothing, with the nearest."""
    from market.query import Query

    _known_words(query, snapshot)
    limit = query.limit or 10
    offset = 0
    if query.page is not None or query.per_page is not None:
        limit = query.per_page or 20
        offset = ((query.page or 1) - 1) * limit
    return Query(
        text=query.q,
        gpu=tuple(query.gpu),
        provider=tuple(name.lower() for name in query.provider),
        region=tuple(query.region),
        availability=tuple(query.availability),
        tags=tuple(tag.lower() for tag in query.tags),
        pricing=tuple(query.pricing),
        memory_gb_min=query.memory_gb_min,
        memory_gb_max=query.memory_gb_max,
        total_memory_gb_min=query.total_memory_gb_min,
        gpu_count_min=query.gpu_count or query.gpu_count_min,
        gpu_count_max=query.gpu_count,
        price_min=query.price_min,
        price_max=query.max_price,
        price_per_gpu_max=query.max_price_per_gpu,
        cpu_arch=query.cpu_arch,
        security_tier=query.security_tier,
        bookable=query.bookable,
        sort=query.sort,
        limit=limit,
        offset=offset,
    )


def _known_words(query: SearchOffers, snapshot: Snapshot) -> None:
    from market import gpus, regions

    for word in query.gpu:
        if not snapshot.knows_gpu(word):
            raise _unknown("gpu", word, gpus.nearest(word), "any part of a GPU's name")
    for word in query.region:
        if not snapshot.knows_region(word):
            raise _unknown(
                "region",
                word,
                regions.nearest(word),
                "an area such as `eu` or `us-east`, a country, or a provider's own region",
            )
    for word in query.provider:
        if word.lower() not in snapshot.providers:
            raise _unknown("provider", word, near(word, snapshot.providers), "a name from `market_overview`")


def _unknown(field: str, word: str, nearest: Sequence[str], right: str) -> ValidationFailed:
    close = ", ".join(f"`{name}`" for name in nearest)
    return ValidationFailed(
        f"`{field}`: nothing is called `{word[:60]}`.",
        next_step=f"Nearest: {close}." if close else f"Use {right}.",
        details={"field": field, "nearest": list(nearest)},
    )


def near(word: str, names: Sequence[str]) -> list[str]:
    """The closest of some names, best first."""
    import difflib

    return difflib.get_close_matches(word.lower(), names, n=3, cutoff=0.4)


_REQUEST_NAMES = {
    "text": "q",
    "price_max": "max_price",
    "price_per_gpu_max": "max_price_per_gpu",
    "gpu_count_max": "gpu_count",
}


def relaxed(snapshot: Snapshot, wanted: Query) -> list[Relaxation]:
    """What to loosen when nothing matches, most helpful first."""
    return [
        Relaxation(
            constraint=", ".join(_REQUEST_NAMES.get(name, name) for name in way.constraint.split(", ")),
            change=way.change,
            total=way.total,
            cheapest_per_hour=way.cheapest_per_hour,
        )
        for way in snapshot.relaxations(wanted)[:4]
    ]


def cautions(offers: Sequence[Offer], states: Mapping[str, ProviderHealth], now: datetime) -> list[str]:
    """What a buyer should know about where these prices come from."""
    said: list[str] = []
    tables = [offer for offer in offers if offer.price_source == "static_table"]
    if tables:
        oldest = min(offer.price_as_of for offer in tables)
        said.append(
            f"{len(tables)} of {len(offers)} are published prices without stock, the oldest as of {oldest:%Y-%m-%d}."
        )
    stale = sorted({offer.provider for offer in offers if is_stale(offer, states.get(offer.provider), now)})
    if stale:
        said.append(f"Not confirmed lately: {', '.join(stale[:5])}.")
    foreign = sorted({offer.currency for offer in offers if offer.currency != "USD"})
    if foreign:
        said.append(
            f"Filters and order use US dollars; {', '.join(foreign)} converted at the dated rate of each offer."
        )
    return said


class GetOffer(Request):
    """Which offer."""

    id: str = Field(
        min_length=1, max_length=300, validation_alias=AliasChoices("id", "offer_id"), description="Offer id."
    )


class PriceSummary(Result):
    """What the price did over the last 30 days."""

    changes: int
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
    offer = stored.offer
    points = await catalogue.history(store, offer.id, since=now - timedelta(days=30), limit=2_000)
    prices = [point.price_per_hour for point in points if point.price_per_hour is not None]
    card = gpus.catalogue().get(offer.gpu) if offer.gpu else None
    warnings = cautions([offer], states, now)
    if stored.gone_at is not None:
        warnings.append(f"The provider has not listed it since {stored.gone_at:%Y-%m-%d %H:%M} UTC.")
    return OfferFacts.model_construct(
        **sheet(offer, states, now),
        gone_at=stored.gone_at,
        gpu_tflops_bf16_dense=card.bf16_tflops if card else None,
        gpu_memory_bandwidth_gbps=card.memory_bandwidth_gbps if card else None,
        price_history=PriceSummary(
            changes=max(0, len(points) - 1),
            lowest=min(prices, default=None),
            highest=max(prices, default=None),
            first_seen_at=stored.first_seen_at,
        ),
        warnings=warnings or None,
    )


def no_such_offer(offer_id: str, snapshot: Snapshot) -> NotFound:
    """The error for an id that is not in the catalogue, with the closest ids of the same provider."""
    nearest = snapshot.nearest_ids(offer_id)
    close = ", ".join(f"`{name}`" for name in nearest)
    return NotFound(
        f"There is no offer `{offer_id[:120]}`.",
        next_step=f"Nearest: {close}." if close else "Take an id from `search_offers`.",
        details={"nearest": nearest},
    )
