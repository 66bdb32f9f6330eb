"""ARIMA models of processes whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mathcore.arima import arima, chosen_arima, kpss


def _ar1(points: int, coefficient: float, seed: int = 0) -> np.ndarray:
    shocks = np.random.default_rng(seed).normal(size=points)
    values = np.zeros(points)
    for at in range(1, points):
        values[at] = coefficient * values[at - 1] + shocks[at]
    return values


def test_known_coefficients_are_found_again() -> None:
    found = arima(_ar1(4000, 0.7) + 20, (1, 0, 0))
    assert found.ar[0] == pytest.approx(0.7, abs=0.03)
    assert found.mean == pytest.approx(20, abs=0.2)
    assert found.sigma2 == pytest.approx(1.0, abs=0.06)
    shocks = np.random.default_rng(1).normal(size=4001)
    moving = arima(np.cumsum(shocks[1:] + 0.5 * shocks[:-1]), (0, 1, 1))
    assert moving.ma[0] == pytest.approx(0.5, abs=0.04)


def test_the_likelihood_of_white_noise_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(3, 2, 100)
    found = arima(values, (0, 0, 0))
    variance = values.var()
    assert found.log_likelihood == pytest.approx(-50 * (math.log(2 * math.pi * variance) + 1))
    assert found.aic == pytest.approx(4 - 2 * found.log_likelihood)
    assert found.aicc == pytest.approx(found.aic + 12 / 97)


def test_a_random_walk_is_forecast_by_its_last_value_and_a_mean_is_returned_to() -> None:
    walk = np.cumsum(np.random.default_rng(0).normal(size=100)) + 50
    assert arima(walk, (0, 1, 0)).ahead(walk, 3)[0] == pytest.approx([walk[-1]] * 3)
    steady = _ar1(500, 0.5) + 10
    found = arima(steady, (1, 0, 0))
    assert found.ahead(steady, 60)[0, -1] == pytest.approx(found.mean)
    first = found.mean + found.ar[0] * (steady[-1] - found.mean)
    assert found.ahead(steady, 1)[0, 0] == pytest.approx(first)


def test_a_seasonal_difference_repeats_the_season() -> None:
    values = np.tile([1.0, 5.0, 2.0, 8.0], 6) + np.random.default_rng(0).normal(0, 0.01, 24)
    ahead = arima(values, (0, 0, 0), (0, 1, 0, 4)).ahead(values, 6)[0]
    assert ahead == pytest.approx(np.concatenate([values[-4:], values[-4:-2]]))
    both = arima(values, (0, 1, 0), (0, 1, 0, 4)).ahead(values, 2)[0]
    assert both[0] == pytest.approx(values[-4] + values[-1] - values[-5])


@pytest.mark.parametrize("order", [(1, 0, 1), (2, 1, 1), (0, 1, 2)])
def test_forecasts_from_past_origins_know_nothing_later(order: tuple[int, int, int]) -> None:
    values = np.cumsum(_ar1(120, 0.5)) * 0.2 + 40
    model = arima(values, order)
    origins = np.array([20, 77, 118])
    whole = model.ahead(values, 5, origins)
    for row, origin in enumerate(origins):
        assert whole[row] == pytest.approx(model.ahead(values[: origin + 1], 5)[0], rel=1e-9)


def test_the_order_is_chosen_by_the_criterion_and_differences_by_the_test() -> None:
    walk = np.cumsum(np.random.default_rng(0).normal(size=300)) + 50
    assert kpss(walk) > 0.463
    assert chosen_arima(walk).order[1] == 1
    steady = _ar1(300, 0.4) + 10
    found = chosen_arima(steady)
    assert found.order[1] == 0
    assert found.order != (0, 0, 0)
    assert found.aicc <= arima(steady, (1, 0, 0)).aicc


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
def test_few_values_still_get_a_model(size: int) -> None:
    values = np.linspace(1.0, 2.0, size) ** 2
    model = chosen_arima(values)
    assert np.isfinite(model.ahead(values, 4)).all()


def test_a_still_series_has_nothing_to_estimate() -> None:
    flat = np.full(50, 0.1)
    assert kpss(flat) == 0.0
    assert arima(flat, (1, 0, 1)).ahead(flat, 2)[0] == pytest.approx([0.1, 0.1])


def test_what_cannot_be_fitted_is_refused() -> None:
    values = np.arange(10.0)
    for order, seasonal, said in (
        ((6, 0, 0), (0, 0, 0, 0), "0 to 5"),
        ((0, -1, 0), (0, 0, 0, 0), "0 to 5"),
        ((0, 0, 0), (0, 1, 0, 1), "season of at least 2"),
        ((4, 1, 5), (0, 0, 0, 0), "at least 11"),
    ):
        with pytest.raises(ValueError, match=said):
            arima(values, order, seasonal)
    with pytest.raises(ValueError, match="finite"):
        arima(np.array([1.0, np.nan, 2.0]), (0, 0, 0))
