"""What the names mean: GPUs and providers looked up one by one or listed, for doors that show them as pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from market.context import Context
from market.errors import NotFound
from market.money import Money
from market.offers import clean_text
from tools.capability import Door, Request, Result, capability
from tools.evidence import proved
from tools.insight import ProviderLine, provider_line
from tools.offer_view import Number, OfferLine, line
from tools.search import near

if TYPE_CHECKING:
    from market.query import Query

_NO_DOOR_OF_ITS_OWN: frozenset[Door] = frozenset()


class Everything(Request):
    """No choice to make."""


class Named(Request):
    """Which one."""

    name: str = Field(min_length=1, max_length=120, description="Its name.")


class GpuName(Result):
    """A GPU in the list of all."""

    name: str
    vendor: str
    memory_gb: Number | None = None
    offers: int
    cheapest_per_gpu_hour: Money | None = Field(default=None, description="On demand.")


class GpuNames(Result):
    """Every GPU known by name."""

    gpus: list[GpuName]


class GpuSheet(Result):
    """A GPU's specifications and its cheapest offers. Compute figures are dense; absent means nobody published it."""

    name: str
    vendor: str
    family: str
    architecture: str | None = None
    form_factor: str | None = None
    memory_gb: Number | None = None
    memory_bandwidth_gbps: Number | None = None
    tdp_watts: Number | None = None
    fp32_tflops: Number | None = None
    tf32_tflops: Number | None = None
    bf16_tflops: Number | None = None
    fp16_tflops: Number | None = None
    fp8_tflops: Number | None = None
    int8_tops: Number | None = None
    specs_source: str | None = None
    offers: int
    cheapest: list[OfferLine]


class ProviderNames(Result):
    """Every provider."""

    providers: list[ProviderLine]


class ProviderSheet(ProviderLine):
    """A provider and its cheapest offers."""

    title: str
    notice: str | None = None
    last_error: str | None = None
    cheapest: list[OfferLine]


@capability(scope="market:read", effect="read", doors=_NO_DOOR_OF_ITS_OWN)
async def list_gpus(ctx: Context, query: Everything) -> GpuNames:
    """List every GPU known by name, with its cheapest on-demand price."""
    from market import gpus

    cheapest = (await ctx.market.snapshot()).cheapest_by_gpu()
    return GpuNames(
        gpus=[
            GpuName(
                name=card.name,
                vendor=card.vendor,
                memory_gb=card.memory_gb,
                offers=found.offers if (found := cheapest.get(card.name)) else 0,
                cheapest_per_gpu_hour=found.price_per_gpu_hour if found and found.pricing == "on_demand" else None,
            )
            for card in gpus.catalogue().values()
        ]
    )


@capability(scope="market:read", effect="read", doors=_NO_DOOR_OF_ITS_OWN)
async def get_gpu(ctx: Context, query: Named) -> GpuSheet:
    """Show a GPU's specifications and its cheapest offers."""
    from market import gpus
    from market.query import Query

    by_name = {name.casefold(): card for name, card in gpus.catalogue().items()}
    card = by_name.get(query.name.strip().casefold())
    if card is None:
        raise _unknown("GPU", query.name, gpus.nearest(query.name))
    total, cheapest = await _cheapest(ctx, Query(gpu=(card.name,), sort="price_per_gpu", limit=5))
    facts = {name: getattr(card, name) for name in GpuSheet.model_fields if name not in ("offers", "cheapest")}
    return GpuSheet.model_construct(**facts, offers=total, cheapest=cheapest)


@capability(scope="market:read", effect="read", doors=_NO_DOOR_OF_ITS_OWN)
async def list_providers(ctx: Context, query: Everything) -> ProviderNames:
    """List every provider with its health, the freshness of its prices and the number of its offers."""
    counts = (await ctx.market.snapshot()).counts_by_provider()
    states = await ctx.market.provider_states()
    now = ctx.market.clock.now()
    return ProviderNames(
        providers=[provider_line(state, counts.get(name, 0), now) for name, state in sorted(states.items())]
    )


@capability(scope="market:read", effect="read", doors=_NO_DOOR_OF_ITS_OWN)
async def get_provider(ctx: Context, query: Named) -> ProviderSheet:
    """Show a provider's health, notice, freshness and cheapest offers."""
    from market.query import Query

    snapshot = await ctx.market.snapshot()
    states = await ctx.market.provider_states()
    name = query.name.strip().lower()
    if name not in states:
        raise _unknown("provider", query.name, near(name, sorted(states)))
    offers = snapshot.counts_by_provider().get(name, 0)
    cheapest = (await _cheapest(ctx, Query(provider=(name,), limit=5)))[1]
    known = provider_line(states[name], offers, ctx.market.clock.now())
    state = states[name]
    return ProviderSheet.model_construct(
        **dict(known),
        title=state.title,
        notice=state.notice or None,
        last_error=state.last_error,
        cheapest=cheapest,
    )


async def _cheapest(ctx: Context, query: Query) -> tuple[int, list[OfferLine]]:
    snapshot = await ctx.market.snapshot()
    states = await ctx.market.provider_states()
    hits = snapshot.search(query)
    offers, _ = await proved(ctx.market, hits.offers)
    return hits.total, [line(offer, states, ctx.market.clock.now()) for offer in offers]


def _unknown(what: str, name: str, nearest: list[str]) -> NotFound:
    close = ", ".join(f"`{one}`" for one in nearest)
    return NotFound(
        f"There is no {what} `{clean_text(name, 60)}`.",
        next_step=f"Nearest: {close}." if close else f"See `gpubroker://{what.lower()}s`.",
        details={"nearest": nearest},
    )
