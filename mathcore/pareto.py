"""The Pareto front: the alternatives that no other equals or beats on every criterion and beats on one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mathcore.scaling import Flags, Floats, directions, finite_matrix, signed

MOST_COMPARISONS = 4_000_000_000
"""Comparisons of two values after which a front is given up: beyond it nearly nothing is dominated."""
_BLOCK = 256


def undominated(columns: ArrayLike, benefit: Sequence[bool]) -> Flags:
    """True for each alternative that no other equals or beats everywhere and beats somewhere.

    `columns`: criteria × alternatives; equal alternatives do not dominate each other. Alternatives are taken by
    falling sum of ranks, so that none can be dominated by a later one, and held against the front so far (sort-filter
    skyline: Chomicki, Godfrey, Gryz and Liang 2003). O(n·log n) for one or two criteria, else O(n·f·m) with f on the
    front; ValueError when that passes `MOST_COMPARISONS`.
    """
    matrix = finite_matrix(columns)
    # Adding 0 makes the zero of a cost the same as any other zero.
    better = signed(matrix, directions(benefit, matrix.shape[0])) + 0.0
    distinct, copies = np.unique(better, axis=1, return_inverse=True)
    # Columns come sorted by the first criterion, then the next.
    if distinct.shape[0] <= 2:
        return np.asarray(_sweep(distinct)[copies.ravel()], dtype=bool)
    return np.asarray(_filtered(distinct)[copies.ravel()], dtype=bool)


def _sweep(distinct: Floats) -> Flags:
    """Two criteria at most, in rising order: on the front is who beats all after it on the second."""
    kept = np.ones(distinct.shape[1], dtype=bool)
    if distinct.shape[0] == 1:
        kept[:-1] = False
        return kept
    best_after = np.maximum.accumulate(distinct[1, ::-1])[::-1]
    kept[:-1] = distinct[1, :-1] > best_after[1:]
    return kept


def _filtered(distinct: Floats) -> Flags:
    criteria, alternatives = distinct.shape
    ranks = np.array([np.unique(values, return_inverse=True)[1] for values in distinct])
    by_sum = np.argsort(-ranks.sum(axis=0), kind="stable")
    rows = np.ascontiguousarray(ranks.T[by_sum])
    front = np.empty_like(rows)
    size, work = 0, 0
    kept = np.zeros(alternatives, dtype=bool)
    for start in range(0, alternatives, _BLOCK):
        block = rows[start : start + _BLOCK]
        work += size * len(block) * criteria
        if work > MOST_COMPARISONS:
            raise ValueError(
                f"{alternatives} alternatives on {criteria} criteria are too many for a front of {size} and more: "
                "use fewer criteria, or rank first and take the front of the leaders"
            )
        alive = np.flatnonzero(~_beaten(block, front[:size]))
        alive = alive[~_beaten(block[alive], block[alive])]
        front[size : size + alive.size] = block[alive]
        size += alive.size
        kept[by_sum[start + alive]] = True
    return kept


def _beaten(rows: NDArray[np.intp], by: NDArray[np.intp]) -> Flags:
    """Whether some other row of `by` is at least as good everywhere; no two rows are equal but a row and itself."""
    beaten = np.zeros(len(rows), dtype=bool)
    for start in range(0, len(by), 1024):
        part = by[start : start + 1024]
        open_ = np.flatnonzero(~beaten)
        covered = np.ones((open_.size, len(part)), dtype=bool)
        for criterion in range(rows.shape[1]):
            covered &= part[:, criterion] >= rows[open_, criterion][:, None]
        # A row covers itself; another must too for it to be beaten.
        itself = (part.sum(axis=1) == rows[open_].sum(axis=1)[:, None]) & covered
        beaten[open_] = (covered & ~itself).any(axis=1)
    return beaten
