"""ELECTRE I: which alternatives outrank which, and the kernel that is left to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from mathcore.decision import TIE_DECIMALS, Decision, Places
from mathcore.scaling import Flags, Floats, ordinary, signed
from mathcore.solvers import scipy_part

MOST_ALTERNATIVES = 3_000
"""Every pair is compared and kept: n² numbers, twice. More alternatives are refused."""

Discordance = Literal["global_range", "criterion_range", "hwang_yoon"]
Magnitude = Literal["sum", "vector", "minmax", "none"]

_SLACK = 10.0**-TIE_DECIMALS


@dataclass(frozen=True, slots=True, eq=False)
class Outranking:
    """ELECTRE I: both indices for each pair (row against column; the diagonal is 1 and 0), and what follows.

    `outranks[a, b]`: a is at least as good as b by enough weight and nowhere too much worse. `undefeated`: outranked
    by none (what some packages call the kernel). `kernel`: Roy's kernel: no member outranks another, and each other
    alternative is outranked by a member; alternatives that outrank each other in a circle count as one, and are in or
    out together. Without circles the kernel is unique; every undefeated alternative is in it.
    """

    concordance: Floats
    discordance: Floats
    outranks: Flags
    undefeated: Places
    kernel: Places


def electre1(
    columns: ArrayLike,
    weights: Sequence[float] | Floats,
    benefit: Sequence[bool],
    concordance_at_least: float = 0.65,
    discordance_at_most: float = 0.35,
    discordance: Discordance = "global_range",
    scaling: Magnitude = "sum",
) -> Outranking:
    """Find the alternatives worth choosing from.

    `columns`: criteria × alternatives; thresholds in [0, 1], met to 12 decimals. Concordance is the weight of the
    criteria on which a is at least as good as b (Roy 1968). Discordance, where authors differ, of the criteria on
    which a is worse:
    - global_range: the largest gap over the largest range of any criterion, after `scaling` (one common scale; sum
      divides by the criterion's sum, vector by its norm, minmax by its range, which costs too: nothing is inverted);
    - criterion_range: the largest of gap over that criterion's own range; `scaling` does not matter;
    - hwang_yoon: the largest weighted gap over the largest weighted difference of the pair on any criterion (Hwang
      and Yoon 1981).
    An alternative outranks all it dominates, so no dominated one is undefeated; by the first two variants none is in
    the kernel either unless its dominator is, being part of one circle. By hwang_yoon that does not hold: its scale
    differs from pair to pair. O(n²·m) time and n² memory: ValueError above `MOST_ALTERNATIVES`.
    """
    if discordance not in get_args(Discordance):
        raise ValueError(f"unknown discordance {discordance!r}; there are {', '.join(get_args(Discordance))}")
    for name, value in (("concordance", concordance_at_least), ("discordance", discordance_at_most)):
        if not 0 <= value <= 1:
            raise ValueError(f"the {name} threshold must be between 0 and 1, not {value}")
    decision = Decision.checked(columns, weights, benefit)
    alternatives = decision.matrix.shape[1]
    if alternatives > MOST_ALTERNATIVES:
        raise ValueError(
            f"{alternatives} alternatives are too many to compare in pairs (at most {MOST_ALTERNATIVES}): "
            "use topsis or promethee, or take the leaders of one of them"
        )
    better = signed(_magnitudes(decision, scaling), decision.more_is_better)
    agreed = _concordance(better, decision.shares)
    against = _discordance(better, decision.shares, discordance)
    outranks = (agreed >= concordance_at_least - _SLACK) & (against <= discordance_at_most + _SLACK)
    np.fill_diagonal(outranks, False)
    return Outranking(agreed, against, outranks, np.flatnonzero(~outranks.any(axis=0)), _kernel(outranks))


def _magnitudes(decision: Decision, scaling: Magnitude) -> Floats:
    """Each criterion divided by its sum, norm or range, directions as they are."""
    if scaling not in get_args(Magnitude):
        raise ValueError(f"unknown scaling {scaling!r}; there are {', '.join(get_args(Magnitude))}")
    matrix, extent = ordinary(decision.matrix, decision.extent, together=scaling == "none")
    if scaling == "none":
        return matrix
    if scaling == "sum":
        if (extent.lowest < 0).any():
            criterion = int(np.flatnonzero(extent.lowest < 0)[0])
            raise ValueError(f"scaling by sums needs no negative values; criterion {criterion} has some")
        sizes = matrix.sum(axis=1)
    else:
        sizes = np.sqrt(extent.squares) if scaling == "vector" else extent.highest - extent.lowest
    return np.asarray(matrix / np.where(sizes > 0, sizes, 1.0)[:, None], dtype=np.float64)


def _concordance(better: Floats, shares: Floats) -> Floats:
    agreed = np.zeros((better.shape[1],) * 2)
    for values, share in zip(better, shares, strict=True):
        agreed += share * (values[:, None] >= values)
    # All the weight is all the weight, whatever rounding makes of the sum.
    return np.minimum(agreed, 1.0)


def _discordance(better: Floats, shares: Floats, variant: Discordance) -> Floats:
    ranges = better.max(axis=1) - better.min(axis=1)
    worst = np.zeros((better.shape[1],) * 2)
    widest = np.zeros_like(worst)
    for values, share, width in zip(better, shares, ranges, strict=True):
        gaps = values - values[:, None]
        if variant == "hwang_yoon":
            gaps *= share
            np.maximum(widest, np.abs(gaps), out=widest)
        elif variant == "criterion_range" and width > 0:
            gaps /= width
        np.maximum(worst, gaps, out=worst)
    if variant == "global_range":
        largest = float(ranges.max())
        return worst / largest if largest > 0 else worst
    if variant == "hwang_yoon":
        return np.divide(worst, widest, out=np.zeros_like(worst), where=widest > 0)
    return worst


def _kernel(outranks: Flags) -> Places:
    """Circles first made one, then from the undefeated down: in unless something that is in outranks it."""
    csr_array: Any = scipy_part("sparse").csr_array
    graph = csr_array(outranks)
    count, circle = scipy_part("sparse.csgraph").connected_components(graph, directed=True, connection="strong")
    rows, columns = graph.nonzero()
    starts, ends = circle[rows], circle[columns]
    between = csr_array(
        (np.ones(np.count_nonzero(starts != ends), dtype=bool), (starts[starts != ends], ends[starts != ends])),
        shape=(count, count),
    )
    beaten_by = between.toarray()
    inside = np.zeros(count, dtype=bool)
    settled = np.zeros(count, dtype=bool)
    while not settled.all():
        free = ~settled & ~beaten_by[~settled].any(axis=0)
        inside |= free
        settled |= free | beaten_by[free].any(axis=0)
    return np.flatnonzero(inside[circle])
