"""Prediction intervals from a method's own past errors and, where these are few, from how prices usually err."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gamma

import numpy as np
from numpy.typing import NDArray

from mathcore.backtest import Replay

Floats = NDArray[np.float64]
LEVELS = (0.80, 0.95)
HALF_LIFE = 20
"""Steps over which the local size of the moves, and the share of steps that move, are averaged."""
FIRST_SIZE, FIRST_ACTIVITY = 0.03, 0.5
"""What counts as seen, with the weight of one step, before the first move is."""
CALM, UNSURE = 0.003, 0.015
"""Added to the local size: 0.3 % always, and up to 1.5 % for a price that hardly moved, whose moves are unknown."""
ENOUGH = 6.0
"""Windows that do not overlap from which past surprises alone tell a distribution (`mathcore.waiting`)."""
RECENCY, LIKENESS = 120, 0.2
"""A past error's weight halves in 120 steps, and falls by e for each 0.2 between the activity then and now."""
USUAL_WEIGHT, SCALE_WEIGHT = 10.0, 20.0
"""The usual errors count as ten windows; their scale gives way to the price's own as if it were known from 20."""
USUAL_SCALE, GROWTH, HEAVY = 0.6, 0.8, 0.5
"""Usual errors: an exponential law of 0.6 local sizes, growing with the distance's power 0.8, to the power 1.5 where
the price stands still and 1 where it moves each step."""
WAKING = 15.0
"""A price that stood s steps stands h more with (15 + s) / (15 + s + h): the longer it stood, the longer it will."""
USUAL_POINTS = 40
LEAST_RATIO = 1.53
"""The least ratio of the 95 % to the 80 % half-width, that of normal errors."""
UNKNOWN_SIZE = 0.08
"""The least local size without any past error."""
STANDING = 1e-6
"""Errors below this share of the local size are none: the price did not move."""
WIDEST = float(np.log(100.0))


@dataclass(frozen=True, slots=True)
class Widths:
    """Half-widths in logarithms: for each step ahead, and for the mean over all of them; levels × steps, levels."""

    steps: Floats
    mean: Floats


@dataclass(frozen=True, slots=True)
class Motion:
    """After each value, how much the price moves in a step (never 0), the share of steps that move, both of late."""

    sizes: Floats
    activity: Floats


@dataclass(frozen=True, slots=True)
class Bearing:
    """What a past moment's error bears on now: the size of moves now against then, and its weight, by origin."""

    size: float
    activity: float
    relative: Floats
    weights: Floats


def half_widths(values: Floats, replay: Replay, steps: int) -> Widths:
    """Half-widths at 80 and 95 % for 1…`steps` steps ahead and for their mean.

    Conformal prediction with weights (Barber, Candès, Ramdas & Tibshirani 2023) on the absolute log errors of the
    replay, for each distance apart, divided by the local size of the moves then and times the size now. Errors of
    windows that overlap share one weight; it is larger for recent ones and for moments when the price was as active as
    now. Where these are few, the usual errors of prices (`_usual`) fill up. A price that is likelier to stand still
    than the level asks for has an interval that is a point. Never narrower further out. O(origins·steps·log origins).
    """
    now = bearing(values, replay.origins)
    growth = np.arange(1.0, steps + 1) ** GROWTH
    ahead = _widths(np.abs(np.log(replay.actual / replay.paths)), values, now, growth)
    said, actual = (np.cumsum(one, axis=1) for one in (replay.paths, replay.actual))
    mean_growth = np.cumsum(growth) / np.arange(1, steps + 1)
    mean = _widths(np.abs(np.log(actual / said)), values, now, mean_growth)
    return Widths(np.maximum.accumulate(ahead, axis=1), mean[:, -1])


def motion(values: Floats) -> Motion:
    """Exponentially weighted mean |log return| and share of steps with a move, after each value. O(n)."""
    moves = np.abs(np.diff(np.log(values)))
    decay = 0.5 ** (1 / HALF_LIFE)
    size, active, seen = FIRST_SIZE, FIRST_ACTIVITY, 1.0
    sizes, activity = [size], [active]
    for move in moves.tolist():
        size, active, seen = decay * size + move, decay * active + (move > 0), decay * seen + 1
        sizes.append(size / seen)
        activity.append(active / seen)
    shares = np.array(activity)
    return Motion(np.array(sizes) + CALM + UNSURE * (1 - shares), shares)


