"""How far a weight can move before another alternative wins, which criterion is critical, and what perturbation does.

One weight moves, the others keep their proportions, and all still sum to one. Along that path weighted sums (also of
logarithms, or of PROMETHEE's flows on single criteria) are straight lines, and in TOPSIS, with u = (t / (1 − t))²,
both squared separations are straight lines in u, so that two alternatives are as good as each other where a quadratic
in u is zero. The ends below are therefore solved for, not searched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mathcore.decision import Decision, Places
from mathcore.scaling import Floats, bounded_matrix, ordinary
from mathcore.scoring import weighted_sum
from mathcore.weights import scaled_weights

_EQUAL = 1e-11
"""Differences so small, relative to what they are the difference of, are rounding."""


@dataclass(frozen=True, slots=True)
class WeightRange:
    """The winner stays the winner while this criterion's weight is between `low` and `high`, the others in proportion.

    At an end that is not 0 or 1 the winner shares its score with the alternative that takes over beyond it, `below`
    or `above` (one of them, where several meet); None where no other ever does.
    """

    criterion: int
    weight: float
    low: float
    high: float
    below: int | None = None
    above: int | None = None


@dataclass(frozen=True, slots=True)
class Critical:
    """The criterion whose weight needs to change least, relative to itself, for another to win; `change` is signed."""

    criterion: int
    change: float
    relative: float
    winner: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One weight multiplied by `factor`, all scaled to one again: who wins then, and how much of the order is left.

    `correlation` is Spearman's of the places before and after, `moved` the most places any alternative moved.
    """

    criterion: int
    factor: float
    winner: int
    kept: bool
    correlation: float
    moved: int


@dataclass(frozen=True, slots=True)
class Perturbation:
    """All trials, the share of them that keep the winner, how alike the orders stay, and what changes the winner."""

    trials: tuple[Trial, ...]
    winner: int
    winner_kept: float
    mean_correlation: float
    least_correlation: float
    critical: tuple[int, ...]


def weight_ranges(columns: ArrayLike, weights: Sequence[float] | Floats, benefit: Sequence[bool]) -> list[WeightRange]:
    """For each criterion the range of its weight over which TOPSIS keeps the same winner.

    `columns`: criteria × alternatives. Solved, not sampled: each end is the nearest root of the quadratics above, to
    about 1e-9 unless the two scores barely touch, where the root itself is that ill defined. Alternatives that tie
    with the winner at every weight bound nothing. A criterion that has all the weight has no path: 0 to 1. O(n·m²).
    """
    from mathcore.topsis import topsis

    decision = Decision.checked(columns, weights, benefit)
    winner = int(topsis(decision.matrix, decision.shares, benefit, top_k=1).order[0])
    gaps, rests = _unweighted(decision)
    ranges = []
    for criterion, share in enumerate(decision.shares):
        others = _proportions(decision.shares, criterion)
        if others is None:
            ranges.append(WeightRange(criterion, float(share), 0.0, 1.0))
        else:
            ranges.append(_topsis_range(gaps, rests, others, criterion, float(share), winner))
    return ranges


def linear_weight_ranges(parts: ArrayLike, weights: Sequence[float] | Floats, winner: int) -> list[WeightRange]:
    """The same, exactly, for any method whose score is the weighted sum of parts that do not depend on the weights.

    `parts`: criteria × alternatives, more is better: those of `wsm`, `wpm` or `promethee`. `winner`: their order[0].
    Raises ValueError when the winner's weighted sum is not the highest. O(n·m²).
    """
    matrix = ordinary(*bounded_matrix(parts), together=True)[0]
    shares = scaled_weights(weights)
    if shares.size != matrix.shape[0] or not 0 <= winner < matrix.shape[1]:
        raise ValueError(f"{matrix.shape[0]} × {matrix.shape[1]} parts, {shares.size} weights, winner {winner}: no fit")
    total = weighted_sum(matrix, shares)
    if total[winner] < total.max() - _EQUAL * max(1.0, float(np.abs(matrix).max())):
        raise ValueError(f"alternative {winner} does not win: its weighted sum is not the highest")
    ahead = matrix[:, winner : winner + 1] - matrix
    ranges = []
    for criterion, share in enumerate(shares):
        others = _proportions(shares, criterion)
        if others is None:
            ranges.append(WeightRange(criterion, float(share), 0.0, 1.0))
        else:
            lead = weighted_sum(ahead, others)
            ranges.append(_linear_range(ahead[criterion], lead, criterion, float(share)))
    return ranges


