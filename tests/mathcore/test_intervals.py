"""How wide intervals are, and when wider."""

from __future__ import annotations

import numpy as np

from mathcore.backtest import naive, past_origins, replayed
from mathcore.intervals import TAIL, half_widths, local_sizes
from tests.mathcore.price_worlds import walk


def _widths(values: np.ndarray, steps: int) -> np.ndarray:
    return half_widths(values, replayed(values, naive, past_origins(values.size), steps), steps).steps


def test_widths_never_shrink_with_the_distance_and_hold_one_another() -> None:
    for size in (2, 12, 15, 40, 300):
        widths = _widths(walk(3, size), 20)
        assert (np.diff(widths, axis=1) >= 0).all()
        assert (widths[1] >= TAIL * widths[0] - 1e-12).all()
        assert np.isfinite(widths).all()
        assert (widths > 0).all()


def test_a_price_that_moves_more_of_late_has_wider_intervals() -> None:
    calm, wild = np.log(walk(1, 200, 0.005)), np.log(walk(2, 40, 0.05))
    calm_now = np.exp(np.concatenate([wild - wild[-1], calm - calm[0]]))
    wild_now = np.exp(np.concatenate([calm - calm[-1], wild - wild[0]]))
    assert _widths(wild_now, 7)[0, -1] > 2 * _widths(calm_now, 7)[0, -1]


def test_the_local_size_follows_the_moves_and_is_never_zero() -> None:
    sizes = local_sizes(np.array([1.0] * 50 + [1.5, 1.0] * 10))
    assert (sizes > 0).all()
    assert sizes[-1] > 10 * sizes[49]


def test_a_price_that_stood_still_has_a_narrow_interval_and_a_short_history_a_wide_one() -> None:
    assert _widths(np.full(200, 2.0), 30)[1].max() == 0
    assert _widths(np.array([2.0, 2.0]), 1)[0, 0] > 0.05
