"""Exponential smoothing by its definition and from past origins."""

from __future__ import annotations

import numpy as np
import pytest

from mathcore.smoothing import Smoothing, damped_holt, ets_additive, holt, seasonal_start, simple, smooth

SEASON = np.array([3.0, 1.0, -1.0, -3.0])


def _noisy(points: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, points)


def test_simple_smoothing_with_alpha_one_is_the_last_value_and_with_zero_the_first() -> None:
    values = np.array([4.0, 6.0, 5.0])
    assert simple(values, 1.0).ahead(2).tolist() == [[5.0, 5.0]]
    assert simple(values, 0.0).ahead(1).tolist() == [[4.0]]


def test_a_straight_line_is_continued_by_holt_and_flattens_when_damped() -> None:
    line = np.asarray(5 + 0.5 * np.arange(40), dtype=np.float64)
    assert holt(line, 0.5, 0.5).ahead(3)[0] == pytest.approx([25.0, 25.5, 26.0])
    damped = smooth(line, Smoothing(0.9, 5.0, 0.5, 0.9, 0.5)).ahead(200)[0]
    steps = np.diff(damped)
    assert (steps > 0).all()
    assert steps[-1] < 1e-3 * steps[0]


def test_a_repeating_season_is_continued_exactly() -> None:
    values = np.tile(SEASON, 8) + 10
    assert seasonal_start(values, 4) == pytest.approx(SEASON)
    assert ets_additive(values, 4, "none").ahead(6)[0] == pytest.approx([13, 11, 9, 7, 13, 11], abs=1e-6)


def test_a_season_on_a_trend_is_told_from_the_trend() -> None:
    values = np.asarray(np.tile(SEASON, 8) + 10 + 0.5 * np.arange(32), dtype=np.float64)
    assert seasonal_start(values, 4) == pytest.approx(SEASON)
    assert ets_additive(values, 4, "trend").ahead(4)[0] == pytest.approx(
        10 + 0.5 * np.arange(32, 36) + SEASON, abs=1e-3
    )


@pytest.mark.parametrize("fit", [simple, holt, damped_holt])
def test_fitting_is_no_worse_than_any_parameters_we_could_name(fit: object) -> None:
    values = np.cumsum(_noisy(200)) + _noisy(200, 1) + 50
    fitted = fit(values)  # type: ignore[operator]
    guesses = [simple(values, alpha).squared_error for alpha in (0.05, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert fitted.squared_error <= min(guesses) + 1e-6


def test_a_fit_does_not_depend_on_the_unit_of_money() -> None:
    values = np.cumsum(_noisy(100)) + 50
    assert damped_holt(values * 1e-6).ahead(5) == pytest.approx(damped_holt(values).ahead(5) * 1e-6, rel=1e-3)


def test_forecasts_from_past_origins_know_nothing_later() -> None:
    values = np.tile(SEASON, 10) + 20 + np.cumsum(_noisy(40)) * 0.1
    model = ets_additive(values, 4).model
    origins = np.array([9, 20, 33])
    whole = smooth(values, model).ahead(7, origins)
    for row, origin in enumerate(origins):
        assert whole[row] == pytest.approx(smooth(values[: origin + 1], model).ahead(7)[0], rel=1e-12)


def test_a_flat_series_stays_flat() -> None:
    for fit in (simple, holt, damped_holt):
        assert fit(np.full(30, 0.1)).ahead(3)[0] == pytest.approx([0.1, 0.1, 0.1])


def test_what_cannot_be_smoothed_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha"):
        simple(np.ones(5), 1.5)
    with pytest.raises(ValueError, match="beta"):
        holt(np.ones(5), 0.5, -0.1)
    with pytest.raises(ValueError, match="at least 48"):
        ets_additive(np.ones(40), 24)
    with pytest.raises(ValueError, match="season"):
        ets_additive(np.ones(40), 1)
