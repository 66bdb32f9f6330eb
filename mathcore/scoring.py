"""Methods that give every alternative one score: weighted sum, weighted product, and VIKOR's compromise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mathcore.decision import TIE_DECIMALS, Decision, Places, best_first
from mathcore.scaling import Floats, Scaling, scaled

_LARGEST_LOGARITHM = 709.0


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The score of each alternative, more is better, the order best first, and what each criterion brings.

    `parts` is criteria × alternatives before weighting: the score is the weighted sum of it (of its logarithm's, in a
    weighted product, the exponential). Equal scores are ordered as `mathcore.decision.best_first` says.
    """

    scores: Floats
    order: Places
    parts: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Compromise:
    """VIKOR: S group utility, R worst regret and Q their compromise (less is better), the order by Q, and its verdict.

    `parts` is criteria × alternatives, the regret w (f* − f) / (f* − f⁻) of each on each: S is their sum and R the
    greatest of them, on the criterion `regretted` (the first, where several are as great; −1 where nothing is).
    `compromise` are the alternatives to agree on, best first. `advantage`: the first leads the second by 1 / (n − 1).
    `stable`: it is also the best by S or R. With both it stands alone.
    """

    utility: Floats
    regret: Floats
    compromise_index: Floats
    order: Places
    advantage: bool
    stable: bool
    compromise: Places
    parts: Floats
    regretted: Places


def wsm(
    columns: ArrayLike, weights: Sequence[float] | Floats, benefit: Sequence[bool], scaling: Scaling = "minmax"
) -> Scores:
    """Rank by the weighted sum of scaled criteria.

    `columns`: criteria × alternatives; `weights` are scaled to sum to one; `scaling` as in `mathcore.scaling.scaled`
    ("none" for raw scores, "ratio" for the linear ratio of WASPAS). Score = Σ w·r (Fishburn 1967; Triantaphyllou
    2000). An alternative never scores above one that equals or beats it everywhere. O(n·m + n·log n).
    """
    decision = Decision.checked(columns, weights, benefit)
    parts = scaled(decision.matrix, benefit, scaling)
    scores = weighted_sum(parts, decision.shares)
    return Scores(scores, best_first(scores, decision.counted()), parts)


def wpm(
    columns: ArrayLike, weights: Sequence[float] | Floats, benefit: Sequence[bool], scaling: Scaling = "ratio"
) -> Scores:
    """Rank by the weighted product of criteria.

    As `wsm`, but positive values only and a scaling that keeps them so: "ratio", "sum", or "none", where a cost
    counts as 1 / y. Score = Π r^w, computed as exp(Σ w·ln r); the order comes from the logarithms, so that products
    too small for a float still rank (Bridgman 1922; Miller and Starr 1969). The order does not depend on the scaling.
    O(n·m + n·log n).
    """
    if scaling not in ("ratio", "sum", "none"):
        raise ValueError(f"a weighted product needs positive values: scaling ratio, sum or none, not {scaling!r}")
    decision = Decision.checked(columns, weights, benefit)
    lowest = decision.extent.lowest
    if (lowest <= 0).any():
        criterion = int(np.flatnonzero(lowest <= 0)[0])
        raise ValueError(f"a weighted product needs positive values; criterion {criterion} has {lowest[criterion]:g}")
    logarithms = np.log(decision.matrix)
    logarithms *= np.where(decision.more_is_better, 1.0, -1.0)[:, None]
    if scaling != "none":
        logarithms -= logarithms.max(axis=1, keepdims=True)
    if scaling == "sum":
        logarithms -= np.log(np.exp(logarithms).sum(axis=1, keepdims=True))
    total = weighted_sum(logarithms, decision.shares)
    if total.max() > _LARGEST_LOGARITHM:
        raise ValueError("the weighted product of unscaled values is too large for a float: take scaling ratio")
    return Scores(np.exp(total), best_first(total, decision.counted()), logarithms)


def weighted_sum(parts: Floats, shares: Floats) -> Floats:
    """Σ w·r for each alternative, summed in the order of the criteria so that equal alternatives score alike."""
    total = np.zeros(parts.shape[1])
    for values, share in zip(parts, shares, strict=True):
        total += share * values
    return total


def vikor(columns: ArrayLike, weights: Sequence[float] | Floats, benefit: Sequence[bool], v: float = 0.5) -> Compromise:
    """Rank by the compromise between what is best for most criteria and the least regret on any.

    `columns`: criteria × alternatives; `v` in [0, 1] is the weight of group utility. With f* and f⁻ the best and the
    worst value: S = Σ w (f* − f) / (f* − f⁻), R = max of the same terms, Q = v (S − S*) / (S⁻ − S*) + (1 − v)
    (R − R*) / (R⁻ − R*) (Opricovic 1998; Opricovic and Tzeng 2004, with their two conditions). A criterion equal for
    all adds nothing; where S or R is equal for all, its part of Q is 0. A dominated alternative is never above its
    dominator; with v = 0 it may tie with it in Q and comes after it. O(n·m + n·log n).
    """
    if not 0 <= v <= 1:
        raise ValueError(f"v must be between 0 and 1, not {v}")
    decision = Decision.checked(columns, weights, benefit)
    regrets = 1.0 - scaled(decision.matrix, benefit, "minmax")
    regrets *= decision.shares[:, None]
    utility = weighted_sum(regrets, np.ones(regrets.shape[0]))
    regret = regrets.max(axis=0)
    index = v * _stretched(utility) + (1 - v) * _stretched(regret)
    order = best_first(-index, decision.counted())
    advantage, stable, agreed = _verdict(index, utility, regret, order)
    regretted = np.where(regret > 0, regrets.argmax(axis=0), -1)
    return Compromise(utility, regret, index, order, advantage, stable, agreed, regrets, regretted)


def _stretched(values: Floats) -> Floats:
    lowest, highest = values.min(), values.max()
    return (values - lowest) / (highest - lowest) if highest > lowest else np.zeros_like(values)


def _verdict(index: Floats, utility: Floats, regret: Floats, order: Places) -> tuple[bool, bool, Places]:
    first = order[0]
    slack = 10.0**-TIE_DECIMALS
    stable = bool(utility[first] <= utility.min() + slack or regret[first] <= regret.min() + slack)
    if order.size == 1:
        return True, stable, order
    needed = 1.0 / (order.size - 1)
    behind = index[order] - index[first]
    advantage = bool(behind[1] >= needed - slack)
    if not advantage:
        return advantage, stable, order[behind < needed - slack]
    return advantage, stable, order[:1] if stable else order[:2]
