"""TOPSIS: rank alternatives by closeness to the best and distance from the worst of every criterion.

Hwang and Yoon (1981): vector normalisation, weights, ideal and anti-ideal point, Euclidean separation, relative
closeness C = S⁻ / (S⁺ + S⁻). Degenerate inputs are defined here: a criterion that is zero, or equal, for all
contributes nothing, and alternatives that are all equal, or one alone, score 0.5.

Every step of the score keeps order after rounding too (each criterion's distance, its square, sums in one sequence,
1 / (1 + √(S⁺²/S⁻²))), so an alternative never scores above one that equals or beats it everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from mathcore.decision import TIE_DECIMALS, Decision, Places, best_first
from mathcore.scaling import Floats, ordinary

CHUNK = 8_192
"""Alternatives worked on at a time, so that what is between two steps stays in the processor's cache."""

SAMPLE = 1_000
"""Bounds looked at to guess where the leaders begin; a wrong guess costs time, never an answer."""

_MARGIN = 4 * 10.0**-TIE_DECIMALS


@dataclass(frozen=True, eq=False)
class Closeness:
    """The order, best first, the score in [0, 1] of each alternative, and both reference points.

    Equal scores are ordered by standing on the single criteria, then by position, so that no alternative ever comes
    after one that it equals or beats everywhere. `order` holds the first `top_k` when so many were asked for.
    """

    order: Places
    ideal: Floats
    anti_ideal: Floats
    separation: Separation

    @cached_property
    def scores(self) -> Floats:
        """S⁻ / (S⁺ + S⁻) of each alternative, worked out when first asked for."""
        return self.separation.scores()

    @property
    def weighted(self) -> Floats:
        """The normalised and weighted matrix, criteria × alternatives: what each score was made of."""
        return np.asarray(self.separation.matrix * self.separation.factors[:, None], dtype=np.float64)


def topsis(
    columns: ArrayLike,
    weights: Sequence[float] | Floats,
    benefit: Sequence[bool],
    normalisation: Literal["vector", "none"] = "vector",
    top_k: int | None = None,
) -> Closeness:
    """Rank alternatives.

    `columns`: criteria × alternatives, one row for each criterion (contiguous float64 is not copied). `weights`: not
    negative, scaled here to sum to one. `benefit`: True where more is better. `top_k`: only the first so many are put
    in order, and exactly those a full ranking would put there; the rest is not scored unless asked for. Raises
    ValueError naming what is wrong with the input. O(n·m + n·log n), with `top_k` O(n·m + k·log k).
    """
    decision = Decision.checked(columns, weights, benefit)
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    if normalisation not in ("vector", "none"):
        raise ValueError(f"unknown normalisation {normalisation!r}; there are vector and none")
    separation = Separation(decision, normalisation)
    order, scores = _ranked(separation, decision, top_k)
    result = Closeness(order, separation.ideal, separation.anti_ideal, separation)
    if scores is not None:
        # What the ranking had to work out anyway need not be worked out again.
        result.__dict__["scores"] = scores
    return result


