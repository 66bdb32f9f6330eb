"""Why a score is what it is, and why an alternative lost: the part of each criterion, summing to the whole exactly.

A part is the criterion's Shapley value (1953): what it adds when criteria are switched one by one from one alternative
to another, averaged over every sequence. Of all divisions that sum to the whole it is the one that treats criteria
alike and gives none to a criterion that changes nothing. For a weighted sum it is w·(r − r'), as one would expect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np
from numpy.typing import ArrayLike

from mathcore.decision import Decision, Places
from mathcore.figures import numbers
from mathcore.scaling import Floats, Scaling, finite_matrix
from mathcore.scoring import wsm
from mathcore.topsis import Separation, topsis

MOST_CRITERIA = 12
"""Every subset of the criteria is scored: 2^m of them for each alternative."""
MOST_EXPLAINED = 1_000
_LARGEST_PART = 1e300

Score = Callable[[Floats], Floats]
"""From profiles, criteria × k, to their k scores."""


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Of each explained alternative the score, what each criterion brings to it, and where it lost to the winner.

    `contributions` (criteria × alternatives) sum to the score less that of the worst value on every criterion (which
    is 0 in TOPSIS, or 0.5 when nothing differs). `losses` (the same shape) sum to how far the winner is ahead: above
    zero where the winner won, below where it lost. Columns are in the order of `alternatives`.
    """

    alternatives: Places
    winner: int
    scores: Floats
    contributions: Floats
    losses: Floats


def shapley(score: Score, profiles: ArrayLike, reference: ArrayLike) -> Floats:
    """The part each criterion has in the difference between the score of each profile and that of the reference.

    `profiles`: criteria × alternatives; `reference`: one value for each criterion. Each column of the result sums to
    score(profile) − score(reference). Raises ValueError above `MOST_CRITERIA` or `MOST_EXPLAINED`. O(2^m·m·n).
    """
    matrix = finite_matrix(profiles)
    criteria, alternatives = matrix.shape
    base = finite_matrix(np.atleast_2d(numbers(reference, "the reference")))[0]
    if base.size != criteria:
        raise ValueError(f"profiles of {criteria} criteria and a reference of {base.size} do not match")
    if criteria > MOST_CRITERIA:
        raise ValueError(f"{criteria} criteria are too many to explain (at most {MOST_CRITERIA}): leave the light out")
    if alternatives > MOST_EXPLAINED:
        raise ValueError(f"{alternatives} alternatives are too many to explain (at most {MOST_EXPLAINED}): name a few")
    subsets = np.arange(2**criteria)
    inside = (subsets[:, None] >> np.arange(criteria)) & 1 == 1
    worth = np.empty((subsets.size, alternatives))
    for subset, chosen in enumerate(inside):
        worth[subset] = score(np.where(chosen[:, None], matrix, base[:, None]))
    sizes = inside.sum(axis=1)
    share = np.array(
        [factorial(size) * factorial(criteria - size - 1) / factorial(criteria) for size in range(criteria)]
    )
    parts = np.empty_like(matrix)
    for criterion in range(criteria):
        without = subsets[~inside[:, criterion]]
        gained = worth[without | (1 << criterion)] - worth[without]
        parts[criterion] = share[sizes[without]] @ gained
    return parts


def explain_topsis(
    columns: ArrayLike,
    weights: Sequence[float] | Floats,
    benefit: Sequence[bool],
    alternatives: Sequence[int] | None = None,
) -> Explanation:
    """Explain TOPSIS scores and why each of the `alternatives` (all, unless said) lost.

    The reference points are those of the whole matrix. Closeness is no sum over the criteria, so its parts are
    Shapley values: exact, and symmetric between alternatives. Errors and complexity as `shapley`, after one `topsis`.
    """
    decision = Decision.checked(columns, weights, benefit)
    winner = int(topsis(decision.matrix, decision.shares, benefit, top_k=1).order[0])
    chosen = _chosen(alternatives, decision.matrix.shape[1])
    separation = Separation(decision)
    profiles = separation.matrix[:, chosen]
    return Explanation(
        chosen,
        winner,
        separation.scores_of(profiles),
        shapley(separation.scores_of, profiles, separation.worst),
        -shapley(separation.scores_of, profiles, separation.matrix[:, winner]),
    )


def explain_wsm(
    columns: ArrayLike,
    weights: Sequence[float] | Floats,
    benefit: Sequence[bool],
    scaling: Scaling = "minmax",
    alternatives: Sequence[int] | None = None,
) -> Explanation:
    """Explain weighted sums and why each of the `alternatives` (all, unless said) lost.

    Parts are w·(r − worst r) and losses w·(r of the winner − r): Shapley values of a sum, without the subsets. O(n·m).
    """
    decision = Decision.checked(columns, weights, benefit)
    found = wsm(decision.matrix, decision.shares, benefit, scaling)
    winner = int(found.order[0])
    chosen = _chosen(alternatives, decision.matrix.shape[1])
    weighted = found.parts * decision.shares[:, None]
    if np.abs(weighted).max() > _LARGEST_PART:
        raise ValueError("differences of these values overflow: state the criteria in larger units, or scale them")
    return Explanation(
        chosen,
        winner,
        found.scores[chosen],
        weighted[:, chosen] - weighted.min(axis=1, keepdims=True),
        weighted[:, winner : winner + 1] - weighted[:, chosen],
    )


def _chosen(alternatives: Sequence[int] | None, size: int) -> Places:
    if alternatives is None:
        return np.arange(size)
    try:
        chosen = np.asarray(alternatives, dtype=np.intp)
    except OverflowError:
        chosen = np.array([-1])
    if chosen.ndim != 1 or chosen.size == 0 or chosen.min() < 0 or chosen.max() >= size:
        raise ValueError(f"alternatives to explain must be among 0 … {size - 1}, not {list(alternatives)}")
    return chosen
