"""What an offer costs for what it does: per token, per GFLOP, and as one score, always with what was assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import AliasChoices, Field

from market.context import Context
from market.errors import ValidationFailed
from tools.capability import Request, Result, capability
from tools.estimate import Precision
from tools.math_benchmarks import canonical_model, card_named
from tools.math_door import HTTP_ONLY, READ, TOOLSET, Price, computed
from tools.offer_view import Number
from tools.throughput import CONTEXT_TOKENS, PRECISION, SIZES, Rate, rate

if TYPE_CHECKING:
    from market.gpus import Gpu
    from mathcore.kpi import Figure

Peak = Literal["fp32", "tf32", "bf16", "fp16", "fp8"]
Basis = Literal["measured", "estimated", "unknown"]
FORMULA_TOKEN = "price_per_hour / (tokens_per_second * 3600)"  # noqa: S105
FORMULA_GFLOP = "price_per_hour / (tflops * 1000)"
FORMULA_EFFICIENCY = "0.4 * performance + 0.35 * price + 0.15 * availability + 0.1 * reliability"


class OnGpu(Request):
    """A price, and what it buys."""

    price_per_hour: Price = Field(description="US dollars an hour of the whole instance.")
    gpu_type: str = Field(min_length=1, max_length=60, validation_alias=AliasChoices("gpu_type", "gpu"))
    gpu_count: int = Field(default=1, ge=1, le=1_024, description="GPUs of the instance.")


class CostPerToken(OnGpu):
    """A price, what it buys, and the model to serve."""

    model_size: Literal["7b", "13b", "70b"] = Field(default="7b", description="Stands for the Llama 2 of that size.")
    model_name: str | None = Field(default=None, max_length=120, description="In place of `model_size`.")
    precision: Precision = PRECISION
    batch: int | None = Field(
        default=None,
        ge=1,
        le=4_096,
        description="Requests served at once. Default: the fastest measured; for an estimate 1.",
    )
    tokens_per_second: float | None = Field(
        default=None, gt=0, le=1e9, allow_inf_nan=False, description="Your own measurement for the whole instance."
    )


class TokenDetails(Result):
    """What the cost was worked out from."""

    price_per_hour: Number
    gpu_type: str
    gpu_count: int
    model_size: str
    model: str
    precision: str
    batch: int
    engine: str
    source: str
    measured_at: str | None = None
    tokens_per_hour: int | None = None
    formula: str


class TokenPrice(Result):
    """Cost of generated tokens in US dollars; figures are absent when the rate is not known."""

    cost_per_token: float | None = Field(default=None, description="Unrounded.")
    cost_per_million_tokens: float | None = Field(default=None, description="Rounded to 4 decimals.")
    cost_per_million_tokens_range: list[float] | None = Field(
        default=None, description="Lowest and highest over the interval of the rate."
    )
    tokens_per_second: Number | None = Field(default=None, description="All GPUs and requests together.")
    confidence: float = Field(description="1 measured, low / high of the interval when estimated, 0 unknown.")
    basis: Basis
    calculation_details: TokenDetails
    assumptions: list[str]


@capability("POST /math/cost-per-token", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def cost_per_token(ctx: Context, query: CostPerToken) -> TokenPrice:
    """Work out what generated tokens cost on a GPU at a price, by a measured rate or an estimate with its interval."""
    card = card_named(query.gpu_type)
    found = await _rate(ctx, card, query)

    def work() -> TokenPrice:
        from mathcore import kpi

        cost = kpi.cost_per_token(query.price_per_hour, found.figure)
        known = cost.low is not None and cost.high is not None
        return TokenPrice(
            cost_per_token=cost.cost_per_token,
            cost_per_million_tokens=cost.cost_per_million_tokens,
            cost_per_million_tokens_range=[cost.low or 0.0, cost.high or 0.0] if known else None,
            tokens_per_second=cost.tokens_per_second,
            confidence=cost.confidence,
            basis=cost.basis,
            calculation_details=_details(card, query, found, cost.tokens_per_second),
            assumptions=[*cost.assumed, *_conditions(found)],
        )

    return await computed(work)


async def _rate(ctx: Context, card: Gpu, query: CostPerToken) -> Rate:
    from market import benchmarks

    model = canonical_model(query.model_name) if query.model_name else SIZES[query.model_size]
    if query.tokens_per_second is not None:
        own = query.tokens_per_second
        figure = await computed(lambda: _measured(own, "given with the request"))
        return Rate(figure, model, query.precision, query.batch or 1, "the caller's")
    rows = await benchmarks.measured(await ctx.market.store(), [card.name])
    return await rate(card, rows, model, precision=query.precision, batch=query.batch, count=query.gpu_count)


def _conditions(found: Rate) -> list[str]:
    if found.figure.basis != "estimated":
        return []
    return [f"half of a context of {CONTEXT_TOKENS} tokens is in the cache; reading the prompts is not counted"]


def _details(card: Gpu, query: CostPerToken, found: Rate, tokens_per_second: float | None) -> TokenDetails:
    return TokenDetails(
        price_per_hour=query.price_per_hour,
        gpu_type=card.name,
        gpu_count=query.gpu_count,
        model_size=query.model_size,
        model=found.model,
        precision=found.precision,
        batch=found.batch,
        engine=found.engine,
        source=found.figure.source,
        measured_at=found.measured_at,
        tokens_per_hour=None if tokens_per_second is None else round(tokens_per_second * 3600),
        formula=FORMULA_TOKEN,
    )


class CostPerGflop(OnGpu):
    """A price, what it buys, and which arithmetic counts."""

    precision: Peak = "fp16"


class ComputeDetails(Result):
    """What the cost was worked out from."""

    price_per_hour: Number
    gpu_type: str
    gpu_count: int
    precision: str
    source: str
    formula: str


class ComputePrice(Result):
    """Cost of peak compute in US dollars an hour, unrounded; absent when nobody published the peak."""

    cost_per_gflop: float | None = None
    cost_per_tflop_hour: float | None = None
    gpu_tflops: Number | None = Field(default=None, description="Dense peak of one GPU at this precision.")
    confidence: float
    basis: Basis
    calculation_details: ComputeDetails
    assumptions: list[str]


@capability("POST /math/cost-per-gflop", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def cost_per_gflop(ctx: Context, query: CostPerGflop) -> ComputePrice:
    """Work out what a GFLOP/s of dense peak costs on a GPU at a price."""
    card = card_named(query.gpu_type)

    def work() -> ComputePrice:
        from mathcore import kpi

        peak = _peak(card, query.precision)
        cost = kpi.cost_per_gflop(query.price_per_hour, peak, query.precision, gpu_count=query.gpu_count)
        return ComputePrice(
            cost_per_gflop=cost.cost_per_gflop,
            cost_per_tflop_hour=cost.cost_per_tflop_hour,
            gpu_tflops=cost.dense_tflops,
            confidence=cost.confidence,
            basis=cost.basis,
            calculation_details=ComputeDetails(
                price_per_hour=query.price_per_hour,
                gpu_type=card.name,
                gpu_count=query.gpu_count,
                precision=query.precision,
                source=peak.source,
                formula=FORMULA_GFLOP,
            ),
            assumptions=list(cost.assumed),
        )

    return await computed(work)


def _measured(value: float, source: str) -> Figure:
    from mathcore.kpi import measured

    return measured(value, source)


def _peak(card: Gpu, precision: Peak) -> Figure:
    """The published dense peak; of a name that stands for several cards the lowest and highest of them."""
    from market import gpus
    from mathcore.kpi import estimated, unknown

    name = f"{precision}_tflops"
    value: float | None = getattr(card, name)
    if value is None:
        return unknown(f"nobody published a dense {precision} peak of {card.name}")
    source = card.specs_source or "the GPU catalogue"
    if not card.generic:
        return _measured(value, source)
    family = (other for other in gpus.catalogue().values() if other.family == card.family)
    peaks = [found for other in family if (found := getattr(other, name)) is not None]
    return estimated(min(peaks), value, max(peaks), source)


class EfficiencyAsked(OnGpu):
    """A price, what it buys, and how available and reliable it is."""

    availability_score: float | None = Field(default=None, ge=0, le=1, description="Share of the time it can be had.")
    reliability_score: float | None = Field(default=None, ge=0, le=1, description="Share of the time it works.")


class EfficiencyPart(Result):
    """One part: its score in [0, 1], the weight used, and weight × score."""

    score: float | None = None
    weight: float
    contribution: float
    basis: Basis


class EfficiencyReference(Result):
    """What performance and price are measured against: the best of the on-demand offers of now."""

    name: str
    offers: int
    lowest_price_per_hour: float
    highest_performance: float
    unit: str


class EfficiencyScore(Result):
    """A score in [0, 1] with its parts."""

    efficiency_score: float
    score: float = Field(description="The same.")
    breakdown: dict[str, EfficiencyPart]
    confidence: float
    basis: Basis
    reference: EfficiencyReference
    formula: str
    assumptions: list[str]


@capability("POST /math/efficiency-score", scope=READ, effect="read", doors=HTTP_ONLY, toolset=TOOLSET)
async def efficiency_score(ctx: Context, query: EfficiencyAsked) -> EfficiencyScore:
    """Score an offer by performance, price, availability and reliability against the on-demand market of now."""
    card = card_named(query.gpu_type)
    prices, peaks = await _on_demand(ctx)

    def work() -> EfficiencyScore:
        from mathcore import kpi

        name = "the on-demand market now, one GPU each"
        against = kpi.reference_set(name, prices, peaks, "dense FP16 TFLOPS of one GPU")
        found = kpi.efficiency_score(
            query.price_per_hour / query.gpu_count,
            _peak(card, "fp16"),
            _share(query.availability_score, "availability_score"),
            _share(query.reliability_score, "reliability_score"),
            against,
        )
        parts: dict[str, Any] = {
            part.name: EfficiencyPart(**{field: getattr(part, field) for field in EfficiencyPart.model_fields})
            for part in found.breakdown
        }
        return EfficiencyScore(
            efficiency_score=found.score,
            score=found.score,
            breakdown=parts,
            confidence=found.confidence,
            basis=found.basis,
            reference=EfficiencyReference(
                **{field: getattr(against, field) for field in EfficiencyReference.model_fields}
            ),
            formula=FORMULA_EFFICIENCY,
            assumptions=list(found.assumed),
        )

    return await computed(work)


def _share(value: float | None, name: str) -> Figure:
    from mathcore.kpi import unknown

    return unknown(f"`{name}` was not given") if value is None else _measured(value, "given with the request")


async def _on_demand(ctx: Context) -> tuple[list[float], list[float]]:
    """For each GPU sold on demand whose dense peak is published: the lowest price of one, and that peak."""
    from market import gpus

    cheapest = (await ctx.market.snapshot()).cheapest_by_gpu()
    pairs = [
        (float(found.price_per_gpu_hour), peak)
        for name, found in cheapest.items()
        if found.pricing == "on_demand" and (card := gpus.catalogue().get(name)) and (peak := card.fp16_tflops)
    ]
    if not pairs:
        raise ValidationFailed(
            "There is no on-demand offer of a GPU with a published peak to measure against.",
            next_step="Fill the catalogue first: `gpubroker sync`.",
        )
    return [price for price, _ in pairs], [peak for _, peak in pairs]
