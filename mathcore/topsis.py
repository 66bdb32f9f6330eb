"""TOPSIS: rank alternatives by closeness to the best and distance from the worst of every criterion.

Hwang and Yoon (1981): vector normalisation, weights, ideal and anti-ideal point, Euclidean separation, relative
closeness C = S⁻ / (S⁺ + S⁻). Complexity O(n·m). Degenerate inputs are defined here: a criterion that is zero for all
contributes nothing, and alternatives that are all equal score 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

TIE_DECIMALS = 12
"""Scores that agree to so many decimals are equal: what is left of them is rounding."""


@dataclass(frozen=True, slots=True)
class Closeness:
    """Scores in [0, 1] of each alternative, the order best first, and both reference points.

    Equal scores are ordered by standing on the single criteria, then by position, so that no alternative ever comes
    after one that it equals or beats everywhere. `weighted` is the normalised and weighted matrix, criteria ×
    alternatives: what each score was made of.
    """

    scores: Floats
    order: NDArray[np.intp]
    ideal: Floats
    anti_ideal: Floats
    weighted: Floats


def topsis(
    columns: ArrayLike,
    weights: Sequence[float],
    benefit: Sequence[bool],
    normalisation: Literal["vector", "none"] = "vector",
) -> Closeness:
    """Rank alternatives.

    `columns`: criteria × alternatives, one row for each criterion. `weights`: not negative, scaled here to sum to
    one. `benefit`: True where more is better. Raises ValueError naming what is wrong with the input.
    """
    matrix = finite_matrix(columns)
    shares = scaled_weights(weights)
    if not matrix.shape[0] == shares.size == len(benefit):
        raise ValueError(
            f"{matrix.shape[0]} criteria, {shares.size} weights and {len(benefit)} directions do not match"
        )
    more_is_better = np.asarray(benefit, dtype=bool)
    weighted = (normalised(matrix) if normalisation == "vector" else matrix) * shares[:, None]
    ideal, anti_ideal = reference_points(weighted, more_is_better)
    scores = closeness(weighted, ideal, anti_ideal)
    signed = np.where(more_is_better, 1.0, -1.0)[:, None] * matrix
    return Closeness(scores, _order(scores, signed[shares > 0]), ideal, anti_ideal, weighted)


def finite_matrix(columns: ArrayLike) -> Floats:
    """Criteria × alternatives as floats. Raises ValueError unless there is one of each and all values are finite."""
    matrix = np.asarray(columns, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError("the matrix needs at least one criterion and one alternative")
    if not np.isfinite(matrix).all():
        raise ValueError("every value of the matrix must be a finite number")
    return matrix


def normalised(matrix: Floats) -> Floats:
    """Each criterion divided by its Euclidean norm; one that is zero everywhere stays zero."""
    # Scaling by the largest value first keeps the squares from overflowing or vanishing.
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    scaled = np.divide(matrix, largest, out=np.zeros_like(matrix), where=largest > 0)
    norms = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    return np.asarray(np.divide(scaled, norms, out=np.zeros_like(scaled), where=norms > 0), dtype=np.float64)


def scaled_weights(weights: Sequence[float]) -> Floats:
    """Weights scaled to sum to one. Raises ValueError when one is negative or not finite, or all are zero."""
    shares = np.asarray(weights, dtype=np.float64)
    if shares.ndim != 1 or not np.isfinite(shares).all() or (shares < 0).any() or not (shares > 0).any():
        raise ValueError("weights must be finite, not negative, and not all zero")
    shares = shares / shares.max()
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def reference_points(weighted: Floats, more_is_better: Flags) -> tuple[Floats, Floats]:
    """The best and the worst value of each criterion."""
    highest, lowest = weighted.max(axis=1), weighted.min(axis=1)
    return np.where(more_is_better, highest, lowest), np.where(more_is_better, lowest, highest)


def closeness(weighted: Floats, ideal: Floats, anti_ideal: Floats) -> Floats:
    """S⁻ / (S⁺ + S⁻) of each alternative; 0.5 for all when nothing tells them apart."""
    widest = float(np.abs(ideal / 2 - anti_ideal / 2).max())
    if widest == 0:
        return np.full(weighted.shape[1], 0.5)
    to_ideal = _distance(weighted, ideal, widest)
    to_anti = _distance(weighted, anti_ideal, widest)
    # The two distances cannot both be small: they span at least the widest criterion.
    return np.asarray(to_anti / (to_ideal + to_anti), dtype=np.float64)


def _distance(weighted: Floats, point: Floats, unit: float) -> Floats:
    gap = (weighted / 2 - point[:, None] / 2) / unit
    return np.asarray(np.sqrt(np.einsum("ij,ij->j", gap, gap)), dtype=np.float64)


def _order(scores: Floats, signed: Floats) -> NDArray[np.intp]:
    """Best first; `signed` holds the criteria that count, more always better, to tell equal scores apart."""
    rounded = np.round(scores, TIE_DECIMALS)
    order = np.argsort(-rounded, kind="stable")
    same = rounded[order][1:] == rounded[order][:-1]
    if not same.any():
        return order
    standing: NDArray[np.intp] = np.zeros(scores.size, dtype=np.intp)
    for criterion in signed:
        standing += np.unique(criterion, return_inverse=True)[1]
    return np.asarray(np.lexsort((-standing, -rounded)), dtype=np.intp)