def bearing(values: Floats, origins: NDArray[np.int64]) -> Bearing:
    """How the errors from these origins bear on a forecast made after the last value; none without origins."""
    seen = motion(values)
    size, activity = float(seen.sizes[-1]), float(seen.activity[-1])
    if origins.size == 0:
        # Nothing tells yet that a price that stood will stand again.
        return Bearing(max(size, UNKNOWN_SIZE), 1.0, np.zeros(0), np.zeros(0))
    spacing = float(np.median(np.diff(origins))) if origins.size > 1 else 1.0
    likeness = np.exp(-np.abs(seen.activity[origins] - activity) / LIKENESS)
    weights = likeness * 0.5 ** ((values.size - 1 - origins) / RECENCY) * spacing
    return Bearing(size, activity, size / seen.sizes[origins], weights)


def weighted_quantiles(scores: Floats, weights: Floats, levels: Sequence[float]) -> Floats:
    """Quantiles of each column, levels × columns, linear between the middles of the weights. O(rows log rows) each."""
    order = np.argsort(scores, axis=0)
    scores, weights = np.take_along_axis(scores, order, axis=0), np.take_along_axis(weights, order, axis=0)
    below = np.cumsum(weights, axis=0)
    middles = (below - weights / 2) / below[-1]
    columns = np.arange(scores.shape[1])
    found = []
    for level in levels:
        after = np.clip((middles < level).sum(axis=0), 1, scores.shape[0] - 1)
        low, high = middles[after - 1, columns], middles[after, columns]
        part = np.clip((level - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
        found.append(scores[after - 1, columns] * (1 - part) + scores[after, columns] * part)
    return np.stack(found)


def _widths(errors: Floats, values: Floats, now: Bearing, growth: Floats) -> Floats:
    """Half-widths, levels × distances, from absolute log errors, origins × distances, NaN where none has come."""
    known = ~np.isnan(errors)
    scores = np.where(known, errors, 0.0) * now.relative[:, None]
    weights = np.where(known, now.weights[:, None] / np.arange(1, errors.shape[1] + 1), 0.0)
    usual = _usual(scores, weights, values, now, growth)
    filled = np.full(usual.shape, USUAL_WEIGHT / USUAL_POINTS)
    found = weighted_quantiles(np.concatenate([scores, usual]), np.concatenate([weights, filled]), LEVELS)
    found[1] = np.maximum(found[1], LEAST_RATIO * found[0])
    return np.asarray(np.minimum(found, WIDEST), dtype=np.float64)


def _usual(scores: Floats, weights: Floats, values: Floats, now: Bearing, growth: Floats) -> Floats:
    """Quantiles of the usual errors, points × distances: none while the price stands, else exponential.

    That a price stood for s steps makes its rate of moving a gamma one (1, 15 + s): hence the chance to stand. The
    scale starts from the usual one and moves to the price's own, distance by distance, each from the one before.
    """
    distances = np.arange(1, growth.size + 1)
    moves = np.flatnonzero(np.diff(values))
    stood = values.size - 1 - (int(moves[-1]) + 1 if moves.size else 0)
    stands = (1 - now.activity) * (WAKING + stood) / (WAKING + stood + distances)
    power = 1 + HEAVY * (1 - now.activity)
    scales = USUAL_SCALE * now.size * growth
    left = (1 - (np.arange(USUAL_POINTS) + 0.5) / USUAL_POINTS)[:, None]
    shape = np.maximum(np.log((1 - stands) / left), 0.0) ** power
    moved = (weights * (scores > STANDING * now.size)).sum(axis=0)
    # An exponential variable to a power has the mean Γ(1 + power).
    against = (weights * scores).sum(axis=0) / (scales * gamma(1 + power))
    factor, factors = 1.0, []
    for mass, total in zip(moved.tolist(), against.tolist(), strict=True):
        factor = (SCALE_WEIGHT * factor + total) / (SCALE_WEIGHT + mass)
        factors.append(factor)
    return np.asarray(scales * np.array(factors) * shape, dtype=np.float64)
