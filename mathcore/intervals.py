"""Prediction intervals from a method's own past errors, wider where the price moves more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mathcore.backtest import Replay

LEVELS = (0.80, 0.95)
HALF_LIFE = 20
"""Steps over which the local size of the moves is averaged."""
LONG_RUN, CALM = 0.3, 0.003
"""Added to the local size: a share of the long-run one, and an absolute 0.3 % for prices that stood still."""
ENOUGH = 6.0
"""Independent windows below which a distance borrows from shorter ones."""
GROWTH = 0.75
"""Errors grow with this power of the distance: between independent steps (0.5) and a trend missed (1)."""
TAIL = 2.8
"""The least ratio of the 95 % to the 80 % half-width; 1.53 for normal errors, prices that jump have more."""
WIDEST = float(np.log(100.0))


@dataclass(frozen=True, slots=True)
class Widths:
    """Half-widths in logarithms: for each step ahead, and for the mean over all of them; levels × steps, levels."""

    steps: NDArray[np.float64]
    mean: NDArray[np.float64]


def half_widths(values: NDArray[np.float64], replay: Replay, steps: int) -> Widths:
    """Half-widths at 80 and 95 % for 1…`steps` steps ahead and for their mean.

    Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018) on the absolute log errors of the replay, for
    each distance apart: the quantile at p·(1 + 1/m), m the number of windows that do not overlap. Taken twice, of
    the errors as they were and of the errors against the local size of the moves then, times the size now; the wider
    one counts. A distance with fewer than six such windows borrows from the longest that has them, growing with
    its power 0.75. Never narrower further out. O(origins·steps·log origins).
    """
    sizes = local_sizes(values)
    if replay.origins.size == 0:
        return _from_size(float(sizes[-1]), steps)
    errors = np.abs(np.log(replay.actual / replay.paths))
    spacing = float(np.median(np.diff(replay.origins))) if replay.origins.size > 1 else 1.0
    weights, now = sizes[replay.origins], float(sizes[-1])
    ahead = _borrowed(errors, weights, now, spacing)
    return Widths(np.maximum.accumulate(ahead, axis=1), _mean_widths(replay, weights, now, spacing, steps))


def local_sizes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """After each value how much the price moves in a step: exponentially weighted mean |log return|, never 0."""
    moves = np.abs(np.diff(np.log(values)))
    decay = 0.5 ** (1 / HALF_LIFE)
    local, seen, sizes = 0.0, 0.0, [0.0]
    for move in moves.tolist():
        local = decay * local + (1 - decay) * move
        # Few moves have less than the whole weight.
        seen = decay * seen + (1 - decay)
        sizes.append(local / seen)
    long_run = np.concatenate([[0.0], np.cumsum(moves) / np.arange(1, moves.size + 1)])
    return np.asarray(np.array(sizes) + LONG_RUN * long_run + CALM, dtype=np.float64)


def _borrowed(
    errors: NDArray[np.float64], weights: NDArray[np.float64], now: float, spacing: float
) -> NDArray[np.float64]:
    steps = errors.shape[1]
    known = (~np.isnan(errors)).sum(axis=0)
    windows = known * spacing / np.arange(1, steps + 1)
    widths = np.array([_from_errors(errors[: known[at], at], weights, now, windows[at]) for at in range(steps)]).T
    enough = np.flatnonzero(windows >= ENOUGH)
    last = int(enough[-1]) if enough.size else 0
    growth = (np.arange(last + 1, steps + 1) / (last + 1)) ** GROWTH
    widths[:, last:] = np.maximum(widths[:, last:], widths[:, last : last + 1] * growth)
    return np.asarray(np.minimum(widths, WIDEST), dtype=np.float64)


def _mean_widths(
    replay: Replay, weights: NDArray[np.float64], now: float, spacing: float, steps: int
) -> NDArray[np.float64]:
    """The same for the mean over the horizon, itself a window; a shorter one where there are too few of it."""
    longest = max(1, int(replay.origins.size * spacing / ENOUGH))
    widths = np.zeros(len(LEVELS))
    for window in {min(steps, longest), steps}:
        known = ~np.isnan(replay.actual[:, window - 1])
        count = int(known.sum())
        if count == 0:
            continue
        actual, said = replay.actual[known, :window].mean(axis=1), replay.paths[known, :window].mean(axis=1)
        found = _from_errors(np.abs(np.log(actual / said)), weights, now, count * spacing / window)
        widths = np.maximum(widths, found * (steps / window) ** GROWTH)
    return np.asarray(np.minimum(widths, WIDEST), dtype=np.float64)


def _from_errors(
    errors: NDArray[np.float64], weights: NDArray[np.float64], now: float, windows: float
) -> NDArray[np.float64]:
    """Half-widths from both scores; origins are oldest first, so the known ones lead."""
    if errors.size == 0:
        return np.zeros(len(LEVELS))
    asked = [min(1.0, level * (1 + 1 / max(windows, 1e-9))) for level in LEVELS]
    plain = np.quantile(errors, asked)
    scaled = np.quantile(errors / weights[: errors.size], asked) * now
    narrow = float(plain[0] + scaled[0]) / 2
    return np.array([narrow, max(plain[1], scaled[1], TAIL * narrow)])


def _from_size(size: float, steps: int) -> Widths:
    """Without any past error: the usual move, growing with the distance, 1.28 and 2.8 times that wide."""
    growth = np.arange(1, steps + 1) ** GROWTH
    narrow = 1.2816 * max(size, 0.05) * growth
    widths = np.minimum(np.stack([narrow, TAIL * narrow]), WIDEST)
    return Widths(widths, widths[:, -1].copy())
