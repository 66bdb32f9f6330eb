"""Weights of criteria: given and scaled to one, drawn from the data (entropy, CRITIC), or from comparisons (AHP)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mathcore.figures import numbers
from mathcore.scaling import Floats, bounded_matrix, finite_matrix, scaled

RANDOM_INDEX = (0.0, 0.0, 0.58, 0.90, 1.12, 1.24, 1.32, 1.41, 1.45, 1.49, 1.51, 1.48, 1.56, 1.57, 1.59)
"""Saaty's mean consistency index of random comparisons of 1, 2, … 15 things (Saaty 1980)."""
CONSISTENT_UP_TO = 0.10
RECIPROCAL_WITHIN = 0.02
"""How far a·b may be from 1 for the two halves of a comparison: people write 0.33 for a third."""
NOTHING_TOLD = 1e-14


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Weights that sum to one, and how consistent the comparisons were that they come from.

    `consistency_ratio` is the index divided by Saaty's random index for as many things; 0 for one or two.
    """

    weights: Floats
    largest_eigenvalue: float
    consistency_index: float
    consistency_ratio: float
    consistent: bool


def scaled_weights(weights: Sequence[float] | Floats) -> Floats:
    """Weights scaled to sum to one. Raises ValueError naming one that is negative or not finite, or if all are zero."""
    shares = numbers(weights, "weights")
    if shares.ndim != 1 or shares.size == 0:
        raise ValueError("weights must be a list of at least one number")
    wrong = ~np.isfinite(shares) | (shares < 0)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"weights must be finite and not negative; number {at} is {shares[at]:g}")
    if not (shares > 0).any():
        raise ValueError("weights must not all be zero")
    shares = shares / shares.max()
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def entropy_weights(columns: ArrayLike) -> Floats:
    """Weigh each criterion by how unevenly its values are spread (Shannon entropy).

    `columns`: criteria × alternatives, not negative, two alternatives at least; ValueError otherwise. With p = x / Σx
    and H = −Σ p·ln p / ln n (0·ln 0 = 0), weights are 1 − H, scaled to one (Hwang and Yoon 1981, after Shannon 1948).
    A criterion that is zero, or equal, for all weighs nothing; when that holds for each, all weigh the same. O(n·m).
    """
    matrix, extent = bounded_matrix(columns)
    lowest, highest = extent.lowest, extent.highest
    _refuse_one(matrix, "entropy")
    if (lowest < 0).any():
        criterion = int(np.flatnonzero(lowest < 0)[0])
        raise ValueError(f"entropy needs values that are not negative; criterion {criterion} has {lowest[criterion]:g}")
    divergence = np.zeros(matrix.shape[0])
    for criterion in np.flatnonzero(highest > lowest).tolist():
        shares = matrix[criterion] / highest[criterion]
        shares = shares / shares.sum()
        shares = shares[shares > 0]
        divergence[criterion] = 1 + float(np.dot(shares, np.log(shares))) / np.log(matrix.shape[1])
    return _told(divergence)


def critic_weights(columns: ArrayLike, benefit: Sequence[bool]) -> Floats:
    """Weigh each criterion by its contrast and by how little the others say the same (CRITIC).

    `columns`: criteria × alternatives, two alternatives at least. Values are scaled by minmax in the criterion's
    direction; with σ their standard deviation and r their Pearson correlation, C_j = σ_j Σ_k (1 − r_jk), scaled to
    one (Diakoulaki, Mavrotas and Papayannakis 1995; population and sample σ give the same weights). A criterion equal
    for all weighs nothing and takes no part; when that holds for each, all weigh the same. O(n·m²).
    """
    matrix = scaled(columns, benefit, "minmax")
    _refuse_one(matrix, "CRITIC")
    centred = matrix - matrix.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.mean(centred * centred, axis=1))
    telling = matrix.max(axis=1) > matrix.min(axis=1)
    information = np.zeros(matrix.shape[0])
    standard = centred[telling] / deviation[telling, None]
    correlation = np.clip(standard @ standard.T / matrix.shape[1], -1.0, 1.0)
    np.fill_diagonal(correlation, 1.0)
    information[telling] = deviation[telling] * (1 - correlation).sum(axis=1)
    if np.count_nonzero(telling) == 1:
        # One criterion alone conflicts with none: it is all there is to go by.
        information[telling] = 1.0
    return _told(information)


def ahp_weights(comparisons: ArrayLike) -> Comparisons:
    """Weights from pairwise comparisons, and their consistency (AHP).

    `comparisons`: square, entry (i, j) how many times more i counts than j, so (j, i) is its reciprocal. Weights are
    the principal eigenvector (not the column mean), scaled to one; CI = (λ − n) / (n − 1), CR = CI / RI with Saaty's
    table `RANDOM_INDEX`; consistent up to CR = 0.10 (Saaty 1980, 2008). Raises ValueError for a matrix that is not
    square, positive and reciprocal (within 2 %), and for more than 15 things, where Saaty's table ends. O(n³).
    """
    matrix = finite_matrix(comparisons)
    things = matrix.shape[0]
    if matrix.shape[1] != things:
        raise ValueError(f"comparisons need a square matrix; this one is {things} × {matrix.shape[1]}")
    if things > len(RANDOM_INDEX):
        raise ValueError(f"{things} things are compared; Saaty's table ends at {len(RANDOM_INDEX)}: compare in groups")
    if (matrix <= 0).any():
        row, column = np.argwhere(matrix <= 0)[0]
        raise ValueError(f"a comparison must be positive; ({row}, {column}) is {matrix[row, column]:g}")
    with np.errstate(over="ignore"):
        off = np.abs(matrix * matrix.T - 1) > RECIPROCAL_WITHIN
    if off.any():
        row, column = np.argwhere(off)[0]
        raise ValueError(
            f"comparisons ({row}, {column}) and ({column}, {row}) must be reciprocal; "
            f"they are {matrix[row, column]:g} and {matrix[column, row]:g}"
        )
    values, vectors = np.linalg.eig(matrix)
    principal = int(np.argmax(np.real(values)))
    weights = np.abs(np.real(vectors[:, principal]))
    largest = float(np.real(values[principal]))
    index = max((largest - things) / (things - 1), 0.0) if things > 1 else 0.0
    ratio = index / RANDOM_INDEX[things - 1] if things > 2 else 0.0
    return Comparisons(weights / weights.sum(), largest, index, ratio, ratio <= CONSISTENT_UP_TO)


def _refuse_one(matrix: Floats, name: str) -> None:
    if matrix.shape[1] < 2:
        raise ValueError(f"{name} weights need at least two alternatives, there is {matrix.shape[1]}")


def _told(information: Floats) -> Floats:
    """Scaled to one; equal weights when the data tell nothing apart."""
    information = np.where(information > NOTHING_TOLD, information, 0.0)
    if not (information > 0).any():
        return np.full(information.size, 1.0 / information.size)
    return scaled_weights(information)
