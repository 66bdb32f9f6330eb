"""How far a weight can move before another alternative wins, and which alternatives nothing beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mathcore.topsis import finite_matrix, scaled_weights, topsis

STEPS = 101


@dataclass(frozen=True, slots=True)
class WeightRange:
    """The winner stays the winner while this criterion's weight is between `low` and `high`, the others in proportion.

    Found on a grid of `STEPS` weights from 0 to 1, so each end is exact to one hundredth.
    """

    criterion: int
    weight: float
    low: float
    high: float


def weight_ranges(columns: ArrayLike, weights: Sequence[float], benefit: Sequence[bool]) -> list[WeightRange]:
    """For each criterion the range of its weight over which TOPSIS keeps the same winner."""
    winner = int(topsis(columns, weights, benefit).order[0])
    matrix, shares = finite_matrix(columns), scaled_weights(weights)
    return [_range(matrix, shares, benefit, winner, criterion) for criterion in range(shares.size)]


def _range(
    matrix: NDArray[np.float64], shares: NDArray[np.float64], benefit: Sequence[bool], winner: int, criterion: int
) -> WeightRange:
    own = float(shares[criterion])
    rest = shares.copy()
    rest[criterion] = 0.0
    if rest.sum() <= 0:
        return WeightRange(criterion, own, 0.0, 1.0)
    rest /= rest.sum()

    def wins(weight: float) -> bool:
        trial = rest * (1.0 - weight)
        trial[criterion] = weight
        return int(topsis(matrix, trial.tolist(), benefit).order[0]) == winner

    grid = np.linspace(0.0, 1.0, STEPS)
    low = high = own
    for weight in grid[grid < own][::-1]:
        if not wins(float(weight)):
            break
        low = float(weight)
    for weight in grid[grid > own]:
        if not wins(float(weight)):
            break
        high = float(weight)
    return WeightRange(criterion, own, low, high)


def undominated(columns: ArrayLike, benefit: Sequence[bool]) -> NDArray[np.bool_]:
    """True for each alternative that no other equals or beats everywhere and beats somewhere. O(n²·m): keep n small."""
    matrix = finite_matrix(columns)
    if len(benefit) != matrix.shape[0]:
        raise ValueError(f"{matrix.shape[0]} criteria and {len(benefit)} directions do not match")
    signs = np.where(np.asarray(benefit, dtype=bool), 1.0, -1.0)
    better = (matrix * signs[:, None]).T
    kept = np.ones(better.shape[0], dtype=bool)
    for index, row in enumerate(better):
        beats = (better >= row).all(axis=1) & (better > row).any(axis=1)
        kept[index] = not beats.any()
    return kept
