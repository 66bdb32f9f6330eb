"""Rank offers by several criteria at once, and say why each won or lost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import AliasChoices, Field

from market.context import Context
from market.errors import ValidationFailed
from tools.capability import Request, Result, capability
from tools.estimate import EstimateWorkload, job_of, understand
from tools.offer_view import Number, OfferLine, cautions, line
from tools.placement import placed
from tools.search import (
    PricingKind,
    Pricings,
    Relaxation,
    SearchOffers,
    SomeDollars,
    Words,
    market_query,
    relaxed,
    request_words,
)
from tools.sizing import Sized, size

if TYPE_CHECKING:
    from market.offers import Offer
    from market.query import Query

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
    max_price: SomeDollars | None = Field(default=None, description="US dollars an hour for the instance.")
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
    winner_stays: list[WinningRange] | None = Field(default=None, description="Exact, rounded inwards.")
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
    shown = {name: round(weight, 4) for name, weight in weights.items()}
    asked = _asked(query)
    wanted = replace(market_query(asked.filters, snapshot, states), limit=CANDIDATES)
    hits = snapshot.search(wanted)
    offers = [offer for offer in hits.offers if offer.price_per_hour_usd is not None and asked.holds(offer)]
    if not offers:
        ways = relaxed(snapshot, wanted, asked.in_request_words)
        return Ranking(
            method="TOPSIS", weights=shown, compared=0, items=[], relax=ways, assumptions=asked.assumptions or None
        )
    table = Table.of(offers)
    order, scores, ranges = await asyncio.to_thread(_decide, table.columns, weights)
    first = [offers[at] for at in order[: query.limit]]
    warnings = [*cautions(first, states, now), *table.gaps(weights)]
    if hits.listed > len(offers):
        warnings.append(f"Compared the {len(offers)} cheapest of {hits.listed}; narrow the filters to compare all.")
    items = [
        RankedOffer.model_construct(
            **dict(line(offers[at], states, now)),
            rank=place,
            score=round(scores[at], 4),
            why=why(table, weights, order[0], at),
        )
        for place, at in enumerate(order[: query.limit], start=1)
    ]
    return Ranking(
        method="TOPSIS",
        weights=shown,
        compared=len(offers),
        items=items,
        winner_stays=ranges if len(offers) > 1 else None,
        assumptions=asked.assumptions or None,
        warnings=warnings or None,
    )


def _weights(given: Weights | None) -> dict[str, float]:
    chosen = given.model_dump() if given is not None else DEFAULT_WEIGHTS
    total = sum(chosen.values())
    if total <= 0:
        raise ValidationFailed("`weights` are all zero.", next_step="Give at least one of them a value above zero.")
    return {name: chosen[name] / total for name in CRITERIA}


@dataclass(frozen=True, slots=True)
class _Asked:
    """The filters, which of them the workload's words gave, and what was assumed on the way."""

    filters: SearchOffers
    from_words: frozenset[str]
    assumptions: list[str]
    sized: Sized | None = None

    def holds(self, offer: Offer) -> bool:
        """Whether the cards of an offer hold the workload; what nothing is known of is left to total memory."""
        from market import gpus

        card = gpus.catalogue().get(offer.gpu) if offer.gpu else None
        if self.sized is None or card is None:
            return True
        placement = placed(self.sized, card, offer.memory_gb, offer.gpu_count)
        return placement is None or placement.fits

    def in_request_words(self, wanted: Query, field: str, change: str) -> tuple[str, str]:
        """A constraint in the names of this request: what only the words said, only other words can change."""
        name, change = request_words(wanted, field, change)
        if name == "pricing":
            return name, 'give `["on_demand", "spot", "reserved"]`'
        if name not in self.from_words:
            return name, change
        if name == "total_memory_gb_min":
            return "workload", f"say a smaller one: {change.replace('lower to', 'at most')} GB of GPU memory"
        return "workload", f"say another {name.replace('_', ' ')}: {change}"


def _asked(query: RankOffers) -> _Asked:
    """The filters of the request, tightened by what the workload needs."""
    if "token" in query.pricing:
        raise ValidationFailed(
            "`pricing`: prices of tokens and of hours cannot be ranked together.",
            next_step="Leave `token` out, or look at `search_offers` with it.",
        )
    given = {name: getattr(query, name) for name in ("gpu", "region", "provider", "max_price", "memory_gb_min")}
    if not query.workload:
        return _Asked(SearchOffers(**given, pricing=query.pricing or ["on_demand"]), frozenset(), [])
    understood = understand(EstimateWorkload(text=query.workload))
    said: dict[str, Any] = {
        "gpu": [understood.gpu] if understood.gpu else [],
        "region": [understood.region] if understood.region else [],
        "max_price": understood.max_price,
        "gpu_count": understood.gpu_count,
    }
    heard = ", ".join(f"{name} {value}" for name, value in understood.model_dump(exclude_none=True).items())
    assumptions = [f"Understood: {heard}."]
    sized = None
    try:
        sized = size(job_of(understood))
    except ValidationFailed as unclear:
        assumptions.append(f"Offers are not restricted by memory: {unclear.message}")
    else:
        # Rounded down, so that what just fits is not lost to the rounding.
        said["total_memory_gb_min"] = min(math.floor(sized.min_memory_gb * 10) / 10, 1_000_000)
        assumptions += [f"Needs {sized.min_memory_gb:.0f} GB of GPU memory in all.", *sized.assumptions]
    from_words = {name: value for name, value in said.items() if value and not given.get(name)}
    filters = SearchOffers(**(given | from_words), pricing=query.pricing or [cast(PricingKind, understood.pricing)])
    return _Asked(filters, frozenset(from_words), assumptions, sized)


