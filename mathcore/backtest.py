"""Forecasting methods replayed from past moments, each knowing only what was known then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mathcore.smoothing import (
    Smoothing,
    damped_holt,
    damped_start,
    ets_additive,
    holt,
    seasonal_start,
    simple,
    smooth,
)
from mathcore.theta import slopes, theta

FIRST_ORIGIN = 10
MOST_ORIGINS = 120
Floats = NDArray[np.float64]
Origins = NDArray[np.int64]
Method = Callable[[Floats, Origins, int, int], Floats]
"""(values, origins, steps, season) to forecasts, origins × steps; an origin is the position of the last known value."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What a method would have said at each origin, and what came (NaN where it has not come yet)."""

    paths: Floats
    actual: Floats
    origins: Origins

    def mean_errors(self, window: int) -> Floats:
        """Errors of the mean over the next `window` steps, for the origins whose window has come."""
        known = ~np.isnan(self.actual[:, window - 1])
        return np.asarray(
            self.actual[known, :window].mean(axis=1) - self.paths[known, :window].mean(axis=1), dtype=np.float64
        )


def past_origins(size: int, first: int = FIRST_ORIGIN) -> Origins:
    """Up to 120 evenly spread positions from `first` to the last but one, the same for every method."""
    if size - 1 <= first:
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.linspace(first, size - 2, min(MOST_ORIGINS, size - 1 - first)).astype(np.int64))


def replayed(values: Floats, method: Method, origins: Origins, steps: int, season: int = 0) -> Replay:
    """Replay a method from each origin. O(n + origins·steps) for methods with given parameters."""
    padded = np.concatenate([values, np.full(steps, np.nan)])
    actual = np.lib.stride_tricks.sliding_window_view(padded, steps)[origins + 1]
    return Replay(positive_paths(values, method(values, origins, steps, season)), actual, origins)


def positive_paths(values: Floats, paths: Floats) -> Floats:
    """Forecasts held between a hundredth of the lowest price and a hundred times the highest."""
    return np.clip(paths, values.min() / 100, values.max() * 100)


def naive(values: Floats, origins: Origins, steps: int, season: int = 0) -> Floats:
    """The last price again."""
    return np.repeat(values[origins, None], steps, axis=1)


def drift(values: Floats, origins: Origins, steps: int, season: int = 0) -> Floats:
    """The last price, moving on as it did on average from the first to the last (random walk with drift)."""
    slope = (values[origins] - values[0]) / np.maximum(origins, 1)
    return np.asarray(values[origins, None] + slope[:, None] * np.arange(1, steps + 1), dtype=np.float64)


def linear(values: Floats, origins: Origins, steps: int, season: int = 0) -> Floats:
    """The least-squares line through all prices so far, continued."""
    slope = slopes(values)[origins]
    centre = np.cumsum(values)[origins] / (origins + 1) - slope * origins / 2
    return np.asarray(centre[:, None] + slope[:, None] * (origins[:, None] + np.arange(1, steps + 1)), dtype=np.float64)


def refitted(fit: Callable[[Floats, int], Callable[[Floats, int, Origins], Floats]]) -> Method:
    """A method whose parameters are fitted, again each time the known series has doubled.

    `fit(known, season)` returns the forecasts of the fitted model from origins of any series that goes on from there.
    """

    def method(values: Floats, origins: Origins, steps: int, season: int) -> Floats:
        paths = np.empty((origins.size, steps))
        at = 0
        while at < origins.size:
            known = int(origins[at]) + 1
            after = int(np.searchsorted(origins, max(2 * known - 1, known)))
            block = slice(at, max(after, at + 1))
            ahead = fit(values[:known], season)
            paths[block] = ahead(values, steps, origins[block])
            at = block.stop
        return paths

    return method


def _fit_simple(known: Floats, season: int) -> Callable[[Floats, int, Origins], Floats]:
    model = simple(known).model
    return lambda values, steps, origins: smooth(values, model).ahead(steps, origins)


def _fit_holt(known: Floats, season: int) -> Callable[[Floats, int, Origins], Floats]:
    model = holt(known).model
    return lambda values, steps, origins: smooth(values, model).ahead(steps, origins)


