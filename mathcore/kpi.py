"""What an offer costs for what it does: per token, per GFLOP, and as one score; with what had to be assumed.

A figure is measured, estimated within an interval, or unknown. Confidence follows from that and from nothing else: 1
for what was measured, low / high for an interval, 0 for what is unknown. What rests on an unknown figure is None, and
never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mathcore.figures import above_zero, not_negative

Basis = Literal["measured", "estimated", "unknown"]
Precision = Literal["fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp4"]

PRECISIONS = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp4")
EFFICIENCY_WEIGHTS = {"performance": 0.4, "price": 0.35, "availability": 0.15, "reliability": 0.1}
FULL_HOUR = "every second of the hour is used at this rate"
WHOLE_INSTANCE = "price and rate are those of the whole instance"
PEAK = "peak rate as published: what a program reaches is less"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number above or at zero, how it is known, and from where; `source` says what is missing when it is unknown."""

    value: float | None
    low: float | None
    high: float | None
    basis: Basis
    source: str

    @property
    def confidence(self) -> float:
        """1 when measured, low / high of the interval when estimated, 0 when unknown."""
        if self.low is None or self.high is None:
            return 0.0
        return self.low / self.high if self.high else 1.0


@dataclass(frozen=True, slots=True)
class TokenCost:
    """Cost of tokens in the currency of the price. `cost_per_token` is exact; per million it is rounded to 4 decimals.

    `low` and `high` bound the cost of a million tokens over the interval of the rate.
    """

    cost_per_token: float | None
    cost_per_million_tokens: float | None
    low: float | None
    high: float | None
    tokens_per_second: float | None
    basis: Basis
    confidence: float
    assumed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ComputeCost:
    """Price of an hour of one GFLOP/s and of one TFLOP/s, at the dense peak of the named precision; unrounded."""

    cost_per_gflop: float | None
    cost_per_tflop_hour: float | None
    dense_tflops: float | None
    precision: Precision
    basis: Basis
    confidence: float
    assumed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """The offers that performance and price are measured against, by their best values."""

    name: str
    offers: int
    lowest_price_per_hour: float
    highest_performance: float
    unit: str


@dataclass(frozen=True, slots=True)
class Share:
    """One part of an efficiency score: its own score in [0, 1], the weight used, and weight × score."""

    name: str
    score: float | None
    weight: float
    contribution: float
    basis: Basis


@dataclass(frozen=True, slots=True)
class Efficiency:
    """A score in [0, 1], the sum of the contributions of its parts; the weights used sum to one."""

    score: float
    breakdown: tuple[Share, ...]
    basis: Basis
    confidence: float
    reference: Reference
    assumed: tuple[str, ...]


def measured(value: float, source: str) -> Figure:
    """A figure somebody measured or published as such. Raises ValueError unless it is finite and not negative."""
    not_negative(value=value)
    return Figure(value, value, value, "measured", source)


def estimated(low: float, value: float, high: float, source: str) -> Figure:
    """A figure known to lie within an interval. Raises ValueError unless 0 ≤ low ≤ value ≤ high, all finite."""
    not_negative(low=low, value=value, high=high)
    if not low <= value <= high:
        raise ValueError(f"the estimate {value} must lie within {low} and {high}")
    return Figure(value, low, high, "estimated", source)


def unknown(missing: str) -> Figure:
    """A figure nobody has given, and what is missing."""
    return Figure(None, None, None, "unknown", missing)


def cost_per_token(price_per_hour: float, tokens_per_second: Figure) -> TokenCost:
    """Cost of a token: price_per_hour / (tokens_per_second · 3600), in IEEE 754 double precision, never rounded.

    The rate is that of what the price buys, all of its GPUs together. Raises ValueError unless price and rate are
    finite and above zero. O(1).
    """
    above_zero(price_per_hour=price_per_hour)
    assumed = (FULL_HOUR, WHOLE_INSTANCE, _told("tokens_per_second", tokens_per_second))
    rate, slow, fast = tokens_per_second.value, tokens_per_second.low, tokens_per_second.high
    if rate is None or slow is None or fast is None:
        return TokenCost(None, None, None, None, None, "unknown", 0.0, assumed)
    above_zero(tokens_per_second=rate, slowest_tokens_per_second=slow)
    cost, high, low = (price_per_hour / (each * 3600) for each in (rate, slow, fast))
    above_zero(dearest_million_tokens=high * 1e6, cheapest_million_tokens=low * 1e6)
    return TokenCost(
        cost_per_token=cost,
        cost_per_million_tokens=round(cost * 1e6, 4),
        low=round(low * 1e6, 4),
        high=round(high * 1e6, 4),
        tokens_per_second=rate,
        basis=tokens_per_second.basis,
        confidence=tokens_per_second.confidence,
        assumed=assumed,
    )