def critical_criterion(ranges: Sequence[WeightRange]) -> Critical | None:
    """The criterion with the smallest relative change of weight that makes another win; None when none can.

    The most critical criterion for the top alternative of Triantaphyllou and Sánchez (1997), "percent-top", with the
    change measured in weights that sum to one before and after. Weights of zero have no relative change. O(m).
    """
    found: list[Critical] = []
    for one in ranges:
        for end, rival in ((one.low, one.below), (one.high, one.above)):
            if rival is not None and one.weight > 0:
                change = end - one.weight
                found.append(Critical(one.criterion, change, abs(change) / one.weight, rival))
    return min(found, key=lambda critical: critical.relative, default=None)


def perturbation(
    order_of: Callable[[Floats], Places], weights: Sequence[float] | Floats, size: float = 0.1
) -> Perturbation:
    """What becomes of a ranking when each weight in turn is made larger and smaller by the share `size`.

    `order_of` ranks, best first, by weights that sum to one: any method of this core. Every run gives the same
    answer: nothing is drawn at random. Raises ValueError unless 0 < size < 1. 2m rankings, and O(n) for each.
    """
    from mathcore.borda import places_of_order

    if not 0 < size < 1:
        raise ValueError(f"a perturbation must be between 0 and 1, not {size}")
    shares = scaled_weights(weights)
    base = places_of_order(order_of(shares))
    winner = int(np.argmin(base))
    trials = []
    for criterion in np.flatnonzero(shares > 0):
        for factor in (1 - size, 1 + size):
            moved = shares.copy()
            moved[criterion] *= factor
            trials.append(_trial(int(criterion), factor, base, places_of_order(order_of(scaled_weights(moved)))))
    correlations = [trial.correlation for trial in trials]
    return Perturbation(
        tuple(trials),
        winner,
        sum(trial.kept for trial in trials) / len(trials),
        sum(correlations) / len(correlations),
        min(correlations),
        tuple(sorted({trial.criterion for trial in trials if not trial.kept})),
    )


def _trial(criterion: int, factor: float, before: Places, after: Places) -> Trial:
    moved = (after - before).astype(np.float64)
    size = before.size
    correlation = 1.0 if size == 1 else 1 - 6 * float(np.dot(moved, moved)) / (size * (size * size - 1.0))
    winner = int(np.argmin(after))
    return Trial(criterion, factor, winner, before[winner] == 0, correlation, int(np.abs(moved).max()))


def _proportions(shares: Floats, criterion: int) -> Floats | None:
    rest = shares.copy()
    rest[criterion] = 0.0
    return scaled_weights(rest) if (rest > 0).any() else None


def _linear_range(ahead: Floats, lead: Floats, criterion: int, weight: float) -> WeightRange:
    """t·ahead + (1 − t)·lead ≥ 0 for every alternative."""
    size = np.abs(ahead) + np.abs(lead)
    with np.errstate(divide="ignore", invalid="ignore"):
        roots = lead / (lead - ahead)
    closes = (ahead < -_EQUAL * size) & (size > 0)
    opens = (lead < -_EQUAL * size) & (size > 0)
    return _nearest(np.where(opens, roots, -np.inf), np.where(closes, roots, np.inf), criterion, weight)


def _nearest(lower: Floats, upper: Floats, criterion: int, weight: float) -> WeightRange:
    """The highest of the lower ends and the lowest of the upper ones; minus or plus infinity is none."""
    below, above = int(np.argmax(lower)), int(np.argmin(upper))
    low, high = float(lower[below]), float(upper[above])
    return WeightRange(
        criterion,
        weight,
        max(0.0, min(low, weight)),
        min(1.0, max(high, weight)),
        below if low > 0 else None,
        above if high < 1 else None,
    )


def _unweighted(decision: Decision) -> tuple[Floats, Floats]:
    """Of each criterion the normalised distances to the worst and to the best value, whatever the weights."""
    from mathcore.topsis import Separation

    alone = Decision(decision.matrix, np.ones_like(decision.shares), decision.more_is_better, decision.extent)
    separation = Separation(alone)
    gaps = separation.gaps(separation.matrix)
    return gaps, separation.spans[:, None] - gaps


