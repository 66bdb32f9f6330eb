"""The theta method: simple smoothing that drifts by half of the straight line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mathcore.smoothing import Smoothed, simple


@dataclass(frozen=True, slots=True)
class Theta:
    """A fitted theta model: the smoothing, and after each value the slope of the line through all values so far."""

    smoothed: Smoothed
    slopes: NDArray[np.float64]

    def ahead(self, steps: int, origins: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Forecasts from each origin (position of the last known value; else the end), origins × steps.

        level + ½·slope·(h − 1 + (1 − (1−α)ⁿ)/α), n the number of values known.
        """
        last = np.array([self.slopes.size - 1]) if origins is None else origins
        alpha = self.smoothed.model.alpha
        known = (last + 1)[:, None]
        lead = np.arange(steps)[None, :] + (1 - (1 - alpha) ** known) / alpha
        return np.asarray(self.smoothed.levels[last, None] + 0.5 * self.slopes[last, None] * lead, dtype=np.float64)


def theta(values: NDArray[np.float64], alpha: float | None = None) -> Theta:
    """The theta method of Assimakopoulos and Nikolopoulos (2000) with lines 0 and 2, without seasons.

    It is simple exponential smoothing with a drift of half the slope of the least-squares line, as Hyndman and Billah
    (2003) showed. α and the first level by least squares unless α is given. O(n) for each evaluation of the search.
    """
    return Theta(simple(values, alpha), slopes(values))


def slopes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """After each value the least-squares slope of all values so far; that of the first is 0. O(n)."""
    n = np.arange(1, values.size + 1, dtype=np.float64)
    centred = values - values[0]
    covariance = np.cumsum(np.arange(values.size) * centred) - (n - 1) / 2 * np.cumsum(centred)
    spread = n * (n * n - 1) / 12
    return np.asarray(np.divide(covariance, spread, out=np.zeros(values.size), where=spread > 0), dtype=np.float64)
