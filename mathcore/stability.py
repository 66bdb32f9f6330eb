"""How far a weight can move before another alternative wins, and which alternatives nothing beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mathcore.topsis import (
    TIE_DECIMALS,
    closeness,
    finite_matrix,
    normalised,
    reference_points,
    scaled_weights,
    topsis,
)

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
    trials = _Trials(finite_matrix(columns), benefit, winner)
    shares = scaled_weights(weights)
    return [_range(trials, shares, criterion) for criterion in range(shares.size)]


class _Trials:
    """Whether the winner stays with other weights; what does not depend on the weights is computed once."""

    def __init__(self, matrix: NDArray[np.float64], benefit: Sequence[bool], winner: int) -> None:
        self._matrix, self._benefit, self._winner = matrix, benefit, winner
        self._normalised = normalised(matrix)
        self._more_is_better = np.asarray(benefit, dtype=bool)

    def won_with(self, shares: NDArray[np.float64]) -> bool:
        """Whether TOPSIS with these weights, which sum to one, puts the winner first."""
        weighted = self._normalised * shares[:, None]
        scores = np.round(closeness(weighted, *reference_points(weighted, self._more_is_better)), TIE_DECIMALS)
        best = scores.max()
        if scores[self._winner] < best:
            return False
        if np.count_nonzero(scores == best) == 1:
            return True
        return int(topsis(self._matrix, shares.tolist(), self._benefit).order[0]) == self._winner


def _range(trials: _Trials, shares: NDArray[np.float64], criterion: int) -> WeightRange:
    own = float(shares[criterion])
    rest = shares.copy()
    rest[criterion] = 0.0
    if rest.sum() <= 0:
        return WeightRange(criterion, own, 0.0, 1.0)
    rest /= rest.sum()

    def wins(weight: float) -> bool:
        trial = rest * (1.0 - weight)
        trial[criterion] = weight
        return trials.won_with(trial)

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
