"""Prices that stand out: z-scores, fences, an isolation forest, and lasting shifts of the level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mathcore.figures import numbers
from mathcore.isolation import isolation_scores
from mathcore.series import Prices, positive_prices
from mathcore.solvers import scipy_part

NORMAL_MAD, NORMAL_MEAN_DEVIATION = 0.6744897501960817, 1.2533141373155001
"""Of a normal distribution: the MAD in standard deviations, and the standard deviation in mean deviations."""
FEWEST = 5
ISOLATED = 0.65
"""Score above which the forest calls a price an anomaly; 0.5 is ordinary, 1 the limit (Liu, Ting and Zhou 2008)."""
LARGEST_Z = 1e6


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one method says of one price: its score, the bound it was held against, and whether it is beyond it."""

    method: str
    score: float
    bound: float
    is_anomaly: bool


@dataclass(frozen=True, slots=True)
class Detection:
    """Whether a price stands out from those before it: by most of the methods, each with its own verdict."""

    is_anomaly: bool
    z_score: float
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class LevelShift:
    """From `position` on the price stays at another level; `change` is relative (−0.44 is 44 % cheaper)."""

    position: int
    before: float
    after: float
    change: float


def z_scores(prices: Prices, sample: bool = False) -> NDArray[np.float64]:
    """How many standard deviations each price lies from the mean: of the population (divisor n), or of the sample.

    Equal prices have the score 0. Masking: several outliers widen the deviation they are measured with; use the robust
    score or `extreme_studentized` where that matters. O(n).
    """
    values = positive_prices(prices)
    deviation = float(values.std(ddof=1 if sample and values.size > 1 else 0))
    # Equal values have a deviation of their rounding.
    if deviation <= 1e-12 * float(values.max()):
        return np.zeros(values.size)
    return np.asarray((values - values.mean()) / deviation, dtype=np.float64)


def robust_z_scores(prices: Prices) -> NDArray[np.float64]:
    """0.6745·(x − median)/MAD (Iglewicz and Hoaglin 1993; 3.5 is their bound); below five prices all are 0.

    When more than half of the prices are equal the MAD is 0; the mean absolute deviation times 1.2533 stands in for it,
    and when all are equal every score is 0. O(n).
    """
    values = positive_prices(prices)
    gap = values - np.median(values)
    spread = _robust_spread(gap)
    if values.size < FEWEST or spread == 0:
        return np.zeros(values.size)
    return np.asarray(gap / spread, dtype=np.float64)


def fences(prices: Prices, reach: float = 1.5) -> tuple[float, float]:
    """Tukey's fences (1977): the quartiles less and plus `reach` times the distance between them.

    Quartiles by linear interpolation at (n − 1)·p, definition 7 of Hyndman and Fan (1996), the default of numpy, R and
    spreadsheets; Tukey's own hinges differ by a little. O(n).
    """
    values = positive_prices(prices)
    low, high = np.quantile(values, (0.25, 0.75))
    return float(low - reach * (high - low)), float(high + reach * (high - low))


def extreme_studentized(prices: Prices, most: int, significance: float = 0.05) -> tuple[list[int], list[float]]:
    """Rosner's generalised test (1983) for up to `most` outliers: their positions, and the statistics R of each step.

    Each step removes the value furthest from the mean in sample standard deviations; the outliers are those up to the
    last step whose R is beyond its critical value. It is not misled by several outliers that hide one another. Takes
    any finite numbers. O(n·most). Raises ValueError for fewer than three values or `most` not in 1…n − 2.
    """
    values = numbers(prices, "the values")
    n = values.size
    if values.ndim != 1 or n < 3 or not np.isfinite(values).all():
        raise ValueError("the values must be at least three finite numbers")
    # By a power of two, which is exact: squares of huge values would overflow, and of tiny ones vanish.
    values = np.ldexp(values, -np.frexp(np.abs(values).max())[1])
    if not 1 <= most <= n - 2:
        raise ValueError(f"most must be from 1 to {n - 2} for {n} values, not {most}")
    left = np.arange(n)
    removed: list[int] = []
    statistics: list[float] = []
    outliers = 0
    for step in range(1, most + 1):
        rest = values[left]
        deviation = float(rest.std(ddof=1))
        gap = np.abs(rest - rest.mean())
        worst = int(gap.argmax())
        statistics.append(float(gap[worst]) / deviation if deviation > 0 else 0.0)
        removed.append(int(left[worst]))
        left = np.delete(left, worst)
        freedom = n - step - 1
        t = float(scipy_part("special").stdtrit(freedom, 1 - significance / (2 * (n - step + 1))))
        critical = (n - step) * t / np.sqrt((freedom + t * t) * (n - step + 1))
        if statistics[-1] > critical:
            outliers = step
    return removed[:outliers], statistics


