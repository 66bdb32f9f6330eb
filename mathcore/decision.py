"""A decision: alternatives by criteria with weights and directions, checked once; and how scores become an order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mathcore.scaling import Extent, Flags, Floats, bounded_matrix, directions, signed
from mathcore.weights import scaled_weights

Places = NDArray[np.intp]

TIE_DECIMALS = 12
"""Scores that agree to so many decimals are equal: what is left of them is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Criteria × alternatives, weights that sum to one, for each criterion whether more is better, and its extent."""

    matrix: Floats
    shares: Floats
    more_is_better: Flags
    extent: Extent

    @classmethod
    def checked(cls, columns: ArrayLike, weights: Sequence[float] | Floats, benefit: Sequence[bool]) -> Decision:
        """The decision, or ValueError naming what is wrong with the input."""
        matrix, extent = bounded_matrix(columns)
        shares = scaled_weights(weights)
        if not matrix.shape[0] == shares.size == len(benefit):
            raise ValueError(
                f"{matrix.shape[0]} criteria, {shares.size} weights and {len(benefit)} directions do not match"
            )
        return cls(matrix, shares, directions(benefit, matrix.shape[0]), extent)

    def counted(self, among: Places | None = None) -> Floats:
        """The criteria whose weight is not zero, more always better: by these one alternative dominates another."""
        matrix = self.matrix if among is None else self.matrix[:, among]
        kept = self.shares > 0
        return signed(matrix[kept], self.more_is_better[kept])


def best_first(scores: Floats, counted: Floats) -> Places:
    """The order of alternatives, highest score first.

    Scores equal to `TIE_DECIMALS` (of the largest score, where it is above 1) are ordered by standing on the single
    criteria (the sum of ranks among the tied), then by position: so none comes after one that it equals or beats
    everywhere on `counted` (criteria × alternatives, more better), provided the scores themselves never put it below.
    O(n·log n), and O(t·m·log t) for t tied.
    """
    largest = float(np.abs(scores).max())
    # By a power of two, which is exact.
    rounded = np.round(scores if largest <= 1 else np.ldexp(scores, -np.frexp(largest)[1]), TIE_DECIMALS)
    order = np.argsort(-rounded)
    ranked = rounded[order]
    same = ranked[1:] == ranked[:-1]
    if not same.any():
        return order
    tied = np.zeros(order.size, dtype=bool)
    tied[1:] |= same
    tied[:-1] |= same
    group = np.concatenate(([0], np.cumsum(~same)))[tied]
    among = order[tied]
    standing = np.zeros(among.size, dtype=np.intp)
    for criterion in counted:
        standing += _ranks_within(group, criterion[among])
    order[tied] = among[np.lexsort((among, -standing, group))]
    return order


def _ranks_within(group: Places, values: Floats) -> Places:
    """For each value its rank among the distinct values of its group, counted from a start of the group's own."""
    by_value = np.lexsort((values, group))
    steps = np.ones(values.size, dtype=np.intp)
    steps[0] = 0
    sorted_values, sorted_group = values[by_value], group[by_value]
    steps[1:] = (sorted_values[1:] != sorted_values[:-1]) | (sorted_group[1:] != sorted_group[:-1])
    ranks = np.empty(values.size, dtype=np.intp)
    ranks[by_value] = np.cumsum(steps)
    return ranks
