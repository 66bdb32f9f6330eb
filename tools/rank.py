"""Rank offers by several criteria at once, and say why each won or lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, cast

from pydantic import AliasChoices, Field

from market.context import Context
from market.errors import ValidationFailed
from tools.capability import Request, Result, capability
from tools.estimate import EstimateWorkload, understand
from tools.offer_view import Number, OfferLine, line
from tools.search import Pricings, Relaxation, SearchOffers, Words, cautions, market_query, relaxed
from tools.sizing import Job, size

if TYPE_CHECKING:
    from market.offers import Offer

Criterion = Literal["price", "performance", "memory", "availability", "reliability"]
CRITERIA: tuple[Criterion, ...] = ("price", "performance", "memory", "availability", "reliability")
BENEFIT = (False, True, True, True, True)
DEFAULT_WEIGHTS = {"price": 0.35, "performance": 0.4, "memory": 0.0, "availability": 0.15, "reliability": 0.1}
AVAILABILITY_SCORE = {"available": 1.0, "limited": 0.6, "unknown": 0.4, "unavailable": 0.0}
CANDIDATES = 500
_UNITS = {"price": "$/h", "performance": "dense TFLOPS", "memory": "GB"}


class Weights(Request):
    """How much each criterion counts; they are scaled to sum to one."""

    price: float = Field(default=0, ge=0, le=1_000)
    performance: float = Field(default=0, ge=0, le=1_000)
    memory: float = Field(default=0, ge=0, le=1_000)
    availability: float = Field(default=0, ge=0, le=1_000)
    reliability: float = Field(default=0, ge=0, le=1_000)


class RankOffers(Request):
    """What to rank, and what matters."""

    workload: str = Field(
        default="",
        max_length=2_000,
        validation_alias=AliasChoices("workload", "text"),
        description="In plain words; only offers that hold it are ranked.",
    )
    weights: Weights | None = Field(
        default=None, description="Default: performance 0.4, price 0.35, availability 0.15, reliability 0.1."
    )
    gpu: Words = Field(default_factory=list, validation_alias=AliasChoices("gpu", "gpu_type"))
    region: Words = Field(default_factory=list)
    provider: Words = Field(default_factory=list)
    pricing: Pricings = Field(default_factory=list, description="Default: on_demand.")
    max_price: Decimal | None = Field(
        default=None, gt=0, le=1_000_000, description="US dollars an hour for the instance."
    )
    memory_gb_min: float | None = Field(default=None, ge=0, le=10_000, description="Memory of one GPU.")
    limit: int = Field(default=5, ge=1, le=20)


class RankedOffer(OfferLine):
    """An offer with its place, its score in [0, 1], and why it stands there."""

    rank: int
    score: Number
    why: str


class WinningRange(Result):
    """The first offer stays first while this weight is within the range, the others in proportion."""

    criterion: str
    weight: Number
    low: Number
    high: Number


class Ranking(Result):
    """Offers, best first."""

    method: str
    weights: dict[str, Number]
    compared: int = Field(description="Offers compared.")
    items: list[RankedOffer]
    winner_stays: list[WinningRange] | None = Field(default=None, description="Checked in steps of one hundredth.")
    relax: list[Relaxation] | None = None
    assumptions: list[str] | None = None
    warnings: list[str] | None = None


@capability("POST /providers/rank", scope="market:read", effect="read")
async def rank_offers(ctx: Context, query: RankOffers) -> Ranking:
    """Rank offers for a workload or for explicit weights, and explain why each won or lost."""
    snapshot = await ctx.market.snapshot()
    states = await ctx.market.provider_states()
    now = ctx.market.clock.now()
    weights = _weights(query.weights)
    search, assumptions = _search(query)
    wanted = replace(market_query(search, snapshot), limit=CANDIDATES)
    hits = snapshot.search(wanted)
    offers = hits.offers
    if not offers:
        return Ranking(method="TOPSIS", weights=weights, compared=0, items=[], relax=relaxed(snapshot, wanted))
    warnings = cautions(offers[: query.limit], states, now)
    if hits.total > len(offers):
        warnings.append(f"Compared the {len(offers)} cheapest of {hits.total}; narrow the filters to compare all.")
    columns, gaps = decision_columns(offers)
    warnings += gaps
    order, scores, ranges = _decide(columns, weights)
    best = order[0]
    items = [
        RankedOffer.model_construct(
            **dict(line(offers[at], states, now)),
            rank=place,
            score=round(scores[at], 4),
            why=_why(columns, weights, best, at),
        )
        for place, at in enumerate(order[: query.limit], start=1)
    ]
    return Ranking(
        method="TOPSIS",
        weights={name: round(weight, 4) for name, weight in weights.items()},
        compared=len(offers),
        items=items,
        winner_stays=ranges if len(offers) > 1 else None,
        assumptions=assumptions or None,
        warnings=warnings or None,
    )


def _weights(given: Weights | None) -> dict[str, float]:
    chosen = given.model_dump() if given is not None else DEFAULT_WEIGHTS
    total = sum(chosen.values())
    if total <= 0:
        raise ValidationFailed("`weights` are all zero.", next_step="Give at least one of them a value above zero.")
    return {name: chosen[name] / total for name in CRITERIA}


def _search(query: RankOffers) -> tuple[SearchOffers, list[str]]:
    """The filters, tightened by what the workload needs."""
    filters = SearchOffers(
        gpu=query.gpu,
        region=query.region,
        provider=query.provider,
        pricing=query.pricing or ["on_demand"],
        max_price=query.max_price,
        memory_gb_min=query.memory_gb_min,
    )
    if not query.workload:
        return filters, []
    understood = understand(EstimateWorkload(text=query.workload))
    sized = size(Job(**{name: getattr(understood, name) for name in Job.__dataclass_fields__}))
    asked = {
        "total_memory_gb_min": round(sized.min_memory_gb, 1),
        "region": filters.region or ([understood.region] if understood.region else []),
        "max_price": filters.max_price or understood.max_price,
        "gpu": filters.gpu or ([understood.gpu] if understood.gpu else []),
        "gpu_count": understood.gpu_count,
    }
    heard = ", ".join(f"{name} {value}" for name, value in understood.model_dump(exclude_none=True).items())
    return filters.model_copy(update=asked), [
        f"Understood: {heard}.",
        f"Needs {sized.min_memory_gb:.0f} GB of GPU memory in all.",
        *sized.assumptions,
    ]


def decision_columns(offers: Sequence[Offer]) -> tuple[dict[str, list[float]], list[str]]:
    """Criteria as columns over the offers, and what had to be assumed for figures nobody publishes."""
    from market import gpus

    cards = gpus.catalogue()
    flops, memory, reliability = [], [], []
    for offer in offers:
        card = cards.get(offer.gpu) if offer.gpu else None
        whole = offer.gpu_count * offer.gpu_fraction
        peak = (card.bf16_tflops or card.fp16_tflops) if card else None
        flops.append(peak * whole if peak else None)
        memory.append(offer.memory_gb * offer.gpu_count if offer.memory_gb else None)
        reliability.append(offer.reliability)
    gaps: list[str] = []
    columns = {
        "price": [float(cast(Decimal, offer.price_per_hour_usd)) for offer in offers],
        "performance": _filled(flops, min, 0.0, "performance", "the slowest of the others", gaps),
        "memory": _filled(memory, min, 0.0, "memory", "the smallest of the others", gaps),
        "availability": [AVAILABILITY_SCORE[offer.availability] for offer in offers],
        "reliability": _filled(reliability, _middle, 1.0, "reliability", "the middle of the others", gaps),
    }
    return columns, gaps


def _filled(
    values: list[float | None],
    fill: Callable[[list[float]], float],
    nothing: float,
    name: str,
    how: str,
    gaps: list[str],
) -> list[float]:
    known = [value for value in values if value is not None]
    missing = len(values) - len(known)
    stand_in = fill(known) if known else nothing
    if missing and known:
        gaps.append(f"{missing} of {len(values)} state no {name}; taken as {how}.")
    return [stand_in if value is None else value for value in values]


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _decide(
    columns: dict[str, list[float]], weights: dict[str, float]
) -> tuple[list[int], list[float], list[WinningRange]]:
    from mathcore.stability import weight_ranges
    from mathcore.topsis import topsis

    matrix = [columns[name] for name in CRITERIA]
    shares = [weights[name] for name in CRITERIA]
    result = topsis(matrix, shares, BENEFIT)
    ranges = [
        WinningRange(
            criterion=CRITERIA[found.criterion],
            weight=round(found.weight, 4),
            low=round(found.low, 2),
            high=round(found.high, 2),
        )
        for found in weight_ranges(matrix, shares, BENEFIT)
        if shares[found.criterion] > 0
    ]
    return [int(at) for at in result.order], [float(score) for score in result.scores], ranges


def _why(columns: dict[str, list[float]], weights: dict[str, float], best: int, at: int) -> str:
    """Against the winner (for the winner: against the field), criterion by criterion, the weightiest first."""
    told = sorted((name for name in CRITERIA if weights[name] > 0), key=lambda name: -weights[name])
    if at == best:
        standing = []
        for name in told:
            better = sum(_beats(name, columns[name][at], other) for other in columns[name])
            standing.append(f"{name} {_figure(name, columns[name][at])} beats {better} of {len(columns[name]) - 1}")
        return "First: " + "; ".join(standing) + "."
    losses: list[str] = []
    gains: list[str] = []
    for name in told:
        mine, winners = columns[name][at], columns[name][best]
        if mine == winners:
            continue
        said = f"{name} {_figure(name, mine)} against {_figure(name, winners)}"
        (gains if _beats(name, mine, winners) else losses).append(said)
    parts = ["loses on " + ", ".join(losses)] if losses else []
    parts += ["wins on " + ", ".join(gains)] if gains else []
    return "Against the first: " + "; ".join(parts) + "." if parts else "Equal to the first on every criterion."


def _beats(name: str, mine: float, other: float) -> bool:
    return mine < other if name == "price" else mine > other


def _figure(name: str, value: float) -> str:
    return f"{value:g} {_UNITS[name]}" if name in _UNITS else f"{value:g}"
