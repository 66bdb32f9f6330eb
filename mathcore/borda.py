"""Borda count: one ranking out of several, by points for places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mathcore.decision import TIE_DECIMALS, Places
from mathcore.figures import numbers
from mathcore.scaling import Floats, finite_matrix

MOST_BALLOTS = 1e12
"""More ballots than anybody has; beyond, points of single places would be lost in the sum."""


@dataclass(frozen=True, slots=True, eq=False)
class Count:
    """Points of each alternative and the order, most points first; equal points in the order of position.

    `parts` is rankings × alternatives: what each ranking, as often as it counts, gave; the points are their sum.
    """

    points: Floats
    order: Places
    parts: Floats


def borda(places: ArrayLike, ballots: Sequence[int] | None = None) -> Count:
    """Count points: n − 1 for the first of n places down to 0 for the last, over all rankings.

    `places`: rankings × alternatives, the place of each alternative, less is better; only their order counts, and
    equal places are a tie, whose members share the mean of the points at stake (Borda 1781; ties after Black 1958).
    `ballots`: how often each ranking counts, once unless said. An alternative placed nowhere below another has no
    fewer points. Raises ValueError for ragged or missing places and for ballots that are negative or all 0.
    O(r·n·log n) for r rankings.
    """
    matrix = finite_matrix(places)
    counts = np.ones(matrix.shape[0]) if ballots is None else numbers(ballots, "ballots")
    if counts.shape != (matrix.shape[0],):
        raise ValueError(f"{matrix.shape[0]} rankings and {counts.size} ballots do not match")
    if not np.isfinite(counts).all() or (counts < 0).any() or not (counts > 0).any():
        raise ValueError("ballots must be finite, not negative, and not all zero")
    if counts.max() > MOST_BALLOTS:
        raise ValueError(f"ballots must be at most {MOST_BALLOTS:g}, not {counts.max():g}")
    parts = np.array([count * _points(ranking) for ranking, count in zip(matrix, counts, strict=True)])
    points = np.asarray(parts.sum(axis=0), dtype=np.float64)
    return Count(points, np.argsort(-np.round(points, TIE_DECIMALS), kind="stable"), parts)


def places_of_order(order: ArrayLike) -> NDArray[np.intp]:
    """The place, from 0, of each alternative in an order best first. Raises ValueError unless each stands there once.

    O(n).
    """
    given = np.asarray(order)
    size = given.size
    if given.ndim != 1 or size == 0 or not np.issubdtype(given.dtype, np.integer):
        raise ValueError("an order needs the position of each alternative, best first")
    if given.min() < 0 or given.max() >= size or np.unique(given).size != size:
        raise ValueError(f"an order of {size} alternatives needs each of 0 … {size - 1} once")
    places = np.empty(size, dtype=np.intp)
    places[given] = np.arange(size)
    return places


def places_of_scores(scores: ArrayLike) -> NDArray[np.intp]:
    """The place, from 0, of each score, more is better; scores equal to 12 decimals share one. O(n·log n)."""
    given = finite_matrix(np.atleast_2d(np.asarray(scores, dtype=np.float64)))[0]
    return np.asarray(np.unique(-np.round(given, TIE_DECIMALS), return_inverse=True)[1], dtype=np.intp)


def _points(ranking: Floats) -> Floats:
    _, group, sizes = np.unique(ranking, return_inverse=True, return_counts=True)
    ahead = np.cumsum(sizes) - sizes
    # The mean of the points for places ahead … ahead + size − 1.
    return np.asarray((ranking.size - 1 - ahead - (sizes - 1) / 2)[group], dtype=np.float64)
