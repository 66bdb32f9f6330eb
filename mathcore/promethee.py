"""PROMETHEE I and II: how much each alternative is preferred to the others, and they to it, criterion by criterion.

Brans and Vincke (1985), flows as means over the n − 1 others. Each of the six preference functions is of one
criterion's difference d, and never falls as d grows. All but the Gaussian are made of steps and straight lines, so
what an alternative gains over all others follows from counts and sums over the sorted values: O(n·log n), where
comparing the pairs is O(n²).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mathcore.decision import Decision, Places, best_first
from mathcore.figures import not_negative
from mathcore.scaling import Flags, Floats, signed
from mathcore.scoring import weighted_sum

MOST_GAUSSIAN_VALUES = 5_000
"""Different values of a criterion with a Gaussian preference: their pairs are compared."""
MOST_PAIRED = 3_000
"""Alternatives whose pairs are kept in a matrix: preference indices, and the partial order."""

LARGEST = 1e150
"""Values beyond are refused: sums of their differences could overflow."""

Form = Literal["usual", "u-shape", "v-shape", "level", "linear", "gaussian"]


@dataclass(frozen=True, slots=True)
class Preference:
    """How much a difference d > 0 in one criterion is worth, from 0 to 1.

    usual: 1 at once. u-shape: 1 above q. v-shape: d / p up to p. level: ½ above q, 1 above p. linear: from 0 at q
    straight to 1 at p (with q = p a u-shape). gaussian: 1 − exp(−d² / 2s²). q, p and s are in the criterion's own
    unit. Raises ValueError for a threshold that is not finite, q < 0, p < q, or p or s not positive where needed.
    """

    form: Form = "usual"
    q: float = 0.0
    p: float = 0.0
    s: float = 0.0

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            raise ValueError(f"unknown preference {self.form!r}; there are {', '.join(get_args(Form))}")
        for name in ("q", "p", "s"):
            value = getattr(self, name)
            not_negative(**{f"{name} of a preference": value})
        if self.form in ("level", "linear") and self.p < self.q:
            raise ValueError(f"p must not be below q; they are {self.p:g} and {self.q:g}")
        if self.form == "v-shape" and self.p <= 0:
            raise ValueError("a v-shape needs p above 0")
        if self.form == "gaussian" and self.s <= 0:
            raise ValueError("a gaussian needs s above 0")

    def of(self, difference: Floats) -> Floats:
        """The preference for each difference; none where it is not above zero."""
        if self.form == "gaussian":
            ahead = np.minimum(np.maximum(difference, 0.0) / self.s, 1e9)
            return np.asarray(-np.expm1(-0.5 * ahead * ahead), dtype=np.float64)
        low, high = self.thresholds()
        if self.form == "level":
            return 0.5 * (difference > low) + 0.5 * (difference > high)
        if low == high:
            return np.asarray(difference > low, dtype=np.float64)
        return np.clip((difference - low) / (high - low), 0.0, 1.0)

    def thresholds(self) -> tuple[float, float]:
        """Up to the first difference nothing is preferred, above the second everything."""
        low = 0.0 if self.form in ("usual", "v-shape") else self.q
        return low, self.p if self.form in ("v-shape", "level", "linear") else low


@dataclass(frozen=True, slots=True, eq=False)
class Flows:
    """PROMETHEE II: positive, negative and net flow of each alternative, and the order by net flow, best first.

    `parts` is criteria × alternatives, the net flow on each single criterion: net is their weighted sum.
    """

    positive: Floats
    negative: Floats
    net: Floats
    order: Places
    parts: Floats


@dataclass(frozen=True, slots=True, eq=False)
class PartialOrder:
    """PROMETHEE I: for each pair (row, column) whether it is preferred, equal, or cannot be compared."""

    preferred: Flags
    indifferent: Flags
    incomparable: Flags


def promethee(
    columns: ArrayLike,
    weights: Sequence[float] | Floats,
    benefit: Sequence[bool],
    preferences: Sequence[Preference] | None = None,
) -> Flows:
    """Rank by net outranking flow (PROMETHEE II).

    `columns`: criteria × alternatives; `preferences`: one for each criterion, "usual" unless said. φ⁺ is the mean
    preference over the n − 1 others, φ⁻ the mean of theirs, φ = φ⁺ − φ⁻; one alternative alone has flows 0. No
    alternative comes after one that it equals or beats everywhere. O(n·m·log n); a Gaussian criterion compares its
    different values in pairs, ValueError above `MOST_GAUSSIAN_VALUES`.
    """
    decision = Decision.checked(columns, weights, benefit)
    chosen = _chosen(preferences, decision.matrix.shape[0])
    better = _better(decision)
    gained, lost = np.empty_like(better), np.empty_like(better)
    for at, (values, preference) in enumerate(zip(better, chosen, strict=True)):
        gained[at], lost[at] = _flows(values, preference)
    others = max(1, better.shape[1] - 1)
    gained /= others
    lost /= others
    positive, negative = weighted_sum(gained, decision.shares), weighted_sum(lost, decision.shares)
    net = positive - negative
    return Flows(positive, negative, net, best_first(net, decision.counted()), gained - lost)


def preference_indices(
    columns: ArrayLike,
    weights: Sequence[float] | Floats,
    benefit: Sequence[bool],
    preferences: Sequence[Preference] | None = None,
) -> Floats:
    """π(a, b): how much row a is preferred to column b over all criteria, 0 to 1. O(n²·m), at most `MOST_PAIRED`."""
    decision = Decision.checked(columns, weights, benefit)
    _refuse_pairs(decision.matrix.shape[1])
    better = _better(decision)
    total = np.zeros((better.shape[1],) * 2)
    for values, share, preference in zip(better, decision.shares, _chosen(preferences, len(better)), strict=True):
        total += share * preference.of(values[:, None] - values)
    return total


def partial_order(flows: Flows) -> PartialOrder:
    """PROMETHEE I: a is preferred to b when neither flow speaks against it and one speaks for it.

    Both flows equal (to 12 decimals): indifferent; the flows disagree: incomparable. O(n²), at most `MOST_PAIRED`.
    """
    _refuse_pairs(flows.net.size)
    gained, lost = np.round(flows.positive, 12), np.round(flows.negative, 12)
    no_worse = (gained[:, None] >= gained) & (lost[:, None] <= lost)
    return PartialOrder(no_worse & ~no_worse.T, no_worse & no_worse.T, ~no_worse & ~no_worse.T)


def _better(decision: Decision) -> Floats:
    sizes = np.maximum(np.abs(decision.extent.lowest), np.abs(decision.extent.highest))
    if (sizes > LARGEST).any():
        criterion = int(np.argmax(sizes))
        raise ValueError(
            f"criterion {criterion} has a value of size {sizes[criterion]:g}; "
            f"differences are taken up to {LARGEST:g}: state it in a larger unit"
        )
    return signed(decision.matrix, decision.more_is_better)


def _chosen(preferences: Sequence[Preference] | None, criteria: int) -> Sequence[Preference]:
    if preferences is None:
        return [Preference()] * criteria
    if len(preferences) != criteria:
        raise ValueError(f"{criteria} criteria and {len(preferences)} preferences do not match")
    return preferences


def _refuse_pairs(alternatives: int) -> None:
    if alternatives > MOST_PAIRED:
        raise ValueError(
            f"{alternatives} alternatives are too many for a matrix of pairs (at most {MOST_PAIRED}): "
            "use the flows of promethee, which need no pairs"
        )


def _flows(values: Floats, preference: Preference) -> tuple[Floats, Floats]:
    """Of one criterion, for each alternative, the sum of its preferences over the others, and of theirs over it."""
    steps, at, counts = np.unique(values, return_inverse=True, return_counts=True)
    sums = _gaussian if preference.form == "gaussian" else _piecewise
    gained, lost = sums(steps, counts, preference)
    # Flows never fall as the value grows; rounding must not make them.
    return np.maximum.accumulate(gained)[at], np.maximum.accumulate(lost[::-1])[::-1][at]


def _piecewise(steps: Floats, counts: NDArray[np.intp], preference: Preference) -> tuple[Floats, Floats]:
    """For each of the rising values, each there as often as counted, both sums by counting and running sums."""
    low, high = preference.thresholds()
    before = np.concatenate(([0], np.cumsum(counts)))
    beats_low, beaten_low = _reach(steps, low)
    gained, lost = before[beats_low], before[-1] - before[beaten_low]
    if low == high:
        return gained.astype(np.float64), lost.astype(np.float64)
    beats_high, beaten_high = _reach(steps, high)
    wholly_gained, wholly_lost = before[beats_high], before[-1] - before[beaten_high]
    if preference.form == "level":
        return 0.5 * (gained + wholly_gained), 0.5 * (lost + wholly_lost)
    # Between the thresholds: Σ (d − low) / (high − low), from sums over the values on that side.
    heights = steps - steps[0]
    running, missed = _sums(heights, counts)
    below = running[beats_low] - running[beats_high] + (missed[beats_low] - missed[beats_high])
    above = running[beaten_high] - running[beaten_low] + (missed[beaten_high] - missed[beaten_low])
    within_gained, within_lost = gained - wholly_gained, lost - wholly_lost
    partly_gained = (within_gained * (heights - low) - below) / (high - low)
    partly_lost = (above - within_lost * (heights + low)) / (high - low)
    return (
        wholly_gained + np.clip(partly_gained, 0.0, within_gained),
        wholly_lost + np.clip(partly_lost, 0.0, within_lost),
    )


def _reach(steps: Floats, threshold: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each of the rising values how many it exceeds by more than the threshold, and which first exceeds it so."""
    beats = _beaten_by_more(steps, threshold)
    # The first that beats more than those before me beats me.
    return beats, np.cumsum(np.bincount(beats, minlength=steps.size + 1))[: steps.size]


