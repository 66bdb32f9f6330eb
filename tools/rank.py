"""Rank offers by several criteria at once, and say why each won or lost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from pydantic import AliasChoices, Field

from market.context import Context
from market.errors import ValidationFailed
from tools.capability import Request, Result, capability
from tools.criteria import CRITERIA, Table, why
from tools.estimate import EstimateWorkload, job_of, understand
from tools.evidence import proved
from tools.offer_view import Number, OfferLine, cautions, line
from tools.ordering import Method, Range, Verdict, decide
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

DEFAULT_WEIGHTS = {"price": 0.35, "performance": 0.4, "memory": 0.0, "availability": 0.15, "reliability": 0.1}
CANDIDATES = 500
_SAID: dict[Method, str] = {
    "topsis": "TOPSIS",
    "wsm": "weighted sum",
    "wpm": "weighted product",
    "vikor": "VIKOR",
    "promethee": "PROMETHEE II",
    "borda": "Borda count of TOPSIS, weighted sum, weighted product, VIKOR and PROMETHEE II",
}


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
    method: Method = Field(default="topsis", description="`borda` counts the places by all the others.")


class RankedOffer(OfferLine):
    """An offer with its place, its score in [0, 1] (PROMETHEE: −1 to 1), and why it stands there."""

    rank: int
    score: Number
    why: str = Field(description="In brackets the part of the score at stake.")
    contributions: dict[str, Number] | None = Field(
        default=None,
        description="What each criterion (Borda: method) brings; sums to the score (wpm: its logarithm; VIKOR: 1 − S).",
    )
    places: dict[str, int] | None = Field(default=None, description="Place by each method a Borda count takes in.")
    pareto: bool = Field(
        default=True, description="No offer compared equals or beats it on all criteria that count and beats it on one."
    )
    dominated_by: str | None = Field(default=None, description="The best placed offer that does.")


class WinningRange(Result):
    """The first offer stays first while this weight is within the range, the others in proportion."""

    criterion: str
    weight: Number
    low: Number
    high: Number


class CriticalWeight(Result):
    """The weight whose smallest relative change makes another offer the first."""

    criterion: str
    at: Number = Field(description="The weight at which the other takes over, the others in proportion.")
    then_first: str


class Ranking(Result):
    """Offers, best first."""

    method: str
    weights: dict[str, Number]
    compared: int = Field(description="Offers compared.")
    items: list[RankedOffer]
    winner_stays: list[WinningRange] | None = Field(default=None, description="Exact, rounded inwards.")
    critical: CriticalWeight | None = Field(default=None, description="Absent when no one weight changes the first.")
    stability: str | None = Field(default=None, description="How `winner_stays` was found, or what was tried instead.")
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
    candidates = [offer for offer in hits.offers if offer.price_per_hour_usd is not None and asked.holds(offer)]
    offers, _ = await proved(ctx.market, candidates)
    method = _SAID[query.method]
    if not offers:
        ways = relaxed(snapshot, wanted, asked.in_request_words)
        return Ranking(
            method=method, weights=shown, compared=0, items=[], relax=ways, assumptions=asked.assumptions or None
        )
    table = Table.of(offers, refused=await ctx.market.refusals())
    verdict = await asyncio.to_thread(decide, table.columns, weights, query.method, query.limit)
    first, refused = await proved(ctx.market, [offers[at] for at in verdict.order[: query.limit]])
    warnings = [*cautions(first, states, now), *refused, *table.gaps(weights), *verdict.warnings]
    if hits.listed > len(offers):
        warnings.append(f"Compared the {len(offers)} cheapest of {hits.listed}; narrow the filters to compare all.")
    items = [
        RankedOffer.model_construct(
            **dict(line(offers[at], states, now)), rank=place, **_reasons(offers, table, weights, verdict, at)
        )
        for place, at in enumerate(verdict.order[: query.limit], start=1)
    ]
    turn = verdict.turn
    return Ranking(
        method=method,
        weights=shown,
        compared=len(offers),
        items=items,
        winner_stays=None if verdict.ranges is None else [_shown(found) for found in verdict.ranges],
        critical=None
        if turn is None
        else CriticalWeight(criterion=turn.criterion, at=round(turn.weight, 4), then_first=offers[turn.offer].id),
        stability=verdict.stability,
        assumptions=asked.assumptions or None,
        warnings=warnings or None,
    )


def _reasons(
    offers: Sequence[Offer], table: Table, weights: Mapping[str, float], verdict: Verdict, at: int
) -> dict[str, Any]:
    """The fields of a ranked offer that say why it stands where it does."""
    best, dominator = verdict.order[0], verdict.dominators.get(at)
    brought = verdict.contributions.get(at)
    parts = (brought if at == best else verdict.losses.get(at)) or {}
    return {
        "score": round(verdict.scores[at], 4),
        "why": why(table, weights, best, at, parts, verdict.regrets.get(at)),
        "contributions": {name: round(part, 4) for name, part in brought.items()} if brought else None,
        "places": verdict.places.get(at),
        "pareto": dominator is None,
        "dominated_by": None if dominator is None else offers[dominator].id,
    }


def _shown(found: Range) -> WinningRange:
    """Ends rounded inwards, so that the first does stay first within what is shown."""
    weight = round(found.weight, 4)
    return WinningRange(
        criterion=found.criterion,
        weight=weight,
        low=min(weight, math.ceil(found.low * 10_000) / 10_000),
        high=max(weight, math.floor(found.high * 10_000) / 10_000),
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
