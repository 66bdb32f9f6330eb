"""Search the catalogue: reads from memory, never from a provider."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AliasChoices, BeforeValidator, Field, WithJsonSchema

from market.context import Context
from market.errors import ValidationFailed
from market.money import Money
from market.offers import clean_text
from tools.capability import Request, Result, capability
from tools.cursor import seal, unseal
from tools.evidence import proved
from tools.offer_view import OfferLine, cautions, line

if TYPE_CHECKING:
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
    """One word, a comma-separated string or a list, as a list without blanks."""
    if isinstance(value, str):
        value = value.split(",")
    if isinstance(value, list):
        flat = [word.strip() if isinstance(word, str) else word for word in value]
        return [word for word in flat if word != ""]
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


def _short(value: object) -> object:
    if isinstance(value, str) and len(value) > 40:
        raise ValueError("must have at most 40 characters")
    return value


Dollars = Annotated[
    Decimal,
    Field(ge=0, le=1_000_000),
    BeforeValidator(_short),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1_000_000}),
]
"""An amount of US dollars, as a number or written out."""

SomeDollars = Annotated[
    Decimal,
    Field(gt=0, le=1_000_000),
    BeforeValidator(_short),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000}),
]
"""An amount above zero."""


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
    max_price: Dollars | None = Field(
        default=None,
        validation_alias=AliasChoices("max_price", "price_max", "max_price_per_hour"),
        description="US dollars an hour for the whole instance.",
    )
    max_price_per_gpu: Dollars | None = Field(default=None, description="US dollars an hour for one GPU.")
    price_min: Dollars | None = Field(
        default=None,
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
    wanted = market_query(query, snapshot, states)
    warnings: list[str] = []
    if query.cursor is not None:
        if query.page is not None:
            raise ValidationFailed("`cursor` and `page` exclude each other.", next_step="Give one of them.")
        position, version = unseal(query.cursor, wanted.key(), now)
        wanted = wanted.after(position)
        if version != snapshot.version:
            warnings.append("Prices changed since the first page; an offer may be missing or shown twice.")
    hits = snapshot.search(wanted)
    offers, refused = await proved(ctx.market, hits.offers)
    warnings += cautions(offers, states, now) + refused
    return OfferPage(
        total=hits.total,
        items=[line(offer, states, now) for offer in offers],
        next_cursor=seal(wanted.key(), list(hits.next_position), snapshot.version, now) if hits.next_position else None,
        page=query.page,
        per_page=wanted.limit if query.page is not None else None,
        relax=relaxed(snapshot, wanted) if hits.total == 0 else None,
        warnings=warnings or None,
    )


def market_query(query: SearchOffers, snapshot: Snapshot, providers: Iterable[str] = ()) -> Query:
    """The request in the market's own terms; `providers` are those known beside the ones with offers.

    Raises ValidationFailed for words that mean nothing, with the nearest.
    """
    from market.query import Query

    limit = query.limit or 10
    offset = 0
    if query.page is not None or query.per_page is not None:
        limit = query.per_page or query.limit or 20
        offset = ((query.page or 1) - 1) * limit
    return Query(
        text=query.q,
        gpu=tuple(known_gpu(snapshot, word) for word in query.gpu),
        provider=tuple(_known_provider(snapshot, word, providers) for word in query.provider),
        region=_places(snapshot, query.region),
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


def known_gpu(snapshot: Snapshot, word: str) -> str:
    """A word that names a GPU, as it came. Raises ValidationFailed with the nearest names for any other."""
    from market import gpus

    if not snapshot.knows_gpu(word):
        raise _unknown("gpu", word, gpus.nearest(word), "any part of a GPU's name")
    return word


def known_region(snapshot: Snapshot, word: str) -> str:
    """A word that names a region, as it came. Raises ValidationFailed with the nearest names for any other."""
    from market import regions

    if not snapshot.knows_region(word):
        right = "an area such as `eu` or `us-east`, a country, or a provider's own region"
        raise _unknown("region", word, regions.nearest(word), right)
    return word


def _places(snapshot: Snapshot, words: Sequence[str]) -> tuple[str, ...]:
    """The regions asked for; a provider's own name of one may hold a comma (`Washington, US`)."""
    whole = ", ".join(words)
    if len(words) > 1 and not all(map(snapshot.knows_region, words)) and snapshot.knows_region(whole):
        return (whole,)
    return tuple(known_region(snapshot, word) for word in words)


def _known_provider(snapshot: Snapshot, word: str, states: Iterable[str]) -> str:
    name = word.lower()
    if name not in snapshot.providers and name not in states:
        raise _unknown("provider", word, near(word, snapshot.providers), "a name from `market_overview`")
    return name


def _unknown(field: str, word: str, nearest: Sequence[str], right: str) -> ValidationFailed:
    close = ", ".join(f"`{name}`" for name in nearest)
    return ValidationFailed(
        f"`{field}`: nothing is called `{clean_text(word, 60)}`.",
        next_step=f"Nearest: {close}." if close else f"Use {right}.",
        details={"field": field, "nearest": list(nearest)},
    )


def near(word: str, names: Sequence[str]) -> list[str]:
    """The closest of some names, best first."""
    import difflib

    return difflib.get_close_matches(word.lower(), names, n=3, cutoff=0.4)


_REQUEST_NAMES = {"text": "q", "price_max": "max_price", "price_per_gpu_max": "max_price_per_gpu"}


def request_words(wanted: Query, field: str, change: str) -> tuple[str, str]:
    """A field of the query and how to change it, in the names of the search request."""
    if field.startswith("gpu_count") and wanted.gpu_count_min == wanted.gpu_count_max:
        return "gpu_count", change.replace("raise to", "change to").replace("lower to", "change to")
    return _REQUEST_NAMES.get(field, field), change


def relaxed(
    snapshot: Snapshot, wanted: Query, said: Callable[[Query, str, str], tuple[str, str]] = request_words
) -> list[Relaxation]:
    """What to loosen when nothing matches, most helpful first; `said` turns each way into the caller's own names."""
    found = []
    for way in snapshot.relaxations(wanted)[:4]:
        fields = way.constraint.split(", ")
        single = len(fields) == 1
        changes = [way.change] if single else [each.partition(": ")[2] for each in way.change.split("; ")]
        named = [said(wanted, field, change) for field, change in zip(fields, changes, strict=True)]
        found.append(
            Relaxation(
                constraint=", ".join(dict.fromkeys(name for name, _ in named)),
                change=named[0][1] if single else "; ".join(f"`{name}`: {change}" for name, change in named),
                total=way.total,
                cheapest_per_hour=way.cheapest_per_hour,
            )
        )
    return found
