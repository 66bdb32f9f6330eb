"""Exponential smoothing: simple, Holt's trend, the damped trend, and additive seasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mathcore.solvers import scipy_part

Kind = Literal["none", "trend", "damped"]
LEAST_DAMPING, MOST_DAMPING = 0.8, 0.98
"""Range of the damping that is searched (Hyndman and Athanasopoulos 2021, §8.2)."""
DAMPING_STARTS = (0.85, 0.97)
SEASONS_FOR_START = 4


@dataclass(frozen=True, slots=True)
class Smoothing:
    """The parameters of a smoothing model and where it starts.

    l = base + α·e, b = φ·b + α·β·e, s = s + γ·e with base = l + φ·b before and e = y − base − s: the component form
    of Holt (1957), Winters (1960) and Gardner and McKenzie (1985), β and γ as in Holt-Winters. Without a trend
    β = b = 0; without seasons `seasonal` is empty.
    """

    alpha: float
    level: float
    beta: float = 0.0
    phi: float = 1.0
    trend: float = 0.0
    gamma: float = 0.0
    seasonal: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Smoothed:
    """What a model made of a series: after each value the level and the trend, seasons on a line of n + m, errors."""

    model: Smoothing
    levels: NDArray[np.float64]
    trends: NDArray[np.float64]
    seasonals: NDArray[np.float64]
    errors: NDArray[np.float64]

    @property
    def squared_error(self) -> float:
        """Sum of the squared one-step errors."""
        return float(self.errors @ self.errors)

    def ahead(self, steps: int, origins: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Forecasts from each origin (position of the last known value; else the end), origins × steps."""
        last = np.array([self.levels.size - 1]) if origins is None else origins
        damped = np.cumsum(self.model.phi ** np.arange(1, steps + 1))
        paths = self.levels[last, None] + self.trends[last, None] * damped
        season = len(self.model.seasonal)
        if season:
            paths = paths + self.seasonals[last[:, None] + 1 + np.arange(steps)[None, :] % season]
        return np.asarray(paths, dtype=np.float64)


def smooth(values: NDArray[np.float64], model: Smoothing) -> Smoothed:
    """Run a model over a series, from its start, in O(n). The loop is plain: a step costs less than an array call."""
    alpha, phi, both, gamma = model.alpha, model.phi, model.alpha * model.beta, model.gamma
    level, slope = model.level, model.trend
    levels: list[float] = []
    trends: list[float] = []
    errors: list[float] = []
    seasonals = list(model.seasonal)
    if not seasonals:
        for value in values.tolist():
            slope *= phi
            error = value - level - slope
            level += slope + alpha * error
            slope += both * error
            levels.append(level)
            trends.append(slope)
            errors.append(error)
    else:
        for at, value in enumerate(values.tolist()):
            slope *= phi
            error = value - level - slope - seasonals[at]
            level += slope + alpha * error
            slope += both * error
            levels.append(level)
            trends.append(slope)
            errors.append(error)
            seasonals.append(seasonals[at] + gamma * error)
    return Smoothed(model, np.array(levels), np.array(trends), np.array(seasonals), np.array(errors))


def simple(values: NDArray[np.float64], alpha: float | None = None) -> Smoothed:
    """Simple exponential smoothing (Brown 1956); α and the first level by least squares unless α is given.

    With α given the first level is the first value. O(n) for each evaluation of the search.
    """
    if alpha is not None:
        return smooth(values, Smoothing(_share("alpha", alpha), float(values[0])))
    return _fitted(values, "none", ())


def holt(values: NDArray[np.float64], alpha: float | None = None, beta: float | None = None) -> Smoothed:
    """Holt's linear trend (1957); parameters and start by least squares unless both α and β are given.

    With parameters given it starts at the first value with the first difference as its trend.
    """
    if alpha is not None and beta is not None:
        first = float(values[1] - values[0]) if values.size > 1 else 0.0
        return smooth(values, Smoothing(_share("alpha", alpha), float(values[0]), _share("beta", beta), trend=first))
    return _fitted(values, "trend", ())


def damped_holt(values: NDArray[np.float64]) -> Smoothed:
    """The damped trend (Gardner and McKenzie 1985); α, β, φ in 0.8…0.98 and the start by least squares."""
    return _fitted(values, "damped", ())