def isolated(prices: Prices, seed: int = 0) -> NDArray[np.float64]:
    """Isolation-forest scores of prices by their level and their step from the one before, both in logarithms.

    100 trees on at most 256 prices each; the same seed gives the same scores. Below five prices all are 0.5.
    """
    logs = np.log(positive_prices(prices))
    if logs.size < FEWEST:
        return np.full(logs.size, 0.5)
    return isolation_scores(np.column_stack([logs, np.diff(logs, prepend=logs[0])]), seed=seed)


def detect(current: float, history: Prices, threshold_z: float = 3.0, seed: int = 0) -> Detection:
    """Whether a price stands out from the prices before it, by four methods; it does when at least two say so.

    z-score (population deviation of the history, |z| above the threshold), robust z-score (threshold · 3.5/3), Tukey's
    fences at 1.5, and the isolation forest of the history with the price at its end. From an unchanging history
    any other price stands out, with a z-score held at ±1e6. Raises ValueError below five prices of history.
    """
    before = positive_prices(history)
    value = float(positive_prices([current])[0])
    if before.size < FEWEST:
        raise ValueError(f"history must hold at least {FEWEST} prices, not {before.size}")
    if not (np.isfinite(threshold_z) and threshold_z > 0):
        raise ValueError(f"threshold_z must be above zero, not {threshold_z}")
    deviation = float(before.std())
    z = _ratio(value - float(before.mean()), deviation if deviation > 1e-12 * float(before.max()) else 0.0)
    median = float(np.median(before))
    robust = _ratio(value - median, _robust_spread(before - median))
    low, high = fences(history)
    nearest = low if value < low else high
    score = float(isolated([*history, value], seed)[-1])
    bound = threshold_z * 3.5 / 3
    verdicts = (
        Verdict("z_score", z, threshold_z, abs(z) > threshold_z),
        Verdict("robust_z_score", robust, bound, abs(robust) > bound),
        Verdict("iqr", value, nearest, not low <= value <= high),
        Verdict("isolation_forest", score, ISOLATED, score > ISOLATED),
    )
    return Detection(sum(one.is_anomaly for one in verdicts) >= 2, z, verdicts)


def level_shifts(prices: Prices, window: int = 7, least: float = 0.1) -> list[LevelShift]:
    """Where the price moved to another level and stayed there for a window of steps.

    A shift is a place where the medians of the `window` prices before and from it on differ by at least `least` and by
    more than four times the usual step (robust), and by more than at any place within a window of it. A single
    outlier moves no median. O(n·window). Raises ValueError for a window below 2; a series too short has none.
    """
    values = positive_prices(prices)
    if window < 2:
        raise ValueError(f"window must be at least 2, not {window}")
    if values.size < 2 * window:
        return []
    logs = np.log(values)
    medians = np.median(np.lib.stride_tricks.sliding_window_view(logs, window), axis=1)
    moves = medians[window:] - medians[:-window]
    steps = np.diff(logs)
    usual = float(np.median(np.abs(steps - np.median(steps)))) / NORMAL_MAD
    sharpest = np.abs(steps[window - 1 : window - 1 + moves.size])
    found: list[LevelShift] = []
    bar = max(float(np.log1p(least)), 4 * usual)
    for at in np.flatnonzero(np.abs(moves) > bar):
        near = slice(max(0, at - window + 1), at + window)
        # Of equal medians the place of the sharpest step is the shift.
        if np.abs(moves[at]) + 1e-9 * sharpest[at] >= (np.abs(moves[near]) + 1e-9 * sharpest[near]).max():
            before, after = float(np.exp(medians[at])), float(np.exp(medians[at + window]))
            if not found or at + window - found[-1].position >= window:
                found.append(LevelShift(int(at) + window, before, after, after / before - 1))
    return found


def _robust_spread(gap: NDArray[np.float64]) -> float:
    spread = float(np.median(np.abs(gap))) / NORMAL_MAD
    return spread if spread > 0 else float(np.abs(gap).mean()) * NORMAL_MEAN_DEVIATION


def _ratio(gap: float, spread: float) -> float:
    if gap == 0:
        return 0.0
    return float(np.clip(gap / spread, -LARGEST_Z, LARGEST_Z)) if spread > 0 else float(np.copysign(LARGEST_Z, gap))