@dataclass(frozen=True, slots=True)
class Table:
    """Criteria as columns over the offers; `unstated` holds which figures nobody publishes and are stood in for."""

    columns: dict[str, list[float]]
    unstated: dict[str, frozenset[int]]

    @classmethod
    def of(cls, offers: Sequence[Offer]) -> Table:
        """The decision table of offers sold by the hour."""
        from market import gpus

        cards = gpus.catalogue()
        flops: list[float | None] = []
        for offer in offers:
            card = cards.get(offer.gpu) if offer.gpu else None
            peak = (card.bf16_tflops or card.fp16_tflops) if card else None
            flops.append(peak * offer.gpu_count * offer.gpu_fraction if peak else None)
        given: dict[str, list[float | None]] = {
            "price": [float(offer.price_per_hour_usd or 0) for offer in offers],
            "performance": flops,
            "memory": [offer.memory_gb * offer.gpu_count if offer.memory_gb else None for offer in offers],
            "availability": [AVAILABILITY_SCORE[offer.availability] for offer in offers],
            "reliability": [offer.reliability for offer in offers],
        }
        return cls(
            {name: _filled(values, *_STAND_INS.get(name, (min, ""))) for name, values in given.items()},
            {name: frozenset(at for at, value in enumerate(values) if value is None) for name, values in given.items()},
        )

    def gaps(self, weights: Mapping[str, float]) -> list[str]:
        """Which criteria that count were not stated by how many, and what stood in."""
        found = []
        for name, places in self.unstated.items():
            offers = len(self.columns[name])
            if weights[name] > 0 and places:
                how = (
                    f"taken as the {_STAND_INS[name][1]} of the others"
                    if len(places) < offers
                    else "it decides nothing"
                )
                found.append(f"{len(places)} of {offers} state no {name}; {how}.")
        return found


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


_STAND_INS: dict[str, tuple[Callable[[list[float]], float], str]] = {
    "performance": (min, "slowest"),
    "memory": (min, "smallest"),
    "reliability": (_middle, "middle"),
}


def _filled(values: list[float | None], stand_in: Callable[[list[float]], float], _said: str) -> list[float]:
    known = [value for value in values if value is not None]
    instead = stand_in(known) if known else 1.0
    return [instead if value is None else value for value in values]


def _decide(
    columns: Mapping[str, list[float]], weights: Mapping[str, float]
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
            # Rounded inwards: the ends are exact, and just beyond them another offer wins.
            low=math.ceil(found.low * 1e4) / 1e4,
            high=math.floor(found.high * 1e4) / 1e4,
        )
        for found in weight_ranges(matrix, shares, BENEFIT)
        if shares[found.criterion] > 0
    ]
    return [int(at) for at in result.order], [float(score) for score in result.scores], ranges


def why(table: Table, weights: Mapping[str, float], best: int, at: int) -> str:
    """Against the winner (for the winner: against the field), criterion by criterion, the weightiest first."""
    told = sorted((name for name in CRITERIA if weights[name] > 0), key=lambda name: -weights[name])
    if at == best:
        return "First: " + "; ".join(_standing(table, name, at) for name in told) + "."
    losses: list[str] = []
    gains: list[str] = []
    for name in told:
        mine, winners = table.columns[name][at], table.columns[name][best]
        if mine != winners:
            said = f"{name} {_figure(table, name, at)} against {_figure(table, name, best)}"
            (gains if _beats(name, mine, winners) else losses).append(said)
    parts = ["loses on " + ", ".join(losses)] if losses else []
    parts += ["wins on " + ", ".join(gains)] if gains else []
    return "Against the first: " + "; ".join(parts) + "." if parts else "Equal to the first on every criterion."


def _standing(table: Table, name: str, at: int) -> str:
    values = table.columns[name]
    if at in table.unstated[name]:
        return f"{name} not stated"
    better = sum(_beats(name, values[at], other) for other in values)
    return f"{name} {_figure(table, name, at)} beats {better} of {len(values) - 1}"


def _beats(name: str, mine: float, other: float) -> bool:
    return mine < other if name == "price" else mine > other


def _figure(table: Table, name: str, at: int) -> str:
    value = table.columns[name][at]
    if at in table.unstated[name]:
        return "not stated"
    if name == "availability":
        return next(word for word, score in AVAILABILITY_SCORE.items() if score == value)
    return f"{value:g} {_UNITS[name]}" if name in _UNITS else f"{value:g}"
