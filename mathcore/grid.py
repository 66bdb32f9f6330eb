"""A price as it was noted, at any moments, brought onto even steps of time by its last observation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mathcore.figures import above_zero, numbers
from mathcore.series import Prices, positive_prices

LONGEST = 1_000_000
"""Most points of a grid; a finer step over a longer time is a mistake in the step."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Prices at even steps and what had to be done for it: points without news, and observations not kept."""

    times: NDArray[np.float64]
    values: NDArray[np.float64]
    filled: int
    superseded: int
    reordered: bool


def regular_grid(times: Prices, prices: Prices, step: float, until: float | None = None) -> Grid:
    """Put prices noted at any moments on a grid: at each point the last price noted at or before it.

    `times` and `step` are in one unit (seconds, say), in any order; of two prices of one moment the one given later
    stands. The grid starts at the first moment and ends at or before `until`, else the last one. A gap is filled with
    the price that stood, which is what a price that nobody changed is. O(n log n). Raises ValueError for lists of
    different lengths, moments that are no numbers, prices that are none, a step not above zero, an end before the
    start and more than `LONGEST` points.
    """
    values = positive_prices(prices)
    moments = numbers(times, "times")
    if moments.shape != values.shape or not np.isfinite(moments).all():
        raise ValueError(f"times must be {values.size} finite numbers, one for each price")
    above_zero(step=step)
    order = np.argsort(moments, kind="stable")
    sorted_moments = moments[order]
    end = sorted_moments[-1] if until is None else until
    if not end >= sorted_moments[0]:
        raise ValueError(f"until {until} lies before the first moment {sorted_moments[0]:g}")
    points = np.floor((end - sorted_moments[0]) / step + 1e-9) + 1
    if points > LONGEST:
        raise ValueError(f"a step of {step:g} gives {points:.0f} points; at most {LONGEST} are taken: widen the step")
    grid = sorted_moments[0] + step * np.arange(int(points))
    # The rounding of start + k·step must not put an observation of that very moment after it.
    at = np.searchsorted(sorted_moments, grid + 1e-9 * step, side="right") - 1
    used = np.unique(at)
    return Grid(
        times=grid,
        values=values[order][at],
        filled=int(grid.size - used.size),
        superseded=int(moments.size - used.size),
        reordered=bool((np.diff(moments) < 0).any()),
    )