def cost_per_gflop(
    price_per_hour: float, dense_tflops: Figure, precision: Precision, *, gpu_count: int = 1
) -> ComputeCost:
    """Cost of compute: price_per_hour / (dense TFLOPS · GPUs · 1000), and the same per TFLOP/s.

    `dense_tflops`: peak of one GPU at this precision without sparsity. Raises ValueError for an unknown precision, and
    unless price and peak are finite and above zero. O(1).
    """
    above_zero(price_per_hour=price_per_hour, gpu_count=gpu_count)
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    assumed = (PEAK, f"dense {precision}, no sparsity, {gpu_count} GPU", _told("dense_tflops", dense_tflops))
    peak = dense_tflops.value
    if peak is None:
        return ComputeCost(None, None, None, precision, "unknown", 0.0, assumed)
    above_zero(dense_tflops=peak)
    tflops = peak * gpu_count
    costs = price_per_hour / (tflops * 1000), price_per_hour / tflops
    above_zero(cost_per_tflop_hour=costs[1])
    return ComputeCost(*costs, peak, precision, dense_tflops.basis, dense_tflops.confidence, assumed)


def reference_set(name: str, prices_per_hour: Sequence[float], performances: Sequence[float], unit: str) -> Reference:
    """The best price and the best performance among offers, as what others are scored against: O(n).

    `performances` in one unit, for what each price buys: dense TFLOPS of a named precision, or tokens a second of a
    named model. Raises ValueError unless there is one of each for every offer, all finite and above zero.
    """
    if len(prices_per_hour) != len(performances) or not len(performances):
        raise ValueError(f"{len(prices_per_hour)} prices and {len(performances)} performances do not make a set")
    for at, (price, performance) in enumerate(zip(prices_per_hour, performances, strict=True)):
        above_zero(**{f"price_per_hour of offer {at}": price, f"performance of offer {at}": performance})
    return Reference(name, len(performances), min(prices_per_hour), max(performances), unit)


def efficiency_score(
    price_per_hour: float, performance: Figure, availability: Figure, reliability: Figure, reference: Reference
) -> Efficiency:
    """0.4·performance + 0.35·price + 0.15·availability + 0.1·reliability, each in [0, 1].

    Performance score = performance / the highest of the reference set; price score = the lowest price of the set /
    price; both are 1 at most. Availability and reliability are shares in [0, 1] as given. The weight of an unknown part
    goes to the others in proportion, and `assumed` says so. Confidence: the confidence of the parts, by agreed weight.
    Raises ValueError for a price or performance not above zero, or a share above 1. O(1).
    """
    above_zero(price_per_hour=price_per_hour)
    price = measured(price_per_hour, "the price given")
    figures = {"performance": performance, "price": price, "availability": availability, "reliability": reliability}
    scores: dict[str, float | None] = {name: figure.value for name, figure in figures.items()}
    for name in ("availability", "reliability"):
        if (scores[name] or 0.0) > 1.0:
            raise ValueError(f"{name} must be a share from 0 to 1, not {scores[name]}")
    if performance.value is not None:
        above_zero(performance=performance.value)
        scores["performance"] = min(1.0, performance.value / reference.highest_performance)
    scores["price"] = min(1.0, reference.lowest_price_per_hour / price_per_hour)
    known = sum(weight for name, weight in EFFICIENCY_WEIGHTS.items() if scores[name] is not None)
    breakdown = tuple(
        _share(name, scores[name], weight / known, figures[name].basis) for name, weight in EFFICIENCY_WEIGHTS.items()
    )
    missing = tuple(
        f"{part.name} is unknown: its weight of {EFFICIENCY_WEIGHTS[part.name]} goes to the others"
        for part in breakdown
        if part.score is None
    )
    told = (_told(name, figures[name]) for name in ("performance", "availability", "reliability"))
    against = f"against the best of {reference.offers} offers of {reference.name}, performance in {reference.unit}"
    return Efficiency(
        score=min(1.0, sum(part.contribution for part in breakdown)),
        breakdown=breakdown,
        basis=_weakest([figure.basis for figure in figures.values()]),
        confidence=sum(weight * figures[name].confidence for name, weight in EFFICIENCY_WEIGHTS.items()),
        reference=reference,
        assumed=(against, *told, *missing),
    )


def _share(name: str, score: float | None, weight: float, basis: Basis) -> Share:
    return Share(name, None, 0.0, 0.0, basis) if score is None else Share(name, score, weight, weight * score, basis)


def _weakest(bases: Sequence[Basis]) -> Basis:
    order: tuple[Basis, ...] = ("unknown", "estimated", "measured")
    return next(basis for basis in order if basis in bases)


def _told(name: str, figure: Figure) -> str:
    if figure.basis == "estimated":
        return f"{name} {figure.value:g} estimated, {figure.low:g} to {figure.high:g}: {figure.source}"
    if figure.basis == "measured":
        return f"{name} {figure.value:g} measured: {figure.source}"
    return f"{name} unknown: {figure.source}"
