"""TOPSIS: rank alternatives by closeness to the best and distance from the worst of every criterion.

Hwang and Yoon (1981): vector normalisation, weights, ideal and anti-ideal point, Euclidean separation, relative
closeness C = S⁻ / (S⁺ + S⁻). Complexity O(n·m). Degenerate inputs are defined here: a criterion that is zero for all
contributes nothing, and alternatives that are all equal score 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Closeness:
    """Scores in [0, 1] of each alternative, the order best first (ties by position), and both reference points.

    `weighted` is the normalised and weighted matrix, criteria × alternatives: what each score was made of.
    """

    scores: Floats
    order: NDArray[np.intp]
    ideal: Floats
    anti_ideal: Floats
    weighted: Floats


def topsis(columns: ArrayLike, weights: Sequence[float], benefit: Sequence[bool]) -> Closeness:
    """Rank alternatives.

    `columns`: criteria × alternatives, one row for each criterion. `weights`: not negative, normalised here to sum to
    one. `benefit`: True where more is better. Raises ValueError naming what is wrong with the input.
    """
    matrix = np.asarray(columns, dtype=np.float64)
    shares = _shares(weights)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError("the matrix needs at least one criterion and one alternative")
    if not matrix.shape[0] == shares.size == len(benefit):
        raise ValueError(
            f"{matrix.shape[0]} criteria, {shares.size} weights and {len(benefit)} directions do not match"
        )
    if not np.isfinite(matrix).all():
        raise ValueError("every value of the matrix must be a finite number")
    # Scaling by the largest value first keeps the squares from overflowing or vanishing.
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    scaled = np.divide(matrix, largest, out=np.zeros_like(matrix), where=largest > 0)
    norms = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    weighted = np.divide(scaled, norms, out=np.zeros_like(scaled), where=norms > 0) * shares[:, None]
    more_is_better = np.asarray(benefit, dtype=bool)
    highest, lowest = weighted.max(axis=1), weighted.min(axis=1)
    ideal = np.where(more_is_better, highest, lowest)
    anti_ideal = np.where(more_is_better, lowest, highest)
    to_ideal = _distance(weighted, ideal)
    to_anti = _distance(weighted, anti_ideal)
    total = to_ideal + to_anti
    scores = np.divide(to_anti, total, out=np.full_like(total, 0.5), where=total > 0)
    return Closeness(scores, np.argsort(-scores, kind="stable"), ideal, anti_ideal, weighted)


def _shares(weights: Sequence[float]) -> Floats:
    shares = np.asarray(weights, dtype=np.float64)
    if shares.ndim != 1 or not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() <= 0:
        raise ValueError("weights must be finite, not negative, and not all zero")
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def _distance(weighted: Floats, point: Floats) -> Floats:
    gap = weighted - point[:, None]
    return np.asarray(np.sqrt(np.einsum("ij,ij->j", gap, gap)), dtype=np.float64)
