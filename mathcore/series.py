"""What a price did over time: its statistics, its trend, how much it moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Prices = Sequence[float] | NDArray[np.float64]
SMALLEST, LARGEST = 1e-12, 1e12
"""Prices outside these are mistakes, and their squares would leave the range of a float."""
RECENT_WEIGHT = 0.94
"""Decay of the recent volatility (RiskMetrics 1996, daily)."""
FLAT = 0.01
"""A trend that moves the price by less than this over the whole series is none worth naming."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a series of prices was like. `volatility` is the standard deviation of the relative steps."""

    observations: int
    lowest: float
    highest: float
    mean: float
    median: float
    volatility: float
    change: float


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through the logarithm of the price; `change` is what it moves over the whole series.

    `direction` is rising or falling only where that is at least 1 % and lies beyond two standard errors of the
    slope, which are widened for errors that follow one another.
    """

    direction: str
    change_per_step: float
    change: float
    r_squared: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Volatility:
    """How much the price moves from step to step, in logarithms (0.01 is about 1 %)."""

    per_step: float
    recent_per_step: float
    over_period: float
    share_of_steps_moved: float
    largest_rise: float
    largest_fall: float
    deepest_drawdown: float


def positive_prices(prices: ArrayLike) -> NDArray[np.float64]:
    """The prices as an array, checked. Raises ValueError unless each is a number from 1e-12 to 1e12."""
    try:
        values = np.asarray(prices, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("prices must be a list of numbers, each within the range of a float") from error
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"prices must be a list of at least one number, not of shape {values.shape}")
    wrong = np.flatnonzero(~((values >= SMALLEST) & (values <= LARGEST)))
    if wrong.size:
        raise ValueError(
            f"prices must be numbers from {SMALLEST:g} to {LARGEST:g}; number {wrong[0] + 1} is {values[wrong[0]]:g}"
        )
    return values


def statistics(prices: Prices) -> Statistics:
    """Describe a series of positive prices, oldest first.

    One pass and a partition, O(n). The volatility is that of the population (divisor n) of simple returns; one price
    has none. Raises ValueError when a price is not positive.
    """
    values = positive_prices(prices)
    steps = np.diff(values) / values[:-1]
    return Statistics(
        observations=int(values.size),
        lowest=float(values.min()),
        highest=float(values.max()),
        mean=float(values.mean()),
        median=float(np.median(values)),
        volatility=float(steps.std()) if steps.size else 0.0,
        change=float(values[-1] / values[0] - 1.0),
    )


def trend(prices: Prices) -> Trend:
    """The straight line through the logarithm of evenly spaced prices, and whether it can be told from none.

    Ordinary least squares; the standard error is multiplied by √((1+r)/(1−r)) with r the lag-one autocorrelation of
    the residuals, held in 0…0.99 (Bayley and Hammersley 1946: the effective number of observations). O(n). One or two
    prices are flat. Raises ValueError when a price is not positive.
    """
    logs = np.log(positive_prices(prices))
    n = logs.size
    if n < 3 or np.ptp(logs) == 0:
        slope = float(logs[-1] - logs[0]) / max(n - 1, 1)
        return Trend("flat", float(np.expm1(slope)), float(np.expm1(slope * (n - 1))), 0.0, 0.0)
    at = np.arange(n) - (n - 1) / 2
    spread = float(at @ at)
    slope = float(at @ logs) / spread
    residuals = logs - logs.mean() - slope * at
    unexplained, total = float(residuals @ residuals), float(((logs - logs.mean()) ** 2).sum())
    follow = float(residuals[1:] @ residuals[:-1]) / unexplained if unexplained > 0 else 0.0
    follow = min(max(follow, 0.0), 0.99)
    error = float(np.sqrt(unexplained / (n - 2) / spread * (1 + follow) / (1 - follow)))
    change = float(np.expm1(slope * (n - 1)))
    told_apart = abs(change) >= FLAT and abs(slope) > 2 * error
    direction = ("rising" if slope > 0 else "falling") if told_apart else "flat"
    return Trend(direction, float(np.expm1(slope)), change, max(0.0, 1 - unexplained / total), error)


def volatility(prices: Prices, steps_per_period: float = 1.0) -> Volatility:
    """How much evenly spaced prices move: overall, of late, over a period of so many steps, and at worst.

    The sample standard deviation (divisor n − 1) of log returns; `recent_per_step` weighs squared returns by 0.94 to
    the power of their age (RiskMetrics 1996); a period of m steps has √m times the volatility of one. One price has
    none. O(n). Raises ValueError when a price is not positive or the period is not above zero.
    """
    values = positive_prices(prices)
    if not (np.isfinite(steps_per_period) and steps_per_period > 0):
        raise ValueError(f"steps_per_period must be above zero, not {steps_per_period}")
    returns = np.diff(np.log(values))
    if returns.size == 0:
        return Volatility(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    per_step = float(returns.std(ddof=1)) if returns.size > 1 else float(abs(returns[0]))
    weights = RECENT_WEIGHT ** np.arange(returns.size - 1, -1, -1)
    return Volatility(
        per_step=per_step,
        recent_per_step=float(np.sqrt(weights @ returns**2 / weights.sum())),
        over_period=per_step * float(np.sqrt(steps_per_period)),
        share_of_steps_moved=float(np.count_nonzero(returns) / returns.size),
        largest_rise=float(np.expm1(max(returns.max(), 0.0))),
        largest_fall=float(np.expm1(min(returns.min(), 0.0))),
        deepest_drawdown=float((values / np.maximum.accumulate(values)).min() - 1),
    )