def _beaten_by_more(steps: Floats, threshold: float) -> NDArray[np.intp]:
    """For each of the rising values how many of them it exceeds by more than the threshold, as subtraction sees it."""
    found = np.searchsorted(steps, steps - threshold, side="left")
    # value − threshold is rounded otherwise than value − other: mend the few that differ.
    while True:
        more = (found < steps.size) & (steps - steps[np.minimum(found, steps.size - 1)] > threshold)
        less = (found > 0) & ~(steps - steps[np.maximum(found - 1, 0)] > threshold)
        if not (more.any() or less.any()):
            return np.asarray(found, dtype=np.intp)
        found = found + more - less


def _sums(values: Floats, counts: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Running sums and, apart, what rounding left out of them: differences of two of them lose nothing."""
    terms = values * counts
    running = np.concatenate(([0.0], np.cumsum(terms)))
    before, after = running[:-1], running[1:]
    taken = after - before
    missed = (before - (after - taken)) + (terms - taken)
    return running, np.concatenate(([0.0], np.cumsum(missed)))


def _gaussian(steps: Floats, counts: NDArray[np.intp], preference: Preference) -> tuple[Floats, Floats]:
    """Both sums by comparing each pair of different values once, some rows at a time."""
    if steps.size > MOST_GAUSSIAN_VALUES:
        raise ValueError(
            f"a gaussian preference compares pairs: {steps.size} different values are too many (at most "
            f"{MOST_GAUSSIAN_VALUES}); use a linear one, with q = s / 2 and p = 2s, or round the values"
        )
    gained, lost = np.empty(steps.size), np.zeros(steps.size)
    for start in range(0, steps.size, 256):
        rows = slice(start, min(start + 256, steps.size))
        preferred = preference.of(steps[rows, None] - steps[: rows.stop])
        gained[rows] = (preferred * counts[: rows.stop]).sum(axis=1)
        lost[: rows.stop] += (preferred * counts[rows, None]).sum(axis=0)
    return gained, lost