class Separation:
    """Distances of alternatives from the ideal and the anti-ideal point, in units of the widest criterion."""

    def __init__(self, decision: Decision, normalisation: Literal["vector", "none"] = "vector") -> None:
        self.matrix, extent = ordinary(decision.matrix, decision.extent, together=normalisation == "none")
        self.factors = decision.shares
        if normalisation == "vector":
            sizes = np.sqrt(extent.squares)
            self.factors = np.divide(decision.shares, sizes, out=np.zeros_like(sizes), where=sizes > 0)
        lowest, highest = extent.lowest, extent.highest
        better = decision.more_is_better
        self.largest = np.maximum(np.abs(lowest), np.abs(highest))
        best, self.worst = np.where(better, highest, lowest), np.where(better, lowest, highest)
        self.ideal, self.anti_ideal = best * self.factors, self.worst * self.factors
        widths = (highest - lowest) * self.factors
        self.widest = float(widths.max())
        # Signed so that a step from worst to best is positive for costs as well.
        signs = np.where(better, 1.0, -1.0)
        # A criterion equal for all takes no step: its weight may be too large beside the widest to be divided by it.
        telling = widths > 0
        self.steps = np.divide(signs * self.factors, self.widest, out=np.zeros_like(widths), where=telling)
        self.spans = (best - self.worst) * self.steps

    def gaps(self, matrix: Floats) -> Floats:
        """How far each alternative is from the worst value of each criterion, 0 up to the criterion's span."""
        gaps = matrix - self.worst[:, None]
        gaps *= self.steps[:, None]
        return np.asarray(gaps, dtype=np.float64)

    def scores(self, among: Places | None = None) -> Floats:
        """Closeness of all alternatives, or of those `among`; the same to the last bit either way."""
        matrix = self.matrix if among is None else self.matrix.take(among, axis=1)
        if matrix.shape[1] <= CHUNK:
            return self.scores_of(matrix)
        starts = range(0, matrix.shape[1], CHUNK)
        return np.concatenate([self.scores_of(matrix[:, start : start + CHUNK]) for start in starts])

    def scores_of(self, matrix: Floats) -> Floats:
        """Closeness of any alternatives within the span of the criteria, criteria × alternatives as in `matrix`."""
        if self.widest == 0:
            return np.full(matrix.shape[1], 0.5)
        near = self.gaps(matrix)
        far = self.spans[:, None] - near
        near *= near
        far *= far
        score, squares = far[0], near[0]
        # Row after row: a fixed sequence of sums makes the score independent of the alternative's position.
        for criterion in range(1, matrix.shape[0]):
            score += far[criterion]
            squares += near[criterion]
        # Nothing is both at the best and at the worst: the two squares span at least the widest criterion.
        with np.errstate(divide="ignore", over="ignore"):
            score /= squares
        np.sqrt(score, out=score)
        score += 1.0
        return np.asarray(np.divide(1.0, score), dtype=np.float64)

    def bound(self) -> tuple[Floats, float, float]:
        """A linear upper bound of every score above one half: values, what to add to each, and how far rounding goes.

        Of all points with the same projection on the line from worst to best, the one on the line is closest to the
        best, and there closeness is the projection itself.
        """
        slopes = self.spans * self.steps
        slopes /= float(np.dot(self.spans, self.spans))
        # An einsum, not a product of BLAS: that one starts threads, and waits for them on a busy machine.
        values = np.einsum("i,ij->j", slopes, self.matrix)
        rounding = 4e-16 * slopes.size * float(np.dot(np.abs(slopes), self.largest))
        return values, -float(np.dot(slopes, self.worst)), rounding


def _ranked(separation: Separation, decision: Decision, top_k: int | None) -> tuple[Places, Floats | None]:
    """The order, and all scores where they had to be worked out."""
    alternatives = decision.matrix.shape[1]
    if top_k is None or alternatives < max(4 * top_k, 4 * SAMPLE) or separation.widest == 0:
        scores = separation.scores()
        return best_first(scores, decision.counted())[:top_k], scores
    leaders = _leaders(separation, top_k)
    if leaders is None:
        scores = separation.scores()
        threshold = np.partition(scores, alternatives - top_k)[alternatives - top_k]
        found = np.flatnonzero(scores >= threshold - _MARGIN)
        return found[best_first(scores[found], decision.counted(found))[:top_k]], scores
    found, leading = leaders
    return found[best_first(leading, decision.counted(found))[:top_k]], None


def _leaders(separation: Separation, top_k: int) -> tuple[Places, Floats] | None:
    """All that can be among the first `top_k` and their scores, the rest unscored; None where the bound does not tell.

    Whichever are scored first, all others must reach what the last of their `top_k` best reaches.
    """
    bound, offset, rounding = separation.bound()
    sample = np.sort(bound[:: max(1, bound.size // SAMPLE)])
    reach = float(sample[-max(8, min(sample.size // 4, 8 * top_k * sample.size // bound.size))])
    found = np.flatnonzero(bound >= reach)
    if not top_k <= found.size <= bound.size // 4:
        return None
    scores = separation.scores(found)
    least = float(np.partition(scores, found.size - top_k)[found.size - top_k])
    needed = least - _MARGIN - rounding
    if needed <= 0.5:
        return None
    if needed - offset < reach:
        found = np.flatnonzero(bound >= needed - offset)
        if found.size > bound.size // 4:
            return None
        scores = separation.scores(found)
    kept = scores >= least - _MARGIN
    return found[kept], scores[kept]
