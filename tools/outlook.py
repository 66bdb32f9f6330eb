"""What a series of daily prices says: what stands out, where it may go, and whether waiting pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, cast

from pydantic import Field

from market.money import Money, amount
from tools.capability import Result
from tools.offer_view import Number

if TYPE_CHECKING:
    from mathcore.forecast import Forecast
    from mathcore.waiting import Waiting

Z_BOUND, ROBUST_BOUND = 3.0, 3.5
AGREEING = 2
"""So many methods must find a day unusual for it to be named."""


class SeriesStatistics(Result):
    """Over all days asked for; volatility is the standard deviation of daily relative changes."""

    observations: int
    lowest: Money
    highest: Money
    mean: Money
    median: Money
    volatility: Number
    change_percent: Number


class Shift(Result):
    """From this day on the price stays at another level."""

    day: str
    before: Money
    after: Money
    change_percent: Number


class Ahead(Result):
    """A forecast, always with the naive one (the last price again) and its error against it."""

    method: str
    days: int
    value: Money
    interval_80: list[Money]
    interval_95: list[Money]
    naive: Money
    error_against_naive: Number | None = Field(
        default=None, description="Below 1 beat the naive forecast in the backtest."
    )
    naive_error: Money | None = Field(default=None, description="Mean absolute error of the naive forecast there.")
    reason: str = Field(description="Why this method.")
    days_seen: int = Field(description="Days of history it was made from.")


class BuyOrWait(Result):
    """What waiting does against buying at today's price: an expectation over past behaviour, no promise."""

    advice: Literal["buy_now", "wait", "no_difference"]
    days: int
    expected_saving_percent: Number = Field(description="Below zero: waiting is expected to cost more.")
    saving_80_percent: list[Number]
    chance_cheaper: Number
    chance_dearer: Number
    past_moments: int = Field(description="Moments of the past it was counted from.")


@dataclass(frozen=True, slots=True)
class Description:
    """A series described: what it was like, the unusual days with the methods that say so, and its shifts."""

    statistics: SeriesStatistics
    unusual: dict[str, list[str]]
    shifts: list[Shift]


def described(days: Sequence[str], prices: Sequence[float]) -> Description:
    """Describe at least one daily price. Days since a lasting shift are held against each other, not the old level."""
    from mathcore.anomaly import level_shifts
    from mathcore.series import statistics

    found = statistics(prices)
    shifts = level_shifts(prices)
    unusual: dict[str, list[str]] = {}
    ends = [0, *(one.position for one in shifts), len(prices)]
    for start, end in pairwise(ends):
        for at, methods in _unusual(prices[start:end]).items():
            unusual[days[start + at]] = methods
    return Description(
        SeriesStatistics(
            observations=found.observations,
            lowest=amount(found.lowest),
            highest=amount(found.highest),
            mean=amount(found.mean),
            median=amount(found.median),
            volatility=round(found.volatility, 6),
            change_percent=round(100 * found.change, 2),
        ),
        unusual,
        [
            Shift(
                day=days[one.position],
                before=amount(one.before),
                after=amount(one.after),
                change_percent=round(100 * one.change, 1),
            )
            for one in shifts
        ],
    )


def _unusual(prices: Sequence[float]) -> dict[int, list[str]]:
    """Positions at which at least two of the four methods agree, with their names."""
    import numpy as np

    from mathcore.anomaly import FEWEST, ISOLATED, fences, isolated, robust_z_scores, z_scores

    if len(prices) < FEWEST:
        return {}
    values = np.asarray(prices, dtype=np.float64)
    low, high = fences(values)
    beyond = {
        "z_score": np.abs(z_scores(values)) > Z_BOUND,
        "robust_z_score": np.abs(robust_z_scores(values)) > ROBUST_BOUND,
        "iqr": (values < low) | (values > high),
        "isolation_forest": isolated(values) > ISOLATED,
    }
    agreed = sum(flags.astype(np.intp) for flags in beyond.values()) >= AGREEING
    return {int(at): [name for name, flags in beyond.items() if flags[at]] for at in np.flatnonzero(agreed)}


def ahead(prices: Sequence[float], days: int) -> tuple[Ahead, BuyOrWait | None]:
    """The forecast so many days ahead, and what waiting until then does where enough of the past tells."""
    from mathcore.waiting import buy_or_wait

    found = buy_or_wait(prices, [days])
    return _told(found.forecast, days, len(prices)), _waiting(found) if found.best.surprises else None


def _told(found: Forecast, days: int, seen: int) -> Ahead:
    return Ahead(
        method=found.method,
        days=days,
        value=amount(found.values[-1]),
        interval_80=[amount(found.low80[-1]), amount(found.high80[-1])],
        interval_95=[amount(found.low95[-1]), amount(found.high95[-1])],
        naive=amount(found.naive[-1]),
        error_against_naive=None if found.backtest_ratio is None else round(found.backtest_ratio, 3),
        naive_error=None if found.naive_error is None else amount(found.naive_error),
        reason=found.reason,
        days_seen=seen,
    )


def _waiting(found: Waiting) -> BuyOrWait:
    best = found.best
    return BuyOrWait(
        advice=cast(Literal["buy_now", "wait", "no_difference"], found.advice),
        days=best.steps,
        expected_saving_percent=round(100 * best.expected_saving, 1),
        saving_80_percent=[round(100 * best.saving_low, 1), round(100 * best.saving_high, 1)],
        chance_cheaper=round(best.probability_cheaper, 2),
        chance_dearer=round(best.probability_dearer, 2),
        past_moments=best.surprises,
    )
