"""How wide intervals are, when they are wider, and when they are a point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.backtest import naive, past_origins, replayed
from mathcore.intervals import LEAST_RATIO, WIDEST, Widths, bearing, half_widths, motion, weighted_quantiles
from tests.mathcore.price_worlds import walk


def _found(values: np.ndarray, steps: int) -> Widths:
    return half_widths(values, replayed(values, naive, past_origins(values.size), steps), steps)


def _widths(values: np.ndarray, steps: int) -> np.ndarray:
    return _found(values, steps).steps


def test_widths_never_shrink_with_the_distance_and_hold_one_another() -> None:
    for size in (2, 12, 15, 40, 300):
        widths = _widths(walk(3, size), 20)
        assert (np.diff(widths, axis=1) >= 0).all()
        assert (widths[1] >= LEAST_RATIO * widths[0] - 1e-12).all()
        assert np.isfinite(widths).all()
        assert (widths > 0).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=80), st.integers(1, 40), st.floats(0.01, 100))
def test_widths_of_any_prices_are_finite_and_the_same_in_any_currency(
    cents: list[int], steps: int, rate: float
) -> None:
    ours, theirs = (_found(np.array(cents) / 100 * factor, steps) for factor in (1.0, rate))
    for one in (ours.steps, ours.mean):
        assert ((one >= 0) & (one <= WIDEST)).all()
    assert ours.steps.shape == (2, steps)
    assert (ours.mean[1] >= ours.mean[0]).all()
    assert theirs.steps == pytest.approx(ours.steps, rel=1e-6, abs=1e-9)


def test_the_mean_of_one_step_is_that_step_and_of_more_surer_than_the_last() -> None:
    for seed in range(5):
        one, many = _found(walk(seed), 1), _found(walk(seed), 30)
        assert one.mean == pytest.approx(one.steps[:, -1])
        assert (many.mean < many.steps[:, -1]).all()


def test_a_price_that_moves_more_of_late_has_wider_intervals() -> None:
    calm, wild = np.log(walk(1, 200, 0.005)), np.log(walk(2, 40, 0.05))
    calm_now = np.exp(np.concatenate([wild - wild[-1], calm - calm[0]]))
    wild_now = np.exp(np.concatenate([calm - calm[-1], wild - wild[0]]))
    assert _widths(wild_now, 7)[0, -1] > 2 * _widths(calm_now, 7)[0, -1]


def test_motion_follows_the_moves_and_its_size_is_never_zero() -> None:
    seen = motion(np.array([1.0] * 50 + [1.5, 1.0] * 10))
    assert (seen.sizes > 0).all()
    assert seen.sizes[-1] > 10 * seen.sizes[49]
    assert seen.activity[49] < 0.01
    # Twenty steps are the half-life: half of the weight has seen only moves, the other half none.
    assert seen.activity[-1] == pytest.approx(0.6, abs=0.05)


def test_a_price_that_stood_still_has_a_narrow_interval_and_a_short_history_a_wide_one() -> None:
    assert _widths(np.full(200, 2.0), 30)[0].max() == 0
    assert _widths(np.array([2.0, 2.0]), 1)[0, 0] > 0.05


def test_the_longer_a_price_stood_the_surer_it_stands() -> None:
    # Six windows of thirty steps without a move cannot tell what one window in twenty does; thirty can.
    assert _widths(np.full(200, 2.0), 30)[1, -1] > 0
    assert _widths(np.full(1000, 2.0), 30)[1].max() == 0
    woken = np.concatenate([np.full(190, 2.0), [2.1] * 10])
    assert _widths(woken, 30)[0, -1] > 0


def test_errors_of_moments_like_now_weigh_more_and_so_do_recent_ones() -> None:
    still, lively = np.full(150, 2.0), walk(5, 150)
    values = np.concatenate([lively * 2.0 / lively[-1], still, lively * 2.0 / lively[0]])
    weights = bearing(values, np.array([100, 200, 420])).weights
    assert weights[2] > weights[0] > weights[1]
    assert bearing(values, np.zeros(0, dtype=np.int64)).weights.size == 0


def test_equal_weights_give_the_quantiles_of_hazen() -> None:
    scores = np.random.default_rng(1).exponential(size=(60, 3))
    found = weighted_quantiles(scores, np.full(scores.shape, 0.3), (0.1, 0.5, 0.8))
    assert found == pytest.approx(np.quantile(scores, (0.1, 0.5, 0.8), axis=0, method="hazen"))
    doubled = np.where(np.arange(60)[:, None] < 30, 2.0, 1.0) * np.ones((60, 3))
    twice = weighted_quantiles(np.concatenate([scores, scores[:30]]), np.ones((90, 3)), (0.5,))
    assert weighted_quantiles(scores, doubled, (0.5,)) == pytest.approx(twice, rel=0.05)


@pytest.mark.parametrize(("jumpy", "size"), [(False, 0.02), (True, 0.02), (False, 0.002)])
def test_on_prices_of_known_truth_the_intervals_hold_about_what_they_say(jumpy: bool, size: float) -> None:
    dice = np.random.default_rng(7)
    held = []
    for _ in range(400):
        moves = dice.standard_t(3, 307) if jumpy else dice.normal(size=307)
        values = 3 * np.exp(np.cumsum(moves * size))
        found = _widths(values[:300], 7)[:, -1]
        held.append(abs(np.log(values[306] / values[299])) <= found)
    at_80, at_95 = np.mean(held, axis=0)
    # Usual errors have heavier tails than these, so the intervals may hold more, hardly less.
    assert 0.77 <= at_80 <= 0.88
    assert 0.93 <= at_95 <= 0.99
