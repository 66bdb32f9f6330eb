"""Made-up prices whose truth is known, the same from every seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DAY = 24


def hourly_world(seed: int, points: int = 720, with_season: bool = True, steps: int = 2) -> NDArray[np.float64]:
    """A level with rare steps, an hour-of-day season, and noise that follows itself (AR(1), 0.7)."""
    dice = np.random.default_rng(seed)
    shocks = dice.normal(0, 0.05, points)
    noise = np.zeros(points)
    for at in range(1, points):
        noise[at] = 0.7 * noise[at - 1] + shocks[at]
    level = np.full(points, 10.0)
    for place in dice.integers(points // 4, points // 2, steps):
        level[place:] += dice.normal(0, 0.5)
    season = np.sin(2 * np.pi * np.arange(points) / DAY) if with_season else 0.0
    return np.asarray(level + season + noise, dtype=np.float64)


def walk(seed: int, points: int = 400, size: float = 0.02) -> NDArray[np.float64]:
    """A price whose logarithm wanders: no method beats the last price on it."""
    dice = np.random.default_rng(seed)
    return np.asarray(2.0 * np.exp(np.cumsum(dice.normal(0, size, points))), dtype=np.float64)


def momentum(seed: int, points: int = 400) -> NDArray[np.float64]:
    """A price that goes on for a while in the way it went: its log returns follow themselves (AR(1), 0.9)."""
    dice = np.random.default_rng(seed)
    shocks = dice.normal(0, 0.003, points)
    returns = np.zeros(points)
    for at in range(1, points):
        returns[at] = 0.9 * returns[at - 1] + shocks[at]
    return np.asarray(2.0 * np.exp(np.cumsum(returns)), dtype=np.float64)