def _topsis_range(
    gaps: Floats, rests: Floats, others: Floats, criterion: int, weight: float, winner: int
) -> WeightRange:
    span = float((gaps[criterion] + rests[criterion]).max())
    widths = (gaps + rests).max(axis=1) * others
    width = float(widths.max())
    if span == 0 or width == 0:
        # Nothing moves with this weight, or nothing else does: the order is the same at every weight in between.
        return WeightRange(criterion, weight, 0.0, 1.0)
    own_gap, own_rest = gaps[criterion] / span, rests[criterion] / span
    scale = (others / width)[:, None]
    near = ((gaps * scale) ** 2).sum(axis=0)
    far = ((rests * scale) ** 2).sum(axis=0)
    # Squared separations are u·own² + rest²; the winner leads where the product below is positive:
    # (u·gap_w² + near_w)(u·rest_i² + far_i) − (u·gap_i² + near_i)(u·rest_w² + far_w) = square·u² + line·u + constant.
    mine, theirs = own_gap[winner], own_gap
    square = (mine * own_rest - theirs * own_rest[winner]) * (mine * own_rest + theirs * own_rest[winner])
    line_terms = (mine**2 * far, near[winner] * own_rest**2, theirs**2 * far[winner], near * own_rest[winner] ** 2)
    line = line_terms[0] + line_terms[1] - line_terms[2] - line_terms[3]
    constant = near[winner] * far - near * far[winner]
    line = np.where(np.abs(line) > 1e-15 * sum(line_terms), line, 0.0)
    constant = np.where(np.abs(constant) > 1e-15 * (near[winner] * far + near * far[winner]), constant, 0.0)
    scale_of_u = span / width
    with np.errstate(over="ignore"):
        # Beyond the range of floats the other weights count for nothing, as at a weight of one.
        here = np.inf if weight >= 1 else float(np.float64(scale_of_u * weight / (1 - weight)) ** 2)
    lower, upper = _ends(square, line, constant, here)
    return _nearest(_weight_at(lower, scale_of_u), _weight_at(upper, scale_of_u), criterion, weight)


def _weight_at(u: Floats, scale: float) -> Floats:
    with np.errstate(invalid="ignore"):
        odds = np.sqrt(u) / scale
        weight = np.where(np.isinf(odds), np.inf, odds / (1 + odds))
    return np.where(np.isnan(u) | (u < 0), -np.inf, weight)


def _ends(square: Floats, line: Floats, constant: Floats, here: float) -> tuple[Floats, Floats]:
    """For each quadratic the nearest point below and above `here` beyond which it is negative; −1 and ∞ for none."""
    if np.isinf(here):
        return np.full_like(square, -1.0), np.full_like(square, np.inf)
    value = (square * here + line) * here + constant
    size = (np.abs(square) * here + np.abs(line)) * here + np.abs(constant)
    level = np.abs(value) <= _EQUAL * size
    slope = 2 * square * here + line
    first, second = _roots(square, line, constant)
    lower, upper = np.full_like(square, -1.0), np.full_like(square, np.inf)
    apart = _EQUAL * (1 + here)
    for root in (first, second):
        usable = np.isfinite(root) & (root > 0) & ~(level & (np.abs(root - here) <= 1e-6 * (1 + here)))
        lower = np.where(usable & (root < here), np.maximum(lower, root), lower)
        upper = np.where(usable & (root > here), np.minimum(upper, root), upper)
    telling = level & (size > 0)
    rising = np.where(np.abs(slope) > apart * (np.abs(square) + np.abs(line)), np.sign(slope), 0.0)
    touching = np.sign(square)
    lower = np.where(telling & ((rising > 0) | ((rising == 0) & (touching < 0))), here, lower)
    upper = np.where(telling & ((rising < 0) | ((rising == 0) & (touching < 0))), here, upper)
    return lower, upper


def _roots(square: Floats, line: Floats, constant: Floats) -> tuple[Floats, Floats]:
    """Both real roots without cancellation; not a number or infinite where there is none."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        discriminant = line * line - 4 * square * constant
        half = -0.5 * (line + np.where(line < 0, -1.0, 1.0) * np.sqrt(discriminant))
        return np.asarray(half / square, dtype=np.float64), np.asarray(constant / half, dtype=np.float64)