def _fit_damped(known: Floats, season: int) -> Callable[[Floats, int, Origins], Floats]:
    model = damped_holt(known).model
    return lambda values, steps, origins: smooth(values, model).ahead(steps, origins)


def _fit_ets(known: Floats, season: int) -> Callable[[Floats, int, Origins], Floats]:
    model = (ets_additive(known, season) if season else damped_holt(known)).model
    return lambda values, steps, origins: smooth(values, model).ahead(steps, origins)


def _fit_theta(known: Floats, season: int) -> Callable[[Floats, int, Origins], Floats]:
    alpha = theta(known).smoothed.model.alpha
    return lambda values, steps, origins: theta(values, alpha).ahead(steps, origins)


def _fit_arima(known: Floats, season: int) -> Callable[[Floats, int, Origins], Floats]:
    # Loaded only when asked for: few forecasts are made this way.
    from mathcore.arima import chosen_arima

    model = chosen_arima(known)
    return lambda values, steps, origins: model.ahead(values, steps, origins)


MENU: dict[str, Method] = {
    "naive": naive,
    "drift": drift,
    "linear": linear,
    "ses": refitted(_fit_simple),
    "holt": refitted(_fit_holt),
    "damped_holt": refitted(_fit_damped),
    "ets": refitted(_fit_ets),
    "theta": refitted(_fit_theta),
    "arima": refitted(_fit_arima),
}
"""The methods by name, parameters fitted to the one-step errors (likelihood for ARIMA)."""


def _damped(alpha: float, beta: float, phi: float) -> Method:
    return lambda values, origins, steps, season: damped_start(values, alpha, beta, phi).ahead(steps, origins)


def _simple(alpha: float) -> Method:
    return lambda values, origins, steps, season: simple(values, alpha).ahead(steps, origins)


def _theta(alpha: float) -> Method:
    return lambda values, origins, steps, season: theta(values, alpha).ahead(steps, origins)


def _seasonal(alpha: float, gamma: float) -> Method:
    def method(values: Floats, origins: Origins, steps: int, season: int) -> Floats:
        # What was known at the first origin is all that may shape the start.
        known = values[: int(origins[0]) + 1]
        start = Smoothing(alpha, float(known[:season].mean()), gamma=gamma, seasonal=seasonal_start(known, season))
        return smooth(values, start).ahead(steps, origins)

    return method


@dataclass(frozen=True, slots=True)
class Contender:
    """A method with given parameters, cheap enough to replay from every origin, and what it must show to be taken.

    `bar`: what its backtest error against the naive one must be below. `windows`: over how many windows that do not
    overlap; where any are asked for, it must have been below its bar in the latest third of the past as well.
    """

    name: str
    parameters: str
    method: Method
    bar: float
    windows: float = 0.0


CLOSE, FAR = 0.97, 0.7
FAR_WINDOWS, SEASONAL_WINDOWS = 6.0, 2.0
RECENT = 1 / 3
"""The damped trend stays near the last price and needs to show little; the rest must show more, and lately too. A
season has been seen twice before it is tried at all."""
CONTENDERS = (
    *(
        Contender("damped_holt", f"alpha {a:g}, beta {b:g}, phi {p:g}", _damped(a, b, p), CLOSE)
        for a, b, p in ((1.0, 0.1, 0.9), (1.0, 0.2, 0.9), (1.0, 0.3, 0.9), (1.0, 0.3, 0.8))
    ),
    *(Contender("ses", f"alpha {a:g}", _simple(a), FAR, FAR_WINDOWS) for a in (0.05, 0.2, 0.5)),
    Contender("theta", "alpha 0.8", _theta(0.8), FAR, FAR_WINDOWS),
    Contender("drift", "first to last", drift, FAR, FAR_WINDOWS),
)
SEASONAL_CONTENDERS = tuple(
    Contender("ets", f"alpha {a:g}, gamma {g:g}", _seasonal(a, g), FAR, SEASONAL_WINDOWS)
    for a, g in ((0.05, 0.05), (0.2, 0.1), (0.5, 0.1), (0.9, 0.05))
)