def damped_start(values: NDArray[np.float64], alpha: float, beta: float, phi: float) -> Smoothed:
    """The damped trend with given parameters, from the first value and no trend."""
    return smooth(values, Smoothing(alpha, float(values[0]), beta, phi))


def ets_additive(values: NDArray[np.float64], season: int, kind: Kind = "damped") -> Smoothed:
    """Additive errors, the trend asked for and additive seasons of `season` steps: ETS(A,N|A|Ad,A).

    α, β, φ, γ and the first level and trend by least squares, the first seasons by averages over at most four of
    them (Hyndman et al. 2008, §2.6.1). Raises ValueError below two whole seasons and for a season below two steps.
    """
    return _fitted(values, kind, seasonal_start(values, season))


def seasonal_start(values: NDArray[np.float64], season: int) -> tuple[float, ...]:
    """First seasons: the mean deviation of each place from its season's line, over the first seasons; they sum to 0."""
    if season < 2:
        raise ValueError(f"season must be at least 2 steps, not {season}")
    whole = min(values.size // season, SEASONS_FOR_START)
    if whole < 2:
        raise ValueError(f"a season of {season} steps needs at least {2 * season} values; {values.size} were given")
    table = values[: whole * season].reshape(whole, season)
    slope = float(table[-1].mean() - table[0].mean()) / (season * (whole - 1))
    flat = table - table.mean(axis=1, keepdims=True) - slope * (np.arange(season) - (season - 1) / 2)
    start = flat.mean(axis=0)
    return tuple(float(value) for value in start - start.mean())


def _fitted(values: NDArray[np.float64], kind: Kind, seasonal: Sequence[float]) -> Smoothed:
    """Least squares over the parameters and the start, from the best point of a coarse grid."""
    spread = float(values.std())
    # A series as flat as its own rounding has nothing to fit.
    if values.size < 4 or spread <= 1e-9 * abs(float(values.mean())):
        return smooth(values, Smoothing(1.0, float(values[0])))
    centre = float(values.mean())
    scaled = (values - centre) / spread
    season = tuple(value / spread for value in seasonal)
    bounds = [(1e-4, 1.0)]
    starts = [[alpha] for alpha in (0.1, 0.5, 0.9)]
    if kind != "none":
        bounds.append((1e-4, 1.0))
        starts = [[*start, beta] for start in starts for beta in (0.05, 0.3)]
    if kind == "damped":
        bounds.append((LEAST_DAMPING, MOST_DAMPING))
        starts = [[*start, damping] for start in starts for damping in DAMPING_STARTS]
    if season:
        bounds.append((0.0, 1.0))
        starts = [[*start, 0.1] for start in starts]
    head = scaled[: max(len(season), 1)]
    begin = [float(head.mean())] + ([0.0] if kind != "none" else [])
    bounds += [(-50.0, 50.0)] * len(begin)

    def model(point: Sequence[float]) -> Smoothing:
        return _model(point, kind, season)

    def loss(point: Sequence[float]) -> float:
        return smooth(scaled, model(point)).squared_error

    ranked = sorted(([*start, *begin] for start in starts), key=loss)
    followed = ranked[:1]
    if kind == "damped":
        # A trend that soon ends and one that hardly does are two valleys: both are followed.
        followed = [next(one for one in ranked if one[2] == damping) for damping in DAMPING_STARTS]
    found = [
        scipy_part("optimize").minimize(loss, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200})
        for start in followed
    ]
    best = min(found, key=lambda one: float(one.fun))
    return smooth(values, _rescaled(model(best.x), centre, spread))


def _model(point: Sequence[float], kind: Kind, seasonal: tuple[float, ...]) -> Smoothing:
    rest = [float(value) for value in point]
    alpha = rest.pop(0)
    beta = rest.pop(0) if kind != "none" else 0.0
    phi = rest.pop(0) if kind == "damped" else 1.0
    # γ is searched as a share of 1 − α, the usual bound.
    gamma = rest.pop(0) * (1 - alpha) if seasonal else 0.0
    return Smoothing(alpha, rest[0], beta, phi, rest[1] if kind != "none" else 0.0, gamma, seasonal)


def _rescaled(model: Smoothing, centre: float, spread: float) -> Smoothing:
    return replace(
        model,
        level=model.level * spread + centre,
        trend=model.trend * spread,
        seasonal=tuple(value * spread for value in model.seasonal),
    )


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1, not {value}")
    return value
