"""Tables of what forecasts were worth: errors beside the naive ones, coverage of intervals with its noise and floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LEVELS = (0.80, 0.95)
TOLERANCE = 0.03
"""Coverage this near its nominal value is what was asked for."""
DRAWS = 1_000
BLOCK_DAYS = 30
"""Forecasts of the same 30 days meet the same events: one cluster of the calendar."""
SURE = 1.96
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One forecast against what came: relative errors, and whether, and how well, its intervals held.

    `held`, `scores` and `walk_held`, `walk_scores` (the intervals of a random walk with normal steps around the last
    price) are of the horizon's mean at 80 and 95 %, then of its last day.
    """

    series: str
    day: int
    auto: float
    naive: float
    end_auto: float
    end_naive: float
    held: tuple[bool, ...]
    scores: tuple[float, ...]
    walk_held: tuple[bool, ...]
    walk_scores: tuple[float, ...]
    fell_back: bool
    still: bool
    others: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often an interval held, its standard errors by series and by days, and the least it could have held."""

    level: float
    held: float
    by_series: float
    by_days: float
    floor: float

    @property
    def noise(self) -> float:
        """The larger standard error, of the kinds of clusters there are at least two of."""
        return float(np.nanmax([0.0, self.by_series, self.by_days]))

    def verdict(self) -> str:
        """Whether it is within three points of what it says, and if not, why that may be."""
        off = self.held - self.level
        if abs(off) <= TOLERANCE:
            return "yes"
        if off > 0 and self.floor > self.level + TOLERANCE:
            return "floor"
        if np.isnan(self.by_days):
            return "one event"
        return "noise" if abs(off) - TOLERANCE <= SURE * self.noise else "no"


def score(low: float, high: float, value: float, level: float) -> float:
    """The interval score of Gneiting and Raftery (2007) on logarithms: width, plus a fine for each miss by its size."""
    low, high, value = float(np.log(low)), float(np.log(high)), float(np.log(value))
    return high - low + 2 / (1 - level) * (max(low - value, 0.0) + max(value - high, 0.0))


def ratio(errors: Sequence[float], naive: Sequence[float]) -> float:
    """Mean error against the mean naive one; 1 where the naive forecast was exact."""
    floor = float(np.mean(naive))
    return float(np.mean(errors)) / floor if floor > 1e-12 else 1.0


def coverage(outcomes: Sequence[Outcome], at: int) -> Coverage:
    """Coverage of the interval `at` (mean 80, mean 95, last day 80, last day 95)."""
    held = np.array([one.held[at] for one in outcomes], dtype=np.float64)
    ones = np.ones(held.size)
    still = float(np.mean([one.still for one in outcomes]))
    errors = [_spread(held, ones, labels) for labels in _clusters(outcomes)]
    return Coverage(LEVELS[at % 2], float(held.mean()), errors[0], errors[1], still)


def _clusters(outcomes: Sequence[Outcome]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which series and which 30 days of the calendar each forecast belongs to."""
    _, series = np.unique([one.series for one in outcomes], return_inverse=True)
    _, days = np.unique([one.day // BLOCK_DAYS for one in outcomes], return_inverse=True)
    return series, days


def _spread(above: Floats, below: Floats, labels: NDArray[np.intp]) -> float:
    """Standard deviation of Σ above / Σ below over whole clusters drawn with replacement; NaN below two clusters.

    Draws without anything below tell nothing and are left out.
    """
    count = int(labels.max()) + 1
    if count < 2:
        return float("nan")
    sums = np.stack([np.bincount(labels, values, count) for values in (above, below)])
    drawn = sums[:, np.random.default_rng(0).integers(0, count, (DRAWS, count))].sum(axis=2)
    told = drawn[1] > 1e-12
    return float(np.std(drawn[0, told] / drawn[1, told])) if told.any() else float("nan")


def errors_table(segments: Mapping[str, Sequence[Outcome]]) -> list[str]:
    """Errors of auto beside those of the last price again."""
    lines = [
        "| market class | forecasts | series | price stood still | naive error | auto error | ratio | ± |"
        " naive error, day 30 | ratio, day 30 | stayed naive |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, outcomes in segments.items():
        auto, naive = [one.auto for one in outcomes], [one.naive for one in outcomes]
        spreads = [_spread(np.array(auto), np.array(naive), one) for one in _clusters(outcomes)]
        cells = [
            name,
            f"{len(outcomes):,}",
            f"{len({one.series for one in outcomes})}",
            f"{np.mean([one.still for one in outcomes]):.0%}",
            f"{np.mean(naive):.2%}",
            f"{np.mean(auto):.2%}",
            f"**{ratio(auto, naive):.3f}**",
            _plain(float(np.nanmax([0.0, *spreads])), "{:.3f}"),
            f"{np.mean([one.end_naive for one in outcomes]):.2%}",
            f"{ratio([one.end_auto for one in outcomes], [one.end_naive for one in outcomes]):.3f}",
            f"{np.mean([one.fell_back for one in outcomes]):.0%}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def coverage_table(segments: Mapping[str, Sequence[Outcome]]) -> list[str]:
    """Coverage of the mean's intervals and of the last day's, with noise, floor and verdict, beside a random walk's."""
    lines = [
        "| market class | floor | 80 % holds | ± series | ± days | within 3? | 95 % holds | ± series | ± days |"
        " within 3? | day 30: 80 %, 95 % | random walk: 80 %, 95 % | score against it: 80 %, 95 % |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, outcomes in segments.items():
        both = [coverage(outcomes, at) for at in (0, 1)]
        cells = [name, f"{both[0].floor:.1%}"]
        for one in both:
            errors = [_plain(100 * error, "{:.1f}") for error in (one.by_series, one.by_days)]
            cells += [f"**{one.held:.1%}**", *errors, one.verdict()]
        ends, walks = (
            np.mean([(one.held[2:] if at == 0 else one.walk_held[:2]) for one in outcomes], axis=0) for at in (0, 1)
        )
        against = np.mean([one.scores[:2] for one in outcomes], axis=0) / np.maximum(
            np.mean([one.walk_scores[:2] for one in outcomes], axis=0), 1e-12
        )
        cells += [f"{ends[0]:.1%}, {ends[1]:.1%}", f"{walks[0]:.1%}, {walks[1]:.1%}"]
        cells.append(f"{against[0]:.2f}, {against[1]:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def others_table(segments: Mapping[str, Sequence[Outcome]], methods: Sequence[str]) -> list[str]:
    """Other methods against naive on a part of the same origins."""
    lines = ["| market class | forecasts | " + " | ".join(methods) + " |", "|---|---|" + "---|" * len(methods)]
    for name, outcomes in segments.items():
        tried = [one.others for one in outcomes if one.others]
        if not tried:
            continue
        cells = []
        for method in methods:
            errors, naive = zip(*(one[method] for one in tried), strict=True)
            cells.append(f"{ratio(errors, naive):.2f}" if float(np.mean(naive)) > 1e-12 else "naive is exact")
        lines.append(f"| {name} | {len(tried)} | " + " | ".join(cells) + " |")
    return lines


def _plain(value: float, shape: str) -> str:
    return "–" if np.isnan(value) else shape.format(value)
