"""A price over time: statistics, anomalies, and a forecast that is never shown without the naive one beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z80, Z95 = 1.2816, 1.9600
DAMPING = 0.9
SMALLEST, LARGEST = 1e-12, 1e12
"""Prices outside these are mistakes, and their squares would leave the range of a float."""
Method = Callable[[NDArray[np.float64], int], NDArray[np.float64]]


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
class Forecast:
    """Values ahead with 80 and 95 % intervals; `backtest_ratio` is the error against the naive forecast."""

    method: str
    values: tuple[float, ...]
    low80: tuple[float, ...]
    high80: tuple[float, ...]
    low95: tuple[float, ...]
    high95: tuple[float, ...]
    naive: tuple[float, ...]
    backtest_ratio: float | None


def statistics(prices: Sequence[float]) -> Statistics:
    """Describe a series of positive prices, oldest first. Raises ValueError when one is not."""
    values = _positive(prices)
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


def anomalies(prices: Sequence[float], threshold: float = 3.5) -> list[int]:
    """Positions that stand out by the robust z-score 0.6745·(x − median)/MAD (Iglewicz and Hoaglin 1993).

    Fewer than five values tell nothing. When more than half of the values are equal the MAD is zero; the mean absolute
    deviation (1.2533) stands in for it.
    """
    values = _positive(prices)
    if values.size < 5:
        return []
    gap = values - np.median(values)
    spread = float(np.median(np.abs(gap))) / 0.6745
    if spread == 0:
        spread = float(np.abs(gap).mean()) * 1.2533
    if spread == 0:
        return []
    return [int(index) for index in np.flatnonzero(np.abs(gap) / spread > threshold)]


def forecast(prices: Sequence[float], steps: int) -> Forecast:
    """Forecast evenly spaced prices: a damped trend where a rolling backtest finds it better than the last price again.

    Intervals come from the method's own past errors at each distance, never narrower further out.
    """
    values = _positive(prices)
    if steps < 1:
        raise ValueError("steps must be at least 1")
    naive_errors = _backtest(values, steps, _naive)
    damped_errors = _backtest(values, steps, _damped)
    ratio = None
    method, ahead, errors = "naive", _naive(values, steps), naive_errors
    if damped_errors is not None and naive_errors is not None:
        naive_mae = float(np.nanmean(np.abs(naive_errors)))
        ratio = float(np.nanmean(np.abs(damped_errors))) / naive_mae if naive_mae > 0 else 1.0
        if ratio < 1.0:
            method, ahead, errors = "damped trend", _damped(values, steps), damped_errors
    width = _widths(errors, steps, values)
    return Forecast(
        method=method,
        values=_above_zero(ahead),
        low80=_above_zero(ahead - Z80 * width),
        high80=_above_zero(ahead + Z80 * width),
        low95=_above_zero(ahead - Z95 * width),
        high95=_above_zero(ahead + Z95 * width),
        naive=_above_zero(_naive(values, steps)),
        backtest_ratio=ratio,
    )


def _above_zero(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.maximum(values, 0.0))


def _naive(values: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    return np.full(steps, values[-1])


def _damped(values: NDArray[np.float64], steps: int, alpha: float = 0.8, beta: float = 0.1) -> NDArray[np.float64]:
    level, trend = float(values[0]), 0.0
    for value in values[1:]:
        before = level
        level = alpha * float(value) + (1 - alpha) * (level + DAMPING * trend)
        trend = beta * (level - before) + (1 - beta) * DAMPING * trend
    powers = np.cumsum(DAMPING ** np.arange(1, steps + 1))
    return np.asarray(level + powers * trend, dtype=np.float64)


def _backtest(values: NDArray[np.float64], steps: int, method: Method, origins: int = 12) -> NDArray[np.float64] | None:
    """Errors, origins × steps, of a method that saw only what came before each origin."""
    first = max(8, values.size // 2)
    if values.size - first < 2:
        return None
    chosen = np.unique(np.linspace(first, values.size - 1, min(origins, values.size - first)).astype(int))
    errors = np.full((chosen.size, steps), np.nan)
    for row, origin in enumerate(chosen):
        known = min(steps, values.size - origin)
        errors[row, :known] = values[origin : origin + known] - method(values[:origin], known)
    return errors


def _widths(errors: NDArray[np.float64] | None, steps: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
    if errors is None:
        # A step of unknown direction: the root mean square of the steps seen, whatever their trend.
        spread = float(np.sqrt(np.mean(np.diff(values) ** 2))) if values.size > 2 else 0.05 * float(values[-1])
        return np.asarray(spread * np.sqrt(np.arange(1, steps + 1)), dtype=np.float64)
    seen = np.isfinite(errors).any(axis=0)
    width = np.zeros(steps)
    width[seen] = np.sqrt(np.nanmean(errors[:, seen] ** 2, axis=0))
    return np.maximum.accumulate(width)


def _positive(prices: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(prices, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not ((values >= SMALLEST) & (values <= LARGEST)).all():
        raise ValueError(f"prices must be a list of numbers from {SMALLEST:g} to {LARGEST:g}")
    return values
